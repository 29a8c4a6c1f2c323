"""Accounts, tokens, links and the audit log over REST, and attacks on them.

Covers ``api/account.py``, ``api/allowed.py``, ``api/public_address.py`` and ``api/shared.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3

import httpx
import pyotp
import pytest
from starlette.websockets import WebSocketDisconnect

from onetrainer_gradio.api.allowed import LOOK_S
from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.errors import DiskFullError
from onetrainer_gradio.service.host.access import FREE_ATTEMPTS, Access, AccessSettings
from onetrainer_gradio.service.people.roles import Role, Scope
from onetrainer_gradio.service.people.store import PEOPLE_FILE
from tests.api.conftest import rehearsal_service
from tests.api.people import HTML, PASSWORD, by_link, client_of, panel_with_accounts, signed_in, with_token
from tests.fakes.configs import small_config

pytestmark = pytest.mark.slow

COOKIE = "onetrainer_gradio_7860"


@pytest.fixture
def app(tmp_path):
    app = panel_with_accounts(tmp_path / "data")
    yield app
    app.state.service.close()


def login(client, name: str, password: str = PASSWORD, **more):
    return client.post("/api/login", json={"name": name, "password": password, **more})


@pytest.mark.exhaustive
def test_a_new_panel_is_set_up_with_the_code_from_the_terminal(tmp_path):
    """The page's form works without scripts; afterwards the set-up page is gone."""
    app = create_api(rehearsal_service(tmp_path), Access(AccessSettings(accounts=True)))
    people = app.state.service.people
    client = client_of(app)
    code = people.new_setup_code()
    assert client.get("/", headers=HTML).headers["location"].startswith("/login")
    assert client.get("/login", headers=HTML).headers["location"] == "/setup"
    page = client.get("/setup", headers=HTML)
    assert 'name="code"' in page.text
    assert code not in page.text
    wrong = client.post("/setup", data={"code": "AAAA-BBBB-CCCC", "name": "Ada", "password": PASSWORD})
    assert (wrong.status_code, PASSWORD in wrong.text) == (401, False)
    assert client.post("/setup", data={"code": code, "name": "Ada", "password": "short"}).status_code == 422
    done = client.post("/setup", data={"code": code, "name": "Ada", "password": PASSWORD})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert client.get("/api/session").json() == {
        "ok": True,
        "required": True,
        "accounts": True,
        "name": "Ada",
        "role": "owner",
        "kind": "account",
        "shows": "panel",
    }
    assert client.get("/setup", headers=HTML).headers["location"] == "/login"
    assert client_of(app).post("/api/setup", json={"code": code, "name": "Eve", "password": PASSWORD}).status_code == 401


@pytest.mark.exhaustive
def test_a_person_logs_in_on_the_page(app):
    client = client_of(app)
    page = client.get("/login", headers=HTML)
    assert 'name="name"' in page.text
    assert "{{" not in page.text
    assert 'name="code"' not in page.text
    wrong = client.post("/login", data={"name": '"><script>', "password": "wrong", "next": "/"})
    assert wrong.status_code == 401
    assert "<script>" not in wrong.text
    done = client.post("/login", data={"name": "viewer", "password": PASSWORD, "next": "/?tab=runs"})
    assert (done.status_code, done.headers["location"]) == (303, "/?tab=runs")
    assert client.get("/api/session").json()["role"] == "viewer"
    client.post("/api/logout")
    assert client.get("/api/session").status_code == 401


@pytest.mark.exhaustive
def test_the_panels_password_is_still_an_owner(tmp_path):
    """Programs that have it keep access when there are accounts, and it needs no user name."""
    app = panel_with_accounts(tmp_path, password="panel password", token="panel-token-0123456789")
    client = client_of(app)
    assert client.post("/api/login", json={"password": "panel password"}).status_code == 200
    assert client.get("/api/people").status_code == 200
    bearer = {"Authorization": "Bearer panel-token-0123456789"}
    assert client_of(app).get("/api/session", headers=bearer).json()["kind"] == "panel"
    app.state.service.close()


def test_a_session_does_not_survive_a_login(app):
    """Session fixation: a cookie planted before the login is worthless afterwards, and so is an invented one."""
    client = signed_in(app, "viewer")
    planted = client.cookies.get(COOKIE)
    reply = login(client, "owner")
    assert reply.status_code == 200
    fresh = reply.headers["set-cookie"].split("=", 1)[1].split(";")[0]
    assert fresh != planted
    other = client_of(app)
    for value in (planted, "made-up"):
        other.cookies.set(COOKIE, value)
        assert other.get("/api/session").status_code == 401
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_guessing_is_slowed_down_over_rest_and_the_page(app):
    client = client_of(app)
    for _ in range(FREE_ATTEMPTS):
        assert login(client, "owner", "wrong").status_code == 401
    assert login(client, "owner").status_code == 429
    assert client.post("/login", data={"name": "owner", "password": PASSWORD}).status_code == 429


def test_a_foreign_page_changes_nothing_with_the_cookie_of_another_page(app):
    """CSRF: another origin, a cross-site request without one, and a form that looks like JSON are rejected."""
    client = signed_in(app, "owner")
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/api/people", json={"name": "eve", "password": PASSWORD}, headers=headers).status_code == 403
        assert client.post("/api/links", json={"name": "x", "shows": "panel"}, headers=headers).status_code == 403
    plain = client.post(
        "/api/people", content='{"name": "eve", "password": "correct horse"}', headers={"Content-Type": "text/plain"}
    )
    assert plain.status_code == 422
    assert {each["name"] for each in client.get("/api/people").json()["people"]} == {"owner", "operator", "viewer"}


def test_nobody_raises_or_lowers_more_than_allowed(app):
    """A viewer can't become an owner; the last owner can neither leave nor step down."""
    people = app.state.service.people
    viewer, owner = people.accounts.named("viewer").id, people.accounts.named("owner").id
    for client in (signed_in(app, "viewer"), signed_in(app, "operator"), with_token(app, "owner", Scope.RUN)):
        assert client.patch(f"/api/people/{viewer}", json={"role": "owner"}).status_code == 403
        assert client.post("/api/people", json={"name": "eve", "password": PASSWORD, "role": "owner"}).status_code == 403
    client = signed_in(app, "owner")
    for change in ({"role": "viewer"}, {"disabled": True}):
        reply = client.patch(f"/api/people/{owner}", json=change)
        assert (reply.status_code, "last owner" in reply.json()["error"]) == (409, True)
    assert client.delete(f"/api/people/{owner}").status_code == 409
    assert client.patch(f"/api/people/{viewer}", json={"role": "emperor"}).status_code == 422
    assert client.patch("/api/people/nobody", json={"role": "viewer"}).status_code == 404


@pytest.mark.exhaustive
@pytest.mark.parametrize("end", ["session", "account", "role", "link", "password"])
def test_an_open_page_is_closed_when_its_access_ends(app, end):
    """The WebSocket of a revoked session or link closes immediately, not at the next reload."""
    people = app.state.service.people
    viewer = people.accounts.named("viewer").id
    client = by_link(app, "panel", Role.VIEWER) if end == "link" else signed_in(app, "viewer")
    with signed_in(app, "owner") as owner, client.websocket_connect("ws://127.0.0.1:7860/ws") as socket:
        assert socket.receive_json()["type"] == "connected"
        endings = {
            "session": lambda: owner.delete(f"/api/people/{viewer}/sessions"),
            "account": lambda: owner.delete(f"/api/people/{viewer}"),
            "role": lambda: owner.patch(f"/api/people/{viewer}", json={"role": "operator"}),
            "password": lambda: owner.patch(f"/api/people/{viewer}", json={"password": "another password"}),
            "link": lambda: owner.delete(f"/api/links/{people.links.all()[0].id}"),
        }
        assert endings[end]().status_code == 200
        with pytest.raises(WebSocketDisconnect) as closed:
            list(iter(socket.receive_json, None))
    assert closed.value.code == 4401


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", ["queue/data", "call/watch/1", "call/v2/watch/1", "heartbeat/1"])
def test_a_stream_of_gradio_ends_with_the_session(app, path):
    """This includes the stream of one function, such as ``watch``, which reports until the run ends."""
    people, client = app.state.service.people, signed_in(app, "viewer")
    headers = [(b"host", b"127.0.0.1:7860"), (b"cookie", f"{COOKIE}={client.cookies[COOKIE]}".encode())]
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": f"/gradio_api/{path}", "headers": headers}
    scope |= {"query_string": b"", "client": ("127.0.0.1", 1), "http_version": "1.1"}

    async def opened() -> None:
        began = asyncio.Event()

        async def stream(scope, receive, send) -> None:
            began.set()
            await asyncio.Event().wait()

        async def nothing(message=None):
            await asyncio.Event().wait()

        app.mount("/", stream)
        request = asyncio.ensure_future(app(scope, nothing, nothing))
        await asyncio.wait_for(began.wait(), 10)
        await asyncio.to_thread(people.sessions.end, lambda each: each.account == people.accounts.named("viewer").id)
        await asyncio.wait_for(request, LOOK_S - 1)

    asyncio.run(opened())


@pytest.mark.exhaustive
def test_a_full_disk_does_not_keep_a_token_out(app, monkeypatch, log_records):
    """A person who wants to free space can sign in although the time of use can't be written."""
    client = with_token(app, "viewer", Scope.READ)

    def full(work):
        raise DiskFullError("Can't write the accounts: database or disk is full")

    monkeypatch.setattr(app.state.service.people.store, "change", full)
    assert client.get("/api/session").json()["name"] == "viewer"
    assert "Can't note the use of the token" in log_records.text


@pytest.mark.exhaustive
def test_a_token_is_shown_once_and_ends_when_revoked(app):
    client = signed_in(app, "operator")
    assert client.post("/api/account/tokens", json={"name": "ci", "scope": "admin"}).status_code == 403
    made = client.post("/api/account/tokens", json={"name": "ci", "scope": "run", "days": 1}).json()
    secret, token_id = made["secret"], made["token"]["id"]
    assert secret not in client.get("/api/account").text
    program = client_of(app)
    program.headers["Authorization"] = f"Bearer {secret}"
    assert program.get("/api/session").json() | {"ok": True} == program.get("/api/session").json()
    assert program.get("/api/session").json()["role"] == "operator"
    assert client.get("/api/account").json()["tokens"][0]["last_used"] > 0
    assert program.post("/api/account/tokens", json={"name": "child", "scope": "read"}).status_code == 403
    assert signed_in(app, "viewer").delete(f"/api/account/tokens/{token_id}").status_code == 403
    assert client.delete(f"/api/account/tokens/{token_id}").status_code == 200
    assert program.get("/api/session").status_code == 401


def test_a_password_is_changed_with_the_present_one_and_ends_other_sessions(app):
    client, phone = signed_in(app, "viewer"), signed_in(app, "viewer")
    assert client.post("/api/account/password", json={"current": "wrong", "new": "another password"}).status_code == 401
    assert client.post("/api/account/password", json={"current": PASSWORD, "new": "short"}).status_code == 422
    assert client.post("/api/account/password", json={"current": PASSWORD, "new": "another password"}).status_code == 200
    assert client.get("/api/session").status_code == 200
    assert phone.get("/api/session").status_code == 401
    assert login(client_of(app), "viewer", "another password").status_code == 200


def test_an_authenticator_app_is_set_up_and_asked_for(app):
    client = signed_in(app, "viewer")
    offer = client.post("/api/account/two-factor/offer").json()
    assert offer["qr"].startswith("<svg")
    body = {"secret": offer["secret"], "code": pyotp.TOTP(offer["secret"]).now(), "password": PASSWORD}
    assert client.put("/api/account/two-factor", json={**body, "password": "wrong"}).status_code == 401
    codes = client.put("/api/account/two-factor", json=body).json()["recovery_codes"]
    other = client_of(app)
    asked = login(other, "viewer")
    assert (asked.status_code, asked.json()["errors"][0]["path"]) == (401, "code")
    assert 'name="code"' in other.post("/login", data={"name": "viewer", "password": PASSWORD}).text
    assert login(other, "viewer", code=codes[0]).status_code == 200
    account = app.state.service.people.accounts.named("viewer").id
    assert signed_in(app, "owner").delete(f"/api/people/{account}/two-factor").status_code == 200
    assert login(client_of(app), "viewer").status_code == 200


@pytest.mark.exhaustive
def test_a_link_leaves_no_secret_in_the_address_and_opens_only_its_run(app):
    service = app.state.service
    with signed_in(app, "owner") as owner:
        run_id = run_of(owner, service)
        other = run_of(owner, service)
        made = owner.post("/api/links", json={"name": "for the class", "run_id": run_id, "days": 1}).json()
        assert made["qr"].startswith("<svg")
        assert made["path"].removeprefix("/?token=") not in owner.get("/api/links").text
        phone = client_of(app)
        opened = phone.get(made["path"], headers=HTML)
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        assert phone.get("/", headers=HTML).headers["location"] == "/shared"
        page = phone.get("/shared", headers=HTML)
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["content-security-policy"]
        shown = phone.get("/api/shared").json()
        assert (shown["shows"], shown["title"], shown["role"]) == ("run", "try", "viewer")
        state = owner.get(f"/api/training/status?run_id={run_id}").json()
        assert shown["run"]["total_steps"] == state["total_steps"] > state["max_step"], "the steps of all epochs"
        samples = phone.get("/api/shared/samples").json()["samples"]
        assert samples
        assert {sample["id"].rpartition(".")[0] for sample in samples} == {run_id}
        assert phone.get(f"/api/samples/{samples[0]['id']}/image").status_code == 200
        theirs = service.samples.list(other)["samples"][0]["id"]
        closed = (
            f"/api/samples/{theirs}/image",
            f"/api/runs/{run_id}",
            "/api/runs",
            "/api/config/current",
            "/api/people",
            "/docs",
        )
        for path in closed:
            assert phone.get(path).status_code == 403, path
        assert phone.post("/api/shared/stop").status_code == 403
        assert owner.delete(f"/api/runs/{run_id}").status_code == 200
        assert phone.get("/api/shared").status_code == 401, "the link of a deleted run"
        assert client_of(app).get(made["path"], headers=HTML).headers.get("set-cookie") is None


@pytest.mark.exhaustive
def test_a_link_that_waits_for_the_disk_holds_up_nobody(app):
    """Opening it starts a session, which is written to the accounts file."""
    _, secret = app.state.service.people.links.add("owner", "class", "gallery", Role.VIEWER, 1)
    file = app.state.service.settings.data_folder / PEOPLE_FILE

    async def try_it() -> tuple[bool, int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860", headers=HTML) as client:
            with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                opening = asyncio.ensure_future(client.get(f"/?token={secret}"))
                await asyncio.sleep(0.2)
                assert (await client.get("/health/live")).status_code == 200
                waits = not opening.done()
                other.execute("ROLLBACK")
            return waits, (await opening).status_code

    assert asyncio.run(asyncio.wait_for(try_it(), 8)) == (True, 303)


def test_a_link_gives_commands_to_its_run_only_while_it_trains(app):
    """The page shows the buttons by the same rule that the server applies to commands."""
    service = app.state.service
    with signed_in(app, "owner") as owner:
        run_id = start(owner, service, "hold=1")
        service.wait_for(lambda state: state["update_step"] == 1, 20)
        phone = by_link(app, "run", Role.OPERATOR, run_id)
        assert phone.get("/api/shared").json()["run"]["controllable"] is True
        assert phone.post("/api/shared/stop").status_code == 200
        service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
        assert phone.get("/api/shared").json()["run"]["controllable"] is False
        assert phone.post("/api/shared/stop").status_code == 409


def start(client, service, *tags: str) -> str:
    document = to_document(small_config(service.settings.data_folder / "material"), packed=True)
    body = {"config": document, "options": {"name": "try", "tags": tags}}
    reply = client.post("/api/training/start", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()["run_id"]


def run_of(client, service) -> str:
    run_id = start(client, service, "sample_every=10")
    service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
    return run_id


@pytest.mark.exhaustive
def test_the_address_of_a_link_works_outside_a_space(tmp_path):
    """A Space forwards requests over HTTP and under another name."""
    app = panel_with_accounts(tmp_path, hosted=True, hosts=("ada-panel.example",))
    made = signed_in(app, "owner").post("/api/links", json={"name": "class", "shows": "gallery", "days": 1}).json()
    assert made["address"].startswith("https://ada-panel.example/?token=")
    assert made["address"].endswith(made["path"])


def test_the_gallery_link_shows_samples_only_and_someone_signed_in_stays_so(app):
    with signed_in(app, "owner") as owner:
        run_of(owner, app.state.service)
        made = owner.post("/api/links", json={"name": "all", "shows": "gallery"}).json()
        phone = client_of(app)
        phone.get(made["path"], headers=HTML)
        assert phone.get("/api/shared").json()["shows"] == "gallery"
        assert phone.get("/api/shared/samples").json()["samples"]
        assert phone.get("/api/samples/list").status_code == 403
        owner.get(made["path"], headers=HTML)
        assert owner.get("/api/session").json()["role"] == "owner"


def test_only_its_creator_and_owners_rename_a_dataset(app):
    """A dataset records its creator. Others may edit it, but their settings contain its name."""
    with signed_in(app, "operator") as client:
        made = client.post("/api/datasets", json={"name": "cats"}).json()["dataset"]
        assert made["created_by"] == "operator"
        app.state.service.people.accounts.add("second", Role.OPERATOR, PASSWORD)
        other, owner = signed_in(app, "second"), signed_in(app, "owner")
        rejected = other.post("/api/datasets/cats/rename", json={"name": "mine"})
        assert (rejected.status_code, "operator created" in rejected.text) == (403, True), rejected.text
        png = {"dataset": "cats", "name": "a.png", "bytes": 10}
        assert other.post("/api/datasets/uploads", json=png).status_code == 200
        assert client.post("/api/datasets/cats/rename", json={"name": "kittens"}).json()["dataset"]["created_by"] == "operator"
        assert owner.post("/api/datasets/kittens/rename", json={"name": "cats"}).status_code == 200
        owner.post("/api/datasets", json={"name": "dogs"})
        assert {each["name"]: each["created_by"] for each in other.get("/api/datasets").json()["datasets"]} == {
            "cats": "operator",
            "dogs": "owner",
        }


@pytest.mark.exhaustive
def test_quotas_limit_uploads_and_runs_and_owners_see_the_usage(app):
    """Exceeding a quota is 409 with the usage and the limit; a running upload continues, and an archive counts unpacked."""
    import io
    import zipfile

    with signed_in(app, "owner") as owner, signed_in(app, "operator") as client:
        people = {each["name"]: each for each in owner.get("/api/people").json()["people"]}
        assert people["operator"]["usage"] == {"gpu_hours": 0.0, "disk_bytes": 0, "days": 30, "exceeded": ""}
        assert client.post("/api/datasets", json={"name": "cats"}).status_code == 200
        address = f"/api/people/{people['operator']['id']}"
        assert owner.patch(address, json={"disk_bytes": 100_000}).json()["person"]["disk_bytes"] == 100_000
        begun = {"dataset": "cats", "name": "a.png", "bytes": 90_000}
        upload = client.post("/api/datasets/uploads", json=begun).json()
        assert "account" not in upload
        rejected = client.post("/api/datasets/uploads", json={"dataset": "cats", "name": "b.png", "bytes": 20_000})
        assert (rejected.status_code, "disk quota of operator" in rejected.text) == (409, True), rejected.text
        other = owner.post("/api/datasets/uploads", json={"dataset": "cats", "name": "b.png", "bytes": 20_000})
        assert other.status_code == 409, "the dataset counts for its creator"
        assert client.post("/api/datasets/uploads", json=begun).json()["id"] == upload["id"]
        assert client.delete(f"/api/datasets/uploads/{upload['id']}").status_code == 200
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("big.txt", b"a" * 200_000)
        begun = {"dataset": "cats", "name": "all.zip", "bytes": len(packed.getvalue())}
        upload = client.post("/api/datasets/uploads", json=begun).json()
        client.put(f"/api/datasets/uploads/{upload['id']}", params={"offset": 0}, content=packed.getvalue())
        service = app.state.service
        for thread in service.datasets.uploads._threads:
            thread.join()
        found = client.get(f"/api/datasets/uploads/{upload['id']}").json()
        assert (found["state"], "quota" in found["error"]) == ("failed", True)
        owner.patch(address, json={"disk_bytes": 0})
        assert "used up" in client.get("/api/account").json()["usage"]["exceeded"]
        assert client.post("/api/queue", json={}).status_code == 409
        assert client.post("/api/training/start", json={}).status_code == 409
        owner.patch(address, json={"disk_bytes": None})
        assert client.get("/api/account").json()["usage"]["exceeded"] == ""
        assert client.put("/api/queue/fair-share", json={"days": 7}).status_code == 403
        assert owner.put("/api/queue/fair-share", json={"days": 7}).json()["fair_share_days"] == 7
        assert client.get("/api/queue").json()["fair_share_days"] == 7
        assert owner.put("/api/queue/fair-share", json={"days": 366}).status_code == 422


def test_who_did_what_is_recorded_and_exported(app, log_records):
    """Runs, edits and commands record their author; the log has all of them, including rejected ones, and no secret."""
    with signed_in(app, "operator") as client:
        run_id = run_of(client, app.state.service)
        assert client.get(f"/api/runs/{run_id}").json()["record"]["started_by"] == "operator"
        with client.websocket_connect("ws://127.0.0.1:7860/ws") as socket:
            assert socket.receive_json()["type"] == "connected"
            revision = client.get("/api/config/current").json()["revision"]
            edit = {"changes": {"learning_rate": 0.25}, "revision": revision}
            assert client.patch("/api/config/current", json=edit).status_code == 200
            found = (message for message in iter(socket.receive_json, None) if message["type"] == "config")
            assert next(found)["who"] == "operator"
        client.delete(f"/api/runs/{run_id}")
        login(client_of(app), "viewer", "a secret guess")
        with log_records.at_level(logging.WARNING):
            owner = signed_in(app, "owner")
            entries = owner.get("/api/audit").json()["entries"]
        found = {(entry["who"], entry["action"], entry["status"]) for entry in entries}
        assert {
            ("operator", "POST /api/training/start", 200),
            ("operator", "PATCH /api/config/current", 200),
            ("nobody", "sign in", 401),
        } <= found
        lines = owner.get("/api/audit/export").text.splitlines()
        assert json.loads(lines[-1])["seq"] == 1
        assert "a secret guess" not in "".join(lines)
        assert owner.get("/api/audit/export?form=csv").text.startswith("seq,at,who")
        assert owner.get("/api/audit?limit=1").json()["next_before"] == entries[0]["seq"]
        assert client.get("/api/audit").status_code == 403


def test_paths_that_climb_get_nobody_further(app):
    """This covers traversal in path parameters and around the guard, as a viewer: encoded, doubled, with another prefix."""
    client = signed_in(app, "viewer")
    for path in (
        "/shared/../people",
        "/shared/%2e%2e/%2e%2e/people.sqlite",
        "/panel/x/../../people.sqlite",
        "/panel/x/..%2f..%2fpeople.sqlite",
        "//api/people",
        "/api//people",
        "/api/people/",
        "/API/people",
        "/api/runs/..%2fpeople",
        "/api/people;x=1",
        "/api/people%00",
    ):
        reply = client.request("GET", path)
        assert reply.status_code in {400, 403, 404, 405}, path
        assert "argon2" not in reply.text
    assert client.get("/api/people", headers={"X-Forwarded-Prefix": "/api/session"}).status_code == 403
    assert client.get("/people", headers={"X-Forwarded-Prefix": "/api"}).status_code == 404
    assert client.request("GET", "/api/people", headers={"X-HTTP-Method-Override": "HEAD"}).status_code == 403
    assert client.head("/api/people").status_code in {403, 405}

"""The table of permissions covers everything that the panel answers: every route, function and message.

Covers ``ui/permitted.py``.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import TestClient

import onetrainer_gradio
from onetrainer_gradio.api.guard import Guard
from onetrainer_gradio.api.route_table import RouteTable
from onetrainer_gradio.server import PanelSettings, make_app, make_page
from onetrainer_gradio.service.host.access import AccessSettings
from onetrainer_gradio.service.people.audit import AuditQuery
from onetrainer_gradio.service.people.permissions import LINK_ROUTES, PERMISSIONS, may, needed
from onetrainer_gradio.service.people.roles import Role, Scope
from tests.api.people import by_link, client_of, signed_in, with_token
from tests.core import exhaustive_unless
from tests.fakes.passwords import cheap_passwords  # noqa: F401
from tests.panel_process import REHEARSAL

pytestmark = pytest.mark.slow


def every_route(found, prefix: str = ""):
    """Return method and path template of every route, including those of included routers and mounted apps."""
    for route in found:
        if isinstance(route, Mount):
            yield from every_route(route.routes, prefix + route.path)
        elif hasattr(route, "original_router"):
            yield from every_route(route.original_router.routes, prefix + route.include_context.prefix)
        elif isinstance(route, WebSocketRoute) or not getattr(route, "methods", None):
            yield "WEBSOCKET", prefix + route.path
        else:
            yield from ((method, prefix + route.path) for method in sorted(route.methods))


def filled(path: str, value: str = "x") -> str:
    return re.sub(r"\{[^}]*\}", value, path)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return make_app(PanelSettings(data_folder=tmp_path_factory.mktemp("panel"), in_process=True, backend=REHEARSAL))


def test_every_route_has_an_entry(app):
    """This includes Gradio's own routes. If it fails, add the role of the new route to the table."""
    table = RouteTable(app.routes)
    found = sorted(set(every_route(app.routes)))
    assert len(found) > 200
    missing = []
    for method, path in found:
        scope = {"type": "websocket" if method == "WEBSOCKET" else "http", "method": method, "path": filled(path)}
        matched = table.match(scope)
        if matched is None or needed(matched.key) is None:
            missing.append(f"{method} {path}")
    assert missing == []


def test_every_entry_is_a_route_or_is_asked_for(app):
    """There is no entry for a route that no longer exists, which would be an unnoticed way in."""
    found = {f"{method} {path.rstrip('/') or '/'}" for method, path in every_route(app.routes)}
    source = "".join(path.read_text(encoding="utf-8") for path in Path(onetrainer_gradio.__file__).parent.rglob("*.py"))
    for key in PERMISSIONS:
        method, _, path = key.partition(" ")
        if method in {"gradio", "message"}:
            continue
        if " " in path:
            assert f'check(acting(), "{key}")' in source, key
            continue
        assert filled(key.rstrip("/") or key) in {filled(each) for each in found} or key == "GET /", key


def test_every_function_of_gradio_has_an_entry(app, tmp_path):
    """Every button and function of ``gradio_client`` has an entry; those with several actions have one per action."""
    blocks = next(
        route.app
        for page in [make_page(app.state.service, tmp_path)]
        for route in page.routes
        if isinstance(route, Mount) and hasattr(route.app, "get_blocks")
    ).get_blocks()
    names = {function.api_name for function in blocks.fns.values() if function.api_name and function.fn is not None}
    known = {key.split()[1] for key in PERMISSIONS if key.startswith("gradio ")}
    assert names == known
    source = (Path(onetrainer_gradio.__file__).parent / "ui" / "client.py").read_text(encoding="utf-8")
    actions = set()
    for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)):
        inside = list(ast.walk(function))
        calls = [node for node in inside if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_chosen"]
        tables = [node.value for node in inside if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)]
        for call, table in zip(calls, tables, strict=bool(calls)):
            actions |= {f"gradio {call.args[0].value} {key.value}" for key in table.keys}
    assert len(actions) > 15
    assert actions == {key for key in PERMISSIONS if key.startswith("gradio ") and key.count(" ") == 2}


def test_nothing_but_signing_in_is_open_to_everyone():
    opened = {key for key, role in PERMISSIONS.items() if role is Role.NOBODY}
    signing_in = {"GET /login", "POST /login", "POST /api/login", "GET /setup", "POST /setup", "POST /api/setup"}
    signing_in |= {"GET /login/start", "GET /login/callback"}
    assert opened == {*signing_in, "GET /health", "GET /health/live"}


# Who sends a request, and the role they have. A restricted link has its role only for what it opens.
WHO = {
    "nobody": Role.NOBODY,
    "viewer": Role.VIEWER,
    "operator": Role.OPERATOR,
    "owner": Role.OWNER,
    "link to a run": Role.VIEWER,
    "link to a run, operator": Role.OPERATOR,
    "link to the gallery": Role.VIEWER,
    "link to the panel": Role.VIEWER,
    "link to the panel, operator": Role.OPERATOR,
    "token read": Role.VIEWER,
    "token run": Role.OPERATOR,
    "token admin": Role.OWNER,
    "token admin of a viewer": Role.VIEWER,
    "token read of an owner": Role.VIEWER,
}
RUN = "20260101-000000-aaaa"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The whole panel with accounts; its routes do nothing, since only passing the guard matters."""
    access = AccessSettings(accounts=True)
    settings = PanelSettings(data_folder=tmp_path_factory.mktemp("people"), in_process=True, backend=REHEARSAL, access=access)
    app = make_app(settings)
    accounts = app.state.service.people.accounts
    for role in (Role.OWNER, Role.OPERATOR, Role.VIEWER):
        accounts.add(role.word, role, "correct horse battery")
    return app


@pytest.fixture(scope="module")
def clients(whole) -> dict[str, TestClient]:
    return {
        "nobody": client_of(whole),
        **{name: signed_in(whole, name) for name in ("viewer", "operator", "owner")},
        "link to a run": by_link(whole, "run", Role.VIEWER, RUN),
        "link to a run, operator": by_link(whole, "run", Role.OPERATOR, RUN),
        "link to the gallery": by_link(whole, "gallery", Role.VIEWER),
        "link to the panel": by_link(whole, "panel", Role.VIEWER),
        "link to the panel, operator": by_link(whole, "panel", Role.OPERATOR),
        "token read": with_token(whole, "viewer", Scope.READ),
        "token run": with_token(whole, "operator", Scope.RUN),
        "token admin": with_token(whole, "owner", Scope.ADMIN),
        "token admin of a viewer": with_token(whole, "viewer", Scope.ADMIN),
        "token read of an owner": with_token(whole, "owner", Scope.READ),
    }


def past_the_guard(app, monkeypatch):
    """Replace what is behind the guard, so that an admitted request changes and computes nothing."""

    async def reached(scope, receive, send):
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "reached"})
            return
        await PlainTextResponse("reached", status_code=299)(scope, receive, send)

    at = app.middleware_stack or app.build_middleware_stack()
    app.middleware_stack = at
    while not isinstance(at, Guard):
        at = at.app
    monkeypatch.setattr(at, "app", reached)


def expected(key: str, who: str, parameters) -> bool:
    role = needed(key)
    if role is None or WHO[who] < role:
        return False
    if role is Role.NOBODY or not who.startswith(("link to a run", "link to the gallery")):
        return True
    shows = "run" if "run" in who else "gallery"
    sample = parameters.get("sample_id")
    return key in LINK_ROUTES[shows] and (shows == "gallery" or sample is None or sample.startswith(f"{RUN}."))


EVERY_CHANGE = ("nobody", "viewer", "operator")


@pytest.mark.parametrize("who", [pytest.param(who, marks=exhaustive_unless(who in EVERY_CHANGE)) for who in WHO])
def test_each_route_lets_in_whom_the_table_names_and_nobody_else(whole, clients, who, monkeypatch):
    """Every route of the app is requested with every kind of access."""
    past_the_guard(whole, monkeypatch)
    table, client = RouteTable(whole.routes), clients[who]
    wrong, tried = [], 0
    for method, path in sorted(set(every_route(whole.routes))):
        for value in ("x", f"{RUN}.7", "other.7"):
            address = re.sub(r"\{\w+(:path)?\}", value, path)
            scope = {"type": "websocket" if method == "WEBSOCKET" else "http", "method": method, "path": address}
            matched = table.match(scope)
            allowed = expected(matched.key, who, matched.parameters)
            tried += 1
            if method == "WEBSOCKET":
                headers = {"Authorization": client.headers.get("Authorization", "")}
                with client.websocket_connect(f"ws://127.0.0.1:7860{address}", headers=headers) as socket:
                    message = socket.receive()
                got = message.get("text") == "reached"
                if not got:
                    assert message["code"] == (4401 if who == "nobody" else 4403)
            else:
                reply = client.request(method, address)
                got = reply.status_code == 299
                if not got and not (reply.status_code == 303 and matched.key == "GET /"):
                    assert reply.status_code == (401 if who == "nobody" else 403), f"{method} {address}: {reply.status_code}"
            if got != allowed:
                wrong.append(f"{method} {address}: {'got through' if got else 'was kept out'}")
            if "{" not in path:
                break
    assert wrong == []
    assert tried > 400


def test_a_function_of_gradio_lets_in_whom_the_table_names(whole, clients):
    """Each button and function is called through Gradio's queue, as each person."""
    for key in [key for key in PERMISSIONS if key.startswith("gradio ")]:
        for who in ("viewer", "operator", "owner", "link to the panel", "token read"):
            identity = whole.state.service.people
            found = identity.of_session(clients[who].cookies.get("onetrainer_gradio_7860") or "") or identity.of_token(
                clients[who].headers.get("Authorization", "").removeprefix("Bearer "), accounts=True
            )
            assert may(found, key) == (WHO[who] >= needed(key)), f"{key} as {who}"


@pytest.mark.parametrize(("who", "lets_in"), [("viewer", False), ("operator", True), ("token read", False), ("token run", True)])
def test_a_button_pressed_without_the_role_does_nothing(whole, clients, who, lets_in):
    """The call uses Gradio's protocol directly, without the page."""
    with clients[who] as client:
        event = client.post("/gradio_api/call/stop", json={"data": []}).json()["event_id"]
        reply_text = client.get(f"/gradio_api/call/stop/{event}").text
        changed = client.post("/gradio_api/call/change_settings", json={"data": [{"learning_rate": 0.5}, None]})
        outcome = client.get(f"/gradio_api/call/change_settings/{changed.json()['event_id']}").text
        queued = client.post("/gradio_api/call/queue", json={"data": [{"action": "pause"}]}).json()["event_id"]
        paused = client.get(f"/gradio_api/call/queue/{queued}").text
    assert ("requires the role operator" in reply_text) is not lets_in
    assert ("event: error" in outcome) is not lets_in
    assert ("event: error" in paused) is not lets_in
    noted = {entry["action"] for entry in whole.state.service.people.audit.page(AuditQuery(who=who.split()[-1]))["entries"]}
    assert who not in {"viewer", "operator"} or ({"gradio stop", "gradio queue pause"} <= noted) is lets_in
    if lets_in:
        whole.state.service.queue.resume()
        assert whole.state.service.configs.current().as_dict()["config"]["learning_rate"] == 0.5

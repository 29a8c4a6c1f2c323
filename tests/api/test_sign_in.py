"""Sign-in with an OpenID Connect provider: who gets which role, and what is rejected.

Covers ``service/people/identity_provider.py``.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pyotp
import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.service.host.access import Access, AccessSettings
from onetrainer_gradio.service.host.rate_limits import RATE_LIMITS
from onetrainer_gradio.service.people.provider_settings import provider_settings
from onetrainer_gradio.service.people.roles import Role
from tests.api.conftest import rehearsal_service
from tests.api.people import HTML, PASSWORD, client_of
from tests.fakes.openid import CLIENT, SECRET, FakeProvider

pytestmark = pytest.mark.slow

COOKIE = "onetrainer_gradio_7860"
ALLOWED = (
    "operator=user:ada",
    "owner=subject:boss",
    "viewer=org:lab",
    "viewer=domain:uni.example",
    "operator=email:Eve@Mail.example",
)
FROM_ELSEWHERE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
LOGINS = next(limit.per_minute for limit in RATE_LIMITS if limit.title == "logins")


@pytest.fixture
def provider():
    found = FakeProvider()
    yield found
    found.close()


def panel(folder, provider, *, allowed=ALLOWED, owner=True, **more):
    settings = provider_settings(provider.issuer, CLIENT, SECRET, title="Example", allowed=allowed)
    app = create_api(rehearsal_service(folder), Access(AccessSettings(accounts=True, **more)), provider=settings)
    if owner:
        app.state.service.people.accounts.add("Owner", Role.OWNER, PASSWORD)
    return app


@pytest.fixture
def app(tmp_path, provider):
    found = panel(tmp_path, provider)
    yield found
    found.state.service.close()


def begin(client, following: str = "/", headers=HTML) -> str:
    """Start a sign-in at the panel and return where the provider sends the browser."""
    started = client.get("/login/start", params={"next": following}, headers=headers)
    assert started.status_code == 303, started.text
    return httpx.get(started.headers["location"]).headers["location"]


def come_back(client, address: str, headers=HTML):
    parts = urlsplit(address)
    return client.get(f"{parts.path}?{parts.query}", headers={**headers, **FROM_ELSEWHERE})


def sign_in(app, following: str = "/"):
    client = client_of(app)
    return client, come_back(client, begin(client, following))


def assert_rejected(app, client, reply, status: int, words: str) -> None:
    assert reply.status_code == status, reply.text
    assert words in reply.text
    assert client.get("/api/session").status_code == 401
    assert [each.name for each in app.state.service.people.accounts.all()] in (["Owner"], [])


def test_someone_on_the_list_signs_in_with_the_role_of_the_list(app, provider):
    client, reply = sign_in(app, "/?tab=runs")
    assert (reply.status_code, reply.headers["location"]) == (303, "/?tab=runs")
    shown = client.get("/api/session").json()
    assert (shown["name"], shown["role"], shown["kind"]) == ("ada", "operator", "account")
    account = app.state.service.people.accounts.named("ada")
    assert (account.subject, account.password) == (f"{provider.issuer} 1234", "")
    cookies = reply.headers.get_list("set-cookie")
    assert any(each.startswith(f"{COOKIE}=") and "HttpOnly" in each and "SameSite=Lax" in each for each in cookies)
    assert any("_attempt_" in each and "Max-Age=0" in each for each in cookies)


@pytest.mark.exhaustive
def test_the_same_person_keeps_the_account_and_the_role_that_an_owner_gave(app, provider):
    sign_in(app)
    accounts = app.state.service.people.accounts
    accounts.change(accounts.named("ada").id, {"role": "viewer", "name": "Countess"})
    provider.person["name"] = "renamed"
    client, _ = sign_in(app)
    assert client.get("/api/session").json() | {"name": "Countess", "role": "viewer"} == client.get("/api/session").json()
    accounts.change(accounts.named("Countess").id, {"disabled": True})
    client, reply = sign_in(app)
    assert (reply.status_code, "disabled" in reply.text) == (403, True)
    assert client.get("/api/session").status_code == 401


@pytest.mark.exhaustive
def test_the_provider_is_responsible_for_a_second_factor(app):
    """Setting up an app that is never used isn't possible.

    With a password, the app protects only the sign-in with the password.
    """
    client, _ = sign_in(app)
    refused = client.post("/api/account/two-factor/offer")
    assert (refused.status_code, "has no password" in refused.json()["error"]) == (422, True)
    assert client.post("/api/account/password", json={"new": PASSWORD}).status_code == 200
    secret = client.post("/api/account/two-factor/offer").json()["secret"]
    body = {"secret": secret, "code": pyotp.TOTP(secret).now(), "password": PASSWORD}
    assert client.put("/api/account/two-factor", json=body).status_code == 200
    by_password = client_of(app).post("/api/login", json={"name": "ada", "password": PASSWORD})
    assert (by_password.status_code, by_password.json()["errors"][0]["path"]) == (401, "code")
    again, _ = sign_in(app)
    assert again.get("/api/session").json()["name"] == "ada"


@pytest.mark.exhaustive
def test_a_password_account_of_the_same_name_is_not_taken_over(app):
    accounts = app.state.service.people.accounts
    accounts.add("ada", Role.OWNER, PASSWORD)
    client, _ = sign_in(app)
    assert client.get("/api/session").json() | {"name": "ada 2", "role": "operator"} == client.get("/api/session").json()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("person", "role"),
    [
        ({"sub": "boss", "preferred_username": "x"}, "owner"),
        ({"sub": "boss", "preferred_username": "ada"}, "owner"),
        ({"sub": "5", "preferred_username": "x", "groups": ["lab"]}, "viewer"),
        ({"sub": "5", "preferred_username": "x", "email": "a@UNI.example", "email_verified": True}, "viewer"),
        ({"sub": "5", "email": "eve@mail.example", "email_verified": True}, "operator"),
        ({"sub": "5", "preferred_username": "x", "orgs": [{"sub": "77", "name": "L", "preferred_username": "lab"}]}, "viewer"),
    ],
)
def test_each_kind_of_rule_gives_its_role_and_the_highest_one_counts(app, provider, person, role):
    """The last one is the answer of Hugging Face, where organizations are objects."""
    provider.person = person
    client, _ = sign_in(app)
    assert client.get("/api/session").json()["role"] == role


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("person", "words"),
    [
        ({"sub": "5", "preferred_username": "mallory"}, "“mallory”, who isn&#x27;t on the list"),
        ({"sub": "5", "preferred_username": "ADA"}, "isn&#x27;t on the list"),
        ({"sub": "5", "email": "eve@mail.example", "email_verified": False}, "hasn&#x27;t verified"),
        ({"sub": "5", "email": "eve@mail.example"}, "hasn&#x27;t verified"),
        ({"sub": "5", "email": "x@evil-uni.example", "email_verified": True}, "isn&#x27;t on the list"),
        ({"sub": "5", "email": "x@sub.uni.example", "email_verified": True}, "isn&#x27;t on the list"),
        ({"sub": "5", "orgs": [{"sub": "9", "name": "lab", "preferred_username": "fake-lab"}]}, "isn&#x27;t on the list"),
        ({"sub": "5", "preferred_username": "<script>alert(1)</script>"}, "&lt;script&gt;"),
        ({"sub": "5", "preferred_username": {"a": 1}, "orgs": "lab", "groups": {"lab": 1}}, "isn&#x27;t on the list"),
    ],
)
def test_who_is_not_on_the_list_gets_a_reason(app, provider, person, words):
    """This includes an unverified address, a name in different case, and an organization that only claims the name."""
    provider.person = person
    client, reply = sign_in(app)
    assert_rejected(app, client, reply, 403, words)


@pytest.mark.exhaustive
def test_a_verified_mark_counts_only_for_the_address_next_to_it(app, provider):
    """The ID token marks one address as verified, the userinfo has another one."""
    provider.person = {"sub": "5"}
    provider.token_claims = {"email": "me@mallory.example", "email_verified": True}
    provider.userinfo = {"email": "eve@mail.example"}
    client, reply = sign_in(app)
    assert_rejected(app, client, reply, 403, "hasn&#x27;t verified")


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://127.0.0.1:1"},
        {"aud": "another-client"},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": None},
        {"sub": 5},
        {"sub": "5\n6"},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
)
def test_an_id_token_for_something_else_lets_nobody_in(app, provider, claims):
    provider.token_claims = claims
    client, reply = sign_in(app)
    assert_rejected(app, client, reply, 401, "sign-in provider")


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS256 with the public key", "RS256 with another key"])
def test_an_id_token_without_the_providers_signature_lets_nobody_in(app, provider, algorithm):
    provider.algorithm, _, other = algorithm.partition(" ")
    if other == "with another key":
        provider.signs_with = RSAKey.generate_key(2048)
    elif other:
        provider.signs_with = provider.keys["RS256"].as_pem(private=False)
    client, reply = sign_in(app)
    assert_rejected(app, client, reply, 401, "The ID token of the sign-in provider isn&#x27;t valid")


@pytest.mark.exhaustive
@pytest.mark.parametrize("payload", [b"[1]", b"[" * 50_000, b"{}", b"", b"\xff"])
def test_a_signed_text_that_is_no_id_token_lets_nobody_in(app, provider, payload):
    key = provider.keys["RS256"]
    provider.id_token = jws.serialize_compact({"alg": "RS256", "kid": key.thumbprint()}, payload, key)
    client, reply = sign_in(app)
    assert_rejected(app, client, reply, 401, "The ID token of the sign-in provider isn&#x27;t valid")


@pytest.mark.exhaustive
@pytest.mark.parametrize("keys", [[], [1], [{}], [{"kty": "RSA"}], [{"kty": "RSA", "n": "!", "e": "A"}]])
def test_keys_that_cannot_be_used_let_nobody_in(app, provider, keys):
    provider.published = keys
    client, reply = sign_in(app)
    assert_rejected(app, client, reply, 401, "The ID token of the sign-in provider isn&#x27;t valid")


def test_another_allowed_algorithm_and_a_new_key_are_accepted(app, provider):
    """Keys are read at each sign-in, so a provider may change them."""
    provider.algorithm = "ES256"
    assert sign_in(app)[1].status_code == 303
    provider.algorithm, provider.keys["RS256"] = "RS256", RSAKey.generate_key(2048)
    assert sign_in(app)[1].status_code == 303


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "change", [lambda url: url.replace("state=", "state=0"), lambda url: url.split("&")[0], lambda url: url.split("?")[0]]
)
def test_an_answer_with_another_state_or_none_lets_nobody_in(app, change):
    client = client_of(app)
    assert_rejected(app, client, come_back(client, change(begin(client))), 401, "")


def test_an_answer_in_another_browser_lets_nobody_in(app):
    """A person who follows the response of another person's sign-in doesn't become that person, nor the reverse."""
    address = begin(client_of(app))
    victim = client_of(app)
    assert_rejected(app, victim, come_back(victim, address), 401, "This browser hasn&#x27;t started this sign-in")
    begin(victim)
    assert_rejected(app, victim, come_back(victim, address), 401, "This browser hasn&#x27;t started this sign-in")


@pytest.mark.exhaustive
def test_an_answer_is_used_once(app, provider):
    client = client_of(app)
    address = begin(client)
    kept = dict(client.cookies)
    assert come_back(client, address).status_code == 303
    again = client_of(app)
    again.cookies.update({name: value for name, value in kept.items() if name != COOKIE})
    assert come_back(again, address).status_code == 401
    assert again.get("/api/session").status_code == 401
    code = parse_qs(urlsplit(address).query)["code"][0]
    other = client_of(app)
    mine = begin(other)
    swapped = mine.replace(parse_qs(urlsplit(mine).query)["code"][0], code)
    assert come_back(other, swapped).status_code == 401, "a used code in a sign-in of one's own"


@pytest.mark.exhaustive
def test_a_stolen_code_is_worth_nothing_in_another_sign_in(app):
    """PKCE: the code belongs to the verifier of the browser that started."""
    stolen = parse_qs(urlsplit(begin(client_of(app))).query)["code"][0]
    client = client_of(app)
    mine = begin(client)
    swapped = mine.replace(parse_qs(urlsplit(mine).query)["code"][0], stolen)
    assert_rejected(app, client, come_back(client, swapped), 401, "doesn&#x27;t accept the code")


@pytest.mark.exhaustive
def test_two_tabs_sign_in_side_by_side_and_many_are_removed(app):
    client = client_of(app)
    first, second = begin(client, "/?tab=1"), begin(client, "/?tab=2")
    assert come_back(client, second).headers["location"] == "/?tab=2"
    assert come_back(client, first).headers["location"] == "/?tab=1"
    for _ in range(12):
        begin(client)
    assert len([name for name in client.cookies if "_attempt_" in name]) <= 6


@pytest.mark.exhaustive
def test_the_session_before_the_sign_in_ends(app):
    """Session fixation: a planted session is worthless afterwards."""
    people = app.state.service.people
    client = client_of(app)
    planted = people.signed_in(people.accounts.named("Owner"), "test")
    client.cookies.set(COOKIE, planted)
    come_back(client, begin(client))
    assert people.of_session(planted) is None


@pytest.mark.exhaustive
@pytest.mark.parametrize("following", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_afterwards_only_a_path_of_the_panel_is_opened(app, following):
    assert sign_in(app, following)[1].headers["location"] == "/"


@pytest.mark.exhaustive
def test_someone_who_declines_is_back_at_the_login_page(app, provider):
    provider.denies = "access_denied"
    client, reply = sign_in(app)
    assert_rejected(app, client, reply, 401, "The sign-in was declined at Example.")
    assert 'action="../login"' in reply.text
    assert 'aria-invalid="true" aria-describedby' not in reply.text, "no field of the page is wrong"
    provider.denies = "<b>odd</b>"
    assert "rejected the sign-in (unknown error)" in sign_in(app)[1].text


@pytest.mark.exhaustive
def test_a_provider_that_is_down_or_odd_is_reported(tmp_path, provider):
    app = panel(tmp_path, provider)
    client = client_of(app)
    for body in (b"<html>", b"[1]", b"[" * 100_000, b"{}" + b" " * (2 << 20), b'{"issuer": "http://127.0.0.1:1"}'):
        provider.body = body
        assert client.get("/login/start", headers=HTML).status_code == 424
    provider.body = None
    provider.metadata = {"authorization_endpoint": "http://example.org/authorize"}
    reply = client.get("/login/start", headers=HTML)
    assert (reply.status_code, "no authorization_endpoint with https" in reply.text) == (424, True)
    provider.close()
    reply = client.get("/login/start", headers=HTML)
    assert (reply.status_code, "Example can&#x27;t be reached" in reply.text) == (424, True)
    assert client.get("/login", headers=HTML).status_code == 200
    app.state.service.close()


@pytest.mark.exhaustive
def test_without_an_owner_only_the_list_or_the_set_up_code_makes_one(tmp_path, provider):
    app = panel(tmp_path, provider, owner=False)
    people = app.state.service.people
    code = people.new_setup_code()
    assert "Sign in with Example" in client_of(app).get("/setup", headers=HTML).text
    client, reply = sign_in(app)
    assert_rejected(app, client, reply, 403, "no owner yet")
    provider.person["sub"] = "boss"
    client, _ = sign_in(app)
    assert client.get("/api/people").status_code == 200
    assert client_of(app).post("/api/setup", json={"code": code, "name": "Eve", "password": PASSWORD}).status_code == 401
    app.state.service.close()


@pytest.mark.exhaustive
def test_the_address_for_the_answer_follows_the_proxy(app, tmp_path, provider):
    """It uses the scheme and prefix of the proxy; on a Space always https and its public name."""
    client = client_of(app)

    def callback_url(client, **headers) -> str:
        started = client.get("/login/start", headers=HTML | headers)
        return parse_qs(urlsplit(started.headers["location"]).query)["redirect_uri"][0]

    assert callback_url(client) == "http://127.0.0.1:7860/login/callback"
    behind = {"Host": "panel.example.org", "X-Forwarded-Prefix": "/train"}
    assert callback_url(client, **behind) == "http://panel.example.org/train/login/callback"
    client.base_url = "https://panel.example.org"
    assert callback_url(client) == "https://panel.example.org/login/callback"
    hosted = panel(tmp_path / "space", provider, hosted=True, hosts=("ada-panel.hf.space",))
    space = client_of(hosted)
    for host in ("ada-panel.hf.space", "evil.example"):
        assert callback_url(space, Host=host) == "https://ada-panel.hf.space/login/callback"
    page = space.get("/login", headers=HTML).text
    assert 'target="_blank" rel="noopener">Sign in with Example' in page
    hosted.state.service.close()


@pytest.mark.exhaustive
def test_a_panel_without_a_provider_offers_nothing(tmp_path):
    app = create_api(rehearsal_service(tmp_path), Access(AccessSettings(accounts=True)))
    app.state.service.people.accounts.add("Owner", Role.OWNER, PASSWORD)
    client = client_of(app)
    page = client.get("/login", headers=HTML).text
    assert "login/start" not in page
    assert "<!--" not in page
    for path in ("/login/start", "/login/callback"):
        assert client.get(path, headers=HTML).headers["location"] == "/login"
    app.state.service.close()


@pytest.mark.exhaustive
def test_sign_ins_are_in_the_audit_log_without_secrets(app, provider):
    sign_in(app)
    provider.person = {"sub": "5", "preferred_username": "mallory"}
    sign_in(app)
    entries = app.state.service.people.audit.export("jsonl")
    text = "".join(entries)
    assert '"who": "ada"' in text
    assert '"target": "Example: mallory", "status": 403' in text
    assert SECRET not in text
    assert "code=" not in text


@pytest.mark.exhaustive
def test_sign_ins_with_a_provider_count_as_logins(app):
    client = client_of(app)
    codes = [client.get("/login/callback", headers=HTML).status_code for _ in range(LOGINS)]
    assert set(codes) == {401}
    assert client.get("/login/start", headers=HTML).status_code == 429
    assert client.post("/api/login", json={"name": "Owner", "password": PASSWORD}).status_code == 429


@pytest.mark.exhaustive
def test_a_provider_that_hangs_delays_nobody_else(app, provider):
    """Anyone may start a sign-in, so those that wait for the provider don't occupy the threads of other requests."""
    provider.answers.clear()

    async def try_it() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860", headers=HTML) as client,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(LOGINS - 1):
                tasks.start_soon(client.get, "/login/start")
            with anyio.fail_after(20):
                while not provider.requests:
                    await anyio.sleep(0.01)
                login = await client.post("/api/login", json={"name": "Owner", "password": PASSWORD})
                cookies = {COOKIE: login.cookies[COOKIE]}
                checked = await client.post("/api/config/validate", json={"config": {}}, cookies=cookies)
            assert not provider.answers.is_set()
            provider.answers.set()
        return [login.status_code, checked.status_code]

    assert anyio.run(try_it) == [200, 200]


@pytest.mark.exhaustive
def test_a_space_signs_people_in_with_what_it_sets_itself(tmp_path, provider):
    """It uses the variables that a Space sets, from the command line to the
    signed-in owner; the provider answers as Hugging Face does.
    """
    from onetrainer_gradio.cli import parse
    from onetrainer_gradio.server import panel_settings

    provider.person = {
        "sub": "62f264b9f3c90f4b6514a269",
        "name": "Ada",
        "preferred_username": "ada",
        "profile": "https://huggingface.co/ada",
        "picture": "https://huggingface.co/avatars/ada.svg",
        "isPro": False,
        "orgs": [{"sub": "5f17f0a0925b9863e28ad518", "name": "The Lab", "preferred_username": "lab", "isEnterprise": False}],
    }
    environment = {
        "SPACE_ID": "ada/panel",
        "SPACE_HOST": "ada-panel.hf.space",
        "ONETRAINER_GRADIO_ACCOUNTS": "1",
        "OPENID_PROVIDER_URL": provider.issuer,
        "OAUTH_CLIENT_ID": CLIENT,
        "OAUTH_CLIENT_SECRET": SECRET,
        "OAUTH_SCOPES": "openid profile",
        "ONETRAINER_GRADIO_OIDC_ALLOW": "owner=user:ada, viewer=org:lab",
    }
    options = parse(["--data", str(tmp_path), "--public-host", "ada-panel.hf.space"], environment)
    settings = panel_settings(options)
    app = create_api(rehearsal_service(tmp_path), Access(settings.access), provider=settings.provider)
    client = client_of(app)
    client.base_url = "https://ada-panel.hf.space"
    started = client.get("/login/start", headers=HTML)
    assert parse_qs(urlsplit(started.headers["location"]).query)["scope"] == ["openid profile"]
    reply = come_back(client, httpx.get(started.headers["location"]).headers["location"])
    cookie = next(each for each in reply.headers.get_list("set-cookie") if each.startswith("onetrainer_gradio_web="))
    assert {"SameSite=None", "Secure", "Partitioned", "HttpOnly"} <= set(cookie.split("; "))
    shown = client.get("/api/session").json()
    assert (shown["name"], shown["role"]) == ("ada", "owner")
    provider.person |= {"sub": "1", "preferred_username": "bob"}
    other = client_of(app)
    other.base_url = "https://ada-panel.hf.space"
    come_back(other, begin(other))
    assert other.get("/api/session").json()["role"] == "viewer"
    app.state.service.close()

"""The guard in front of every request."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from onetrainer_gradio.api.cookies import cookie_name
from onetrainer_gradio.api.guard import CLOSE_NOT_AUTHENTICATED, Guard, allowed_hosts, local_path
from onetrainer_gradio.service.host.access import FREE_ATTEMPTS, Access, AccessSettings

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-programs"
PASSWORD = "correct horse battery"
HTML = {"Accept": "text/html,application/xhtml+xml"}


def panel(**settings) -> tuple[TestClient, Access]:
    """A small app behind the guard: loopback without a password unless settings say otherwise."""

    async def page(request):
        return PlainTextResponse("inside")

    async def socket(websocket):
        await websocket.accept()
        await websocket.send_text("inside")
        await websocket.close()

    access = Access(AccessSettings(**settings))
    methods = ["GET", "POST", "PUT", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", page, methods=methods), WebSocketRoute("/ws", socket)])
    app.add_middleware(Guard, access=access)
    return TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False), access


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "LocalHost"])
def test_loopback_without_a_password_is_open_under_its_own_names(host):
    client, _ = panel()
    assert client.get("/", headers={"Host": host}).text == "inside"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "192.168.1.7:7860", ""])
def test_a_foreign_name_is_rejected_without_a_password(host):
    """A page whose name was redirected to this machine reaches nothing (DNS rebinding)."""
    client, _ = panel()
    reply = client.get("/api/training/status", headers={"Host": host})
    assert reply.status_code == 403
    assert reply.json()["ok"] is False
    assert "inside" not in reply.text


def test_a_public_host_is_an_own_name():
    client, _ = panel(hosts=allowed_hosts(["https://Panel.example:8443/"]))
    assert client.get("/", headers={"Host": "panel.example"}).text == "inside"
    assert client.get("/", headers={"Host": "panel.example", "Origin": "https://panel.example:8443"}).text == "inside"
    assert client.get("/", headers={"Host": "other.example"}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://[broken", "file://"])
@pytest.mark.parametrize("settings", [{}, {"password": PASSWORD}])
def test_what_a_foreign_page_sends_is_rejected(origin, settings):
    """This holds for any method, with or without a password; another port of this machine is another site too."""
    client, _ = panel(**settings)
    headers = {"Origin": origin}
    if settings:
        headers["Authorization"] = f"Bearer {PASSWORD}"
    assert client.post("/api/training/start", headers=headers).status_code == 403
    assert client.get("/api/config/load/x", headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://127.0.0.1:7860/ws", headers=headers) as socket:
        socket.receive_text()


def test_the_panels_own_page_and_programs_pass():
    client, _ = panel()
    assert client.post("/api/training/start", headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200
    assert client.post("/api/training/start").status_code == 200
    with client.websocket_connect("ws://127.0.0.1:7860/ws", headers={"Origin": "http://127.0.0.1:7860"}) as socket:
        assert socket.receive_text() == "inside"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_to_the_page_and_nothing_else(site):
    """An image, frame or link of another site or port can't reach the API, because some paths have effects on GET."""
    client, _ = panel()
    cross = {"Sec-Fetch-Site": site}
    assert client.get("/api/config/load/x", headers=cross).status_code == 403
    assert client.get("/api/config/load/x", headers={**cross, "Sec-Fetch-Mode": "navigate", **HTML}).status_code == 403
    assert client.get("/", headers={**cross, "Sec-Fetch-Mode": "navigate", **HTML}).status_code == 200


def test_without_credentials_a_person_gets_the_login_page_and_a_program_an_error():
    client, _ = panel(password=PASSWORD)
    page = client.get("/some/page?a=1&b=2", headers=HTML)
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/some/page%3Fa%3D1%26b%3D2")
    for reply in (client.get("/api/training/status", headers=HTML), client.get("/x"), client.post("/x", headers=HTML)):
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"] == "Bearer"
        assert {"ok", "error", "errors", "status"} <= reply.json().keys()


def test_a_socket_without_credentials_is_closed_with_a_code_of_its_own():
    client, _ = panel(password=PASSWORD)
    with client.websocket_connect("ws://127.0.0.1:7860/ws") as socket, pytest.raises(WebSocketDisconnect) as end:
        socket.receive_text()
    assert end.value.code == CLOSE_NOT_AUTHENTICATED


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD])
def test_a_bearer_passes_everywhere(secret):
    client, _ = panel(password=PASSWORD, token=TOKEN)
    client.headers["Authorization"] = f"bearer {secret}"
    assert client.get("/").text == "inside"
    with client.websocket_connect("ws://127.0.0.1:7860/ws") as socket:
        assert socket.receive_text() == "inside"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"{TOKEN}"])
def test_a_bad_bearer_does_not(header):
    client, _ = panel(token=TOKEN)
    assert client.get("/x", headers={"Authorization": header}).status_code == 401


def test_guessing_bearers_is_slowed_down():
    client, _ = panel(token=TOKEN)
    for _ in range(FREE_ATTEMPTS):
        assert client.get("/x", headers={"Authorization": "Bearer guess"}).status_code == 401
    reply = client.get("/x", headers={"Authorization": f"Bearer {TOKEN}"})
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) >= 1


def test_the_start_link_becomes_a_cookie_once():
    """The token is removed from the address immediately, other parameters stay, and the link works only once."""
    client, access = panel(token=TOKEN)
    link = access.new_link()
    reply = client.get(f"/?token={link}&tab=samples")
    assert (reply.status_code, reply.headers["location"]) == (303, "/?tab=samples")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert client.get("/").text == "inside"
    assert client.get("/api/x").text == "inside"
    client.cookies.clear()
    assert "set-cookie" not in client.get(f"/?token={link}").headers
    assert client.get("/x").status_code == 401


@pytest.mark.parametrize("other", ['theme={"dark": true}', "a[b]=1", "a b=1", "novalue", 'a="open', "a=ä", "path=/", "=x"])
def test_cookies_of_other_programs_do_not_hide_the_session(other):
    """Programs at other ports of the same host share the browser's cookies, whatever they contain."""
    client, access = panel(password=PASSWORD)
    session = access.login(PASSWORD, "a")
    name = cookie_name("127.0.0.1:7860")
    for header in (f"{other}; {name}={session}", f"{name}={session}; {other}", f"{name}={session}; {name}=of-a-shorter-path"):
        assert client.get("/api/session", headers={"Cookie": header.encode()}).status_code == 200
    assert client.get("/api/session", headers={"Cookie": f"not_{name}={session}"}).status_code == 401


def test_cookies_are_secure_over_https_and_partitioned_on_a_space():
    client, access = panel(token=TOKEN)
    client.base_url = "https://127.0.0.1"
    assert "; Secure" in client.get(f"/?token={access.new_link()}").headers["set-cookie"]
    client, access = panel(token=TOKEN, hosted=True)
    cookie = client.get(f"/?token={access.new_link()}", headers={"Host": "me-panel.hf.space"}).headers["set-cookie"]
    assert cookie.endswith("SameSite=None; Secure; Partitioned")


def test_every_reply_carries_the_security_headers():
    client, _ = panel(token=TOKEN)
    for reply in (
        client.get("/x"),
        client.get("/", headers=HTML),
        client.get("/x", headers={"Authorization": f"Bearer {TOKEN}"}),
    ):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "SAMEORIGIN"
        assert reply.headers["referrer-policy"] == "same-origin"
    hosted, _ = panel(token=TOKEN, hosted=True)
    assert "x-frame-options" not in hosted.get("/x").headers


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("/", "/"),
        ("/a?b=c", "/a?b=c"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("", "/"),
        ("/a\nSet-Cookie: x", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_after_the_login_one_stays_on_this_panel(path, safe):
    assert local_path(path) == safe


def test_the_lifespan_passes():
    """The guard ignores what is not a request."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(Guard(app, Access(AccessSettings(password=PASSWORD)))({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]

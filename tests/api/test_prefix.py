"""The panel below a path of a reverse proxy: only what depends on the prefix changes."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.api.prefix import prefix_of
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.api.conftest import rehearsal_service

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"
BELOW = {"X-Forwarded-Prefix": "/train/box"}
PAGE = {"Accept": "text/html", **BELOW}


@pytest.fixture(scope="module")
def access():
    return Access(AccessSettings(password=PASSWORD))


@pytest.fixture(scope="module")
def locked(access, tmp_path_factory):
    return create_api(rehearsal_service(tmp_path_factory.mktemp("below")), access)


@pytest.fixture
def client(locked, request):
    """What a proxy that takes the prefix off asks of the panel."""
    return TestClient(locked, base_url="http://panel.example", follow_redirects=False, client=(request.node.name, 5000))


@pytest.mark.parametrize(
    ("sent", "prefix"),
    [
        ("/train", "/train"),
        ("/train/", "/train"),
        ("/a/b-c_d.e~f/9", "/a/b-c_d.e~f/9"),
        ("", ""),
        ("/", ""),
        ("train", ""),
        ("//evil.example", ""),
        ("/a//b", ""),
        ("/..", ""),
        ("/a/./b", ""),
        ('/"><script>', ""),
        ("/a, /b", ""),
        ("/a?b", ""),
        ("/\\evil.example", ""),
        ("/" + "a" * 300, ""),
    ],
)
def test_only_a_plain_path_is_a_prefix(sent, prefix):
    """A prefix that could lead elsewhere, or could be markup, is ignored."""
    assert prefix_of({"type": "http", "headers": [(b"x-forwarded-prefix", sent.encode())]}) == prefix


@pytest.mark.exhaustive
def test_a_person_logs_in_below_the_prefix_and_stays_there(client):
    """Every address during the login has the prefix, and the cookie is sent only below it."""
    page = client.get("/docs?a=1", headers=PAGE)
    assert (page.status_code, page.headers["location"]) == (303, "/train/box/login?next=/docs%3Fa%3D1")
    page = client.get("/login?next=/docs", headers=PAGE)
    assert 'name="next" value="/docs"' in page.text
    assert re.search(r'action="([^"]+)"', page.text)[1] == "login"
    reply = client.post("/login", data={"password": PASSWORD, "next": "/docs"}, headers=PAGE)
    assert (reply.status_code, reply.headers["location"]) == (303, "/train/box/docs")
    assert "; Path=/train/box/;" in reply.headers["set-cookie"]
    session = {"Cookie": reply.headers["set-cookie"].partition(";")[0]}
    assert client.get("/login?next=/redoc", headers=PAGE | session).headers["location"] == "/train/box/redoc"
    ended = client.post("/api/logout", headers=BELOW | session)
    assert "; Path=/train/box/;" in ended.headers["set-cookie"]
    assert client.get("/docs", headers=PAGE | session).status_code == 303


def test_the_start_link_continues_below_the_prefix(client, access):
    reply = client.get(f"/?token={access.new_link()}&x=1", headers=PAGE)
    assert (reply.status_code, reply.headers["location"]) == (303, "/train/box/?x=1")
    assert "; Path=/train/box/;" in reply.headers["set-cookie"]


@pytest.mark.exhaustive
def test_paths_answer_as_without_a_prefix_and_the_description_names_it(client):
    """Clients below the prefix use the same paths; the API description contains the prefix."""
    known = BELOW | {"Authorization": f"Bearer {PASSWORD}"}
    assert client.get("/api/training/status", headers=known).json()["status"] == "idle"
    assert client.get("/api/no/such/path", headers=known).status_code == 404
    assert client.post("/api/training/status", headers=known).status_code == 405
    assert client.get("/openapi.json", headers=known).json()["servers"] == [{"url": "/train/box"}]
    with client.websocket_connect("/ws", headers=known) as socket:
        assert socket.receive_json()["type"] == "connected"
    for path in ("/docs", "/redoc"):
        page = client.get(path, headers=known | {"Accept": "text/html"}).text
        addresses = re.findall(r"(?:src|href|spec-url)=\"([^\"]+)\"|url: '([^']+)'", page)
        assert addresses
        for address in ("".join(pair) for pair in addresses):
            assert not address.startswith(("/", "http")), address
            assert client.get(f"/{address}", headers=known).status_code == 200


@pytest.mark.parametrize("prefix", ["/login", "/api/login", "/api", "/ws"])
def test_no_prefix_opens_what_is_guarded(client, prefix):
    """Whatever prefix a client sends, the guard checks the requested path."""
    sent = {"X-Forwarded-Prefix": prefix}
    for path in ("/api/training/status", "/docs", "/", f"{prefix}/../api/runs"):
        assert client.get(path, headers=sent).status_code == 401, path
    with client.websocket_connect("/ws", headers=sent) as socket, pytest.raises(WebSocketDisconnect) as end:
        socket.receive_text()
    assert end.value.code == 4401

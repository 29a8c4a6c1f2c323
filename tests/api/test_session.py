"""Login and logout, on a panel with a password."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.service.host.access import FREE_ATTEMPTS, Access, AccessSettings
from tests.api.conftest import rehearsal_service

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"
STATUS = "/api/training/status"


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    return create_api(rehearsal_service(tmp_path_factory.mktemp("locked")), Access(AccessSettings(password=PASSWORD)))


@pytest.fixture
def client(locked, request):
    """A browser that is not logged in, at an address without failed attempts."""
    return TestClient(locked, base_url="http://panel.example", follow_redirects=False, client=(request.node.name, 5000))


@pytest.mark.exhaustive
def test_a_person_logs_in_with_the_page_and_continues_where_it_was(client):
    page = client.get("/docs", headers={"Accept": "text/html"})
    page = client.get(page.headers["location"])
    assert page.status_code == 200
    assert 'name="next" value="/docs"' in page.text
    reply = client.post("/login", data={"password": PASSWORD, "next": "/docs"})
    assert (reply.status_code, reply.headers["location"]) == (303, "/docs")
    assert client.get("/docs").status_code == 200
    assert client.get("/login?next=/redoc").headers["location"] == "/redoc"


def test_a_wrong_password_is_reported_on_the_page(client):
    page = client.post("/login", data={"password": "wrong", "next": '/x"><script>'})
    assert page.status_code == 401
    assert "Wrong password or token" in page.text
    assert "<script>" not in page.text
    assert client.get(STATUS).status_code == 401


def test_the_page_leads_nowhere_else(client):
    reply = client.post("/login", data={"password": PASSWORD, "next": "//evil.example"})
    assert reply.headers["location"] == "/"


def test_the_page_loads_nothing_from_anywhere(client):
    page = client.get("/login")
    assert "http" not in page.text.replace("http-equiv", "")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_program_logs_in_and_out(client):
    reply = client.post("/api/login", json={"password": PASSWORD})
    assert reply.json() == {"ok": True}
    assert "HttpOnly" in reply.headers["set-cookie"]
    session = dict(client.cookies)
    assert client.get(STATUS).status_code == 200
    assert client.post("/api/logout").json() == {"ok": True}
    client.cookies.clear()
    assert client.get(STATUS, cookies=session).status_code == 401


@pytest.mark.parametrize("body", [{"password": "wrong"}, {"password": ""}])
def test_a_wrong_password_is_401(client, body):
    reply = client.post("/api/login", json=body)
    assert (reply.status_code, reply.json()["ok"]) == (401, False)
    assert "set-cookie" not in reply.headers


def test_guessing_is_slowed_down_on_both_ways(client):
    for _ in range(FREE_ATTEMPTS):
        client.post("/api/login", json={"password": "guess"})
    reply = client.post("/api/login", json={"password": PASSWORD})
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) >= 1
    page = client.post("/login", data={"password": PASSWORD})
    assert page.status_code == 429
    assert "Too many" in page.text


def test_a_login_from_another_site_is_rejected(client):
    """A page of another site can't log a person in to a panel."""
    assert client.post("/login", data={"password": PASSWORD}, headers={"Origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize("path", ["/login", "/api/login"])
def test_a_huge_body_is_rejected(client, path):
    """The two open paths can't be used to fill the memory."""
    assert client.post(path, content=b"x" * 9_000_000).status_code == 413


def test_without_a_password_the_page_sends_on(panel):
    reply = panel.client.get("/login?next=/docs", follow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (303, "/docs")
    assert panel.client.post("/api/login", json={"password": "any"}).json() == {"ok": True}
    assert panel.client.post("/login", data={"password": "any"}, follow_redirects=False).status_code == 303


def test_the_page_learns_whether_there_is_something_to_sign_out_of(client, panel):
    """Only signed-in people get the answer; an open panel reports that no login is needed."""
    assert client.get("/api/session").status_code == 401
    client.post("/api/login", json={"password": PASSWORD})
    owner = {"accounts": False, "name": "", "role": "owner", "shows": "panel"}
    assert client.get("/api/session").json() == {"ok": True, "required": True, "kind": "panel", **owner}
    assert panel.client.get("/api/session").json() == {"ok": True, "required": False, "kind": "local", **owner}

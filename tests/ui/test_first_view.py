"""What the page shows until Gradio has built it."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from onetrainer_gradio.service.people.roles import IDENTITY_KEY, Identity, Kind, Role
from onetrainer_gradio.ui.first_view import FirstView, first_view
from onetrainer_gradio.ui.tabs import Tab

pytestmark = pytest.mark.slow

PAGE = (
    '<html><head><meta charset="utf-8" /><base href="./" /><script></script></head><body><gradio-app></gradio-app></body></html>'
)
COMPLETE = (
    '<html><head><meta charset="utf-8" /><base href="./" />HEAD<script></script></head>'
    "<body>BODY<gradio-app></gradio-app></body></html>"
)


def client() -> TestClient:
    async def page(request):
        return HTMLResponse(PAGE)

    async def pieces(request):
        return StreamingResponse(iter([PAGE[:50], PAGE[50:]]), media_type="text/html; charset=utf-8")

    async def other(request):
        return HTMLResponse("<head></head>")

    async def data(request):
        return JSONResponse("<gradio-app")

    routes = [Route(f"/{each.__name__}", each) for each in (page, pieces, other, data)]
    app = Starlette(routes=routes)
    app.add_middleware(FirstView, head="HEAD", body="BODY")
    return TestClient(app)


@pytest.mark.parametrize("path", ["/page", "/pieces"])
def test_it_is_in_the_markup_that_the_server_sends(path):
    """It comes after the base of its addresses, before Gradio's scripts, and with the right content length."""
    reply = client().get(path)
    assert reply.text == COMPLETE
    assert int(reply.headers["content-length"]) == len(COMPLETE)


def test_nothing_else_is_changed():
    assert client().get("/other").text == "<head></head>"
    assert client().get("/data").json() == "<gradio-app"


def test_tabs_are_links_until_gradio_has_its_own():
    text = first_view([Tab("one", "First <tab>", ())])
    assert '<a href="#one" data-og-tab="one">First &lt;tab&gt;</a>' in text
    assert text.count("data-og=") == 2


@pytest.mark.parametrize(
    ("role", "mark"),
    [
        (Role.OWNER, ""),
        (Role.OPERATOR, '<meta name="og-role" content="operator">'),
        (Role.VIEWER, '<meta name="og-role" content="viewer">'),
    ],
)
def test_the_page_has_the_role_of_who_requests_it(role, mark):
    """The scripts have it from the start, and an owner's page is no byte longer."""
    pages = client().app

    async def as_someone(scope, receive, send):
        if scope["type"] == "http":
            scope[IDENTITY_KEY] = Identity(role, Kind.ACCOUNT, "Someone")
        await pages(scope, receive, send)

    assert TestClient(as_someone).get("/page").text == COMPLETE.replace("HEAD", f"{mark}HEAD")

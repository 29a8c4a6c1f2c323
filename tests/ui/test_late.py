"""The page's app is built while the panel already responds."""

from __future__ import annotations

import threading
import time

import pytest
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.testclient import TestClient

from onetrainer_gradio.ui.late import LatePage

pytestmark = pytest.mark.slow

ENOUGH_S = 10


def panel(page: LatePage) -> FastAPI:
    app = FastAPI(lifespan=lambda _: page.running())
    app.add_api_route("/api", lambda: "there")
    app.mount("/", page)
    return app


def small_page() -> FastAPI:
    app = FastAPI()
    app.add_api_route("/", lambda: "page")
    return app


def test_the_api_answers_while_the_page_is_built():
    """A request for the page waits for it; no other does."""
    may_end = threading.Event()

    def build() -> FastAPI:
        assert may_end.wait(ENOUGH_S)
        return small_page()

    with TestClient(panel(LatePage(build))) as client:
        assert client.get("/api").json() == "there"
        threading.Timer(0.1, may_end.set).start()
        begun = time.monotonic()
        assert client.get("/").json() == "page"
        assert time.monotonic() - begun < ENOUGH_S


def test_the_page_is_built_once():
    """Its routes can be listed before it is served, and a client without a lifespan gets it, too."""
    built = []

    def build() -> FastAPI:
        built.append(1)
        return small_page()

    page = LatePage(build)
    app = panel(page)
    mounts = [route for route in app.routes if isinstance(route, Mount)]
    assert "/" in {route.path for route in mounts[0].routes}
    assert TestClient(app).get("/").json() == "page"
    with TestClient(app) as client:
        assert client.get("/").json() == "page"
    assert len(built) == 1


def test_a_page_that_cannot_be_built_ends_the_panel():
    """The server is notified, and requests fail instead of waiting forever."""
    heard = threading.Event()

    def build() -> FastAPI:
        raise ImportError("no gradio")

    def visit() -> None:
        with TestClient(panel(LatePage(build, heard.set)), raise_server_exceptions=False) as client:
            assert heard.wait(ENOUGH_S)
            assert client.get("/").status_code == 500

    with pytest.raises(ImportError, match="no gradio"):
        visit()

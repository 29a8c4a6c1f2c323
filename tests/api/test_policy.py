"""The Content-Security-Policy of every response."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from onetrainer_gradio.api.guard import Guard
from onetrainer_gradio.api.policy import HEADER, Policy
from onetrainer_gradio.service.host.access import Access, AccessSettings

pytestmark = pytest.mark.slow

PAGE = "<html><link rel=x><script>one</script><script>two</script><script type=module src=x></script></html>"


def client(*, hosted: bool = False) -> TestClient:
    async def page(request):
        return HTMLResponse(PAGE)

    async def pieces(request):
        return StreamingResponse(iter([PAGE[:9], PAGE[9:]]), media_type="text/html; charset=utf-8")

    async def own(request):
        return HTMLResponse(PAGE, headers={HEADER: "default-src 'none'"})

    async def data(request):
        return JSONResponse({"text": "<script>"})

    routes = [Route(f"/{each.__name__}", each, methods=["GET", "HEAD"]) for each in (page, pieces, own, data)]
    app = Starlette(routes=routes)
    app.add_middleware(Policy)
    secret = "a long password" if hosted else ""
    app.add_middleware(Guard, access=Access(AccessSettings(password=secret, hosted=hosted)))
    return TestClient(app, base_url="http://127.0.0.1:7860", headers={"Authorization": f"Bearer {secret}"})


@pytest.mark.parametrize("path", ["/page", "/pieces"])
def test_only_the_scripts_that_the_server_wrote_run(path):
    """The policy lists their hashes, including those of the head; no other
    inline script, handler or foreign script is allowed.
    """
    reply = client().get(path)
    assert reply.text == PAGE
    allowed = re.search(r"script-src ([^;]*)", reply.headers[HEADER])[1].split()
    one, two = (base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (b"one", b"two"))
    assert allowed == ["'self'", "'unsafe-eval'", f"'sha256-{one}'", f"'sha256-{two}'"]


def test_a_page_with_a_policy_of_its_own_keeps_it():
    reply = client().get("/own")
    assert reply.text == PAGE
    assert reply.headers[HEADER] == "default-src 'none'; frame-ancestors 'self'"


def test_data_that_a_browser_opens_runs_nothing():
    reply = client().get("/data")
    assert reply.json() == {"text": "<script>"}
    assert reply.headers[HEADER].startswith("default-src 'none'")


@pytest.mark.parametrize("path", ["/page", "/own", "/data", "/nowhere"])
def test_every_answer_sets_who_may_frame_it(path):
    """Only the panel itself may; on a Space, pages of the Hugging Face Hub may too."""
    here, space = client().get(path), client(hosted=True).get(path)
    assert here.headers[HEADER].endswith("frame-ancestors 'self'")
    assert here.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "https://huggingface.co" in space.headers[HEADER].partition("frame-ancestors")[2]
    assert "X-Frame-Options" not in space.headers
    for reply in (here, space):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "same-origin"


def test_head_is_answered_without_a_body():
    reply = client().head("/page")
    assert (reply.status_code, reply.text) == (200, "")

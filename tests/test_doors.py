"""What the panel as a whole doesn't let in or out: unrequested files, secrets in its log, a policy that breaks its page."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from onetrainer_gradio.server import PanelSettings, make_app
from tests.panel_process import REHEARSAL, Running

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-programs-0123456789"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    app = make_app(PanelSettings(data_folder=tmp_path_factory.mktemp("panel"), in_process=True, backend=REHEARSAL))
    with TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/upload/"),
        ("POST", "/gradio_api/upload?upload_id=1"),
        ("GET", "/gradio_api/upload_progress?upload_id=1"),
        ("POST", "/gradio_api/component_server"),
        ("GET", "/gradio_api/file=secrets.json"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("HEAD", "/gradio_api/file=panel.json"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:9/"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/gradio_api/stream/a/b/c/playlist.m3u8"),
    ],
)
def test_paths_of_gradio_that_the_page_does_not_use_are_closed(client, method, path):
    before = {str(found) for found in Path(client.app.state.service.settings.data_folder).rglob("*")}
    files = {"files": ("x.bin", b"x" * 100_000)} if method == "POST" else None
    reply = client.request(method, path, files=files)
    assert reply.status_code == 404
    assert {str(found) for found in Path(client.app.state.service.settings.data_folder).rglob("*")} == before


def test_no_path_stores_what_it_rejects(client):
    """A body that is too large is rejected before it is stored, on Gradio's paths too."""
    for path in ("/gradio_api/queue/join", "/gradio_api/call/start", "/gradio_api/run/start", "/gradio_api/upload"):
        assert client.post(path, content=b"x" * 9_000_000).status_code in {404, 413}


def test_the_page_shows_what_it_may_load(client):
    page = client.get("/", headers={"Accept": "text/html", "Accept-Encoding": "br, gzip"})
    policy = page.headers["content-security-policy"]
    assert "script-src 'self' 'unsafe-eval' 'sha256-" in policy
    assert "'unsafe-inline'" not in re.search(r"script-src[^;]*", policy)[0]
    inline = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page.text)
    assert policy.count("'sha256-") > len(set(inline))


@pytest.mark.exhaustive
def test_no_secret_gets_into_the_log(tmp_path):
    """At the debug level, servers log every address and header; tokens, links,
    passwords, cookies and sessions must not appear.
    """
    panel = Running(tmp_path, "--log-level", "debug", "--backend", REHEARSAL, ONETRAINER_GRADIO_TOKEN=TOKEN)
    try:
        link = re.search(r"token=(\S+)", panel.startup_output)[1]
        with httpx.Client(base_url=panel.address, headers={"Accept": "text/html"}) as browser:
            first = browser.get("/", params={"token": link})
            session = first.cookies.jar
            value = next(iter(session)).value
            assert first.status_code == 303
            assert first.headers["referrer-policy"] == "same-origin"
            assert "token" not in first.headers["location"]
            browser.get("/", params={"token": TOKEN})
            browser.get("/api/runs", params={"token": TOKEN})
            browser.get("/nowhere", params={"token": TOKEN})
            browser.post("/login", data={"password": TOKEN})
            browser.post("/api/login", json={"password": TOKEN})
            browser.get("/api/runs", headers={"Authorization": f"Bearer {TOKEN}"})
            from websockets.sync.client import connect

            headers = {"Authorization": f"Bearer {TOKEN}", "Cookie": f"onetrainer_gradio_{browser.base_url.port}={value}"}
            with connect(panel.address.replace("http", "ws") + f"/ws?token={TOKEN}", additional_headers=headers) as viewer:
                viewer.recv(timeout=5)
        time.sleep(0.2)
    finally:
        _, output, _ = panel.end()
    output = output.replace(panel.startup_output, "")
    for secret in (TOKEN, link, value):
        assert secret not in output, [line for line in output.splitlines() if secret in line][:5]
    assert "/ws" in output, "the log was looked at"
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and os.path.getsize(path) < 1e6)
    assert TOKEN.encode() not in stored

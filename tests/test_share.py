"""The public link through Gradio's relay: problems are reported, and nothing delays the panel."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import re
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from gradio import networking, tunneling

from onetrainer_gradio.cli import PanelOptions
from onetrainer_gradio.server import Notice
from onetrainer_gradio.service.host.access import Access, AccessSettings
from onetrainer_gradio.share import ShareError, ShareResult, open_link, start_tunnel, viewer_link
from tests.api.conftest import rehearsal_service
from tests.panel_process import Running
from tests.waiting import read_until

TOKEN = "a-token-for-programs"
NOBODY = "http://127.0.0.1:9/"

# The relay is that of Gradio, which takes a second to import.
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the relay's program is a script here")]


class Relay:
    """Responses of the relay's API and of the download server of its program."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.program = b""
        self.status = 200
        self.binary = folder / "frpc" / "frpc_test"
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        monkeypatch.chdir(folder)
        monkeypatch.setattr(networking, "GRADIO_API_SERVER", f"{self.url}/api")
        monkeypatch.setattr(networking, "GRADIO_SHARE_SERVER_ADDRESS", None)
        monkeypatch.setattr(tunneling, "BINARY_URL", f"{self.url}/frpc")
        monkeypatch.setattr(tunneling, "BINARY_PATH", str(self.binary))
        monkeypatch.setattr(tunneling, "BINARY_FOLDER", self.binary.parent)
        monkeypatch.setattr(tunneling, "CHECKSUMS", {})
        monkeypatch.setattr(tunneling, "TUNNEL_TIMEOUT_SECONDS", 1)

    def says(self, *lines: str, then: str = "exec sleep 30") -> None:
        """Let the program print lines."""
        self.program = "\n".join(("#!/bin/sh", *(f"echo '{line}'" for line in lines), then)).encode()

    def trusts(self, program: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let only this program count as the published one."""
        monkeypatch.setattr(tunneling, "CHECKSUMS", {tunneling.BINARY_URL: hashlib.sha256(program).hexdigest()})

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = (
                    relay.program
                    if self.path == "/frpc"
                    else json.dumps([{"host": "127.0.0.1", "port": 7000, "root_ca": "x"}]).encode()
                )
                self.send_response(relay.status if self.path == "/frpc" else 200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def relay(tmp_path, monkeypatch):
    made = Relay(tmp_path, monkeypatch)
    yield made
    made.server.shutdown()
    made.server.server_close()
    for tunnel in tunneling.CURRENT_TUNNELS:
        if tunnel.proc is not None:
            tunnel.proc.kill()
            tunnel.proc.communicate()
            tunnel.proc = None
    tunneling.CURRENT_TUNNELS.clear()


def test_the_relay_gives_an_address_and_its_end_is_reported(relay):
    relay.says("start proxy success: https://abc.gradio.example")
    shared = open_link(7860)
    assert (shared.address, shared.problem) == ("https://abc.gradio.example", "")
    shared.process.kill()
    assert shared.ended().startswith("The public link has ended (frpc, exit code -9).")


@pytest.mark.exhaustive
def test_a_program_that_cannot_be_downloaded_is_reported_with_the_way_out(relay, monkeypatch):
    relay.status = 500
    with pytest.raises(
        ShareError, match=rf"can't be downloaded .*{relay.url}/frpc on another machine and save it as {relay.binary}"
    ):
        start_tunnel(7860)
    monkeypatch.setattr(tunneling, "BINARY_URL", NOBODY)
    with pytest.raises(ShareError, match=r"can't be downloaded \(ConnectError\)\. Check the internet connection"):
        start_tunnel(7860)


@pytest.mark.exhaustive
def test_a_platform_without_a_program_is_reported(relay):
    relay.status = 403
    with pytest.raises(ShareError, match="no program for this platform"):
        start_tunnel(7860)


@pytest.mark.exhaustive
def test_a_relay_that_cannot_be_reached_is_reported(relay, monkeypatch):
    relay.says("never started")
    monkeypatch.setattr(networking, "GRADIO_API_SERVER", NOBODY)
    with pytest.raises(ShareError, match=r"Can't reach the relay \(ConnectError\)"):
        start_tunnel(7860)


@pytest.mark.exhaustive
def test_a_relay_that_rejects_the_tunnel_is_reported(relay, capsys):
    relay.says("connecting", "login to server failed: i/o timeout")
    with pytest.raises(ShareError, match="frpc reports: login to server failed: i/o timeout"):
        start_tunnel(7860)


def test_a_program_that_was_changed_is_never_started(relay, monkeypatch, tmp_path):
    """It is started neither right after the download nor later: Gradio alone would start whatever file is there."""
    relay.says(f"touch {tmp_path}/started", then=f"touch {tmp_path}/started")
    relay.trusts(b"another program", monkeypatch)
    for _ in range(2):
        with pytest.raises(ShareError, match="has a wrong SHA-256"):
            start_tunnel(7860)
        assert not relay.binary.exists()
    relay.binary.write_bytes(relay.program)
    relay.binary.chmod(0o755)
    with pytest.raises(ShareError, match=r"has a wrong SHA-256.*Delete it"):
        start_tunnel(7860)
    assert relay.binary.read_bytes() == relay.program  # it may be from another program, or half downloaded
    assert not (tmp_path / "started").exists()


def test_the_wait_for_the_relay_ends():
    began = time.monotonic()
    shared = open_link(7860, 0.2, lambda port: time.sleep(5) or ShareResult("too late"))
    assert shared == ShareResult(problem="The relay hasn't answered within 0 seconds.")
    assert time.monotonic() - began < 3


@pytest.mark.exhaustive
def test_the_notice_names_the_link_and_what_protects_it(relay, tmp_path):
    """It includes a link for viewers, which replaces the one of an earlier start."""
    people = rehearsal_service(tmp_path / "data").people
    earlier = viewer_link(people)
    relay.says("start proxy success: https://abc.gradio.example", then="exit 3")
    out = io.StringIO()
    access = Access(AccessSettings(token=TOKEN))
    Notice(access, PanelOptions(token=TOKEN, share=True), 7860, "", time.monotonic(), out, people=people).started()
    for _ in range(200):
        if "has ended" in out.getvalue():
            break
        time.sleep(0.05)
    output = out.getvalue()
    assert "Public link: https://abc.gradio.example (valid for up to a week" in output
    assert "asks everyone to sign in" in output
    secret = re.search(r"For others, .*: https://abc.gradio.example/\?token=(\S+)", output)[1]
    (link,) = people.links.all()
    assert (link.shows, link.role) == ("panel", "viewer")
    assert people.links.opened_by(secret).id == link.id
    assert people.links.opened_by(earlier) is None
    assert "The public link has ended (frpc, exit code 3)" in output
    assert TOKEN not in output


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_panel_without_internet_reports_so_and_continues(tmp_path):
    environment = {
        "ONETRAINER_GRADIO_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "hub"),
        "HTTPS_PROXY": NOBODY,
        "HTTP_PROXY": NOBODY,
    }
    panel = Running(tmp_path / "data", "--share", **environment, NO_PROXY="127.0.0.1,localhost")
    try:
        output = read_until(panel.process, "continues without it")
        assert "No public link: The program frpc can't be downloaded" in output
        client = httpx.Client(trust_env=False)
        assert client.get(panel.address + "/health/live").status_code == 200
        assert client.get(panel.address + "/api/training/status").status_code == 401
        status, rest, _ = panel.end()
        assert status == 0
        assert "Traceback" not in output + rest, sys.platform
    finally:
        panel.kill()

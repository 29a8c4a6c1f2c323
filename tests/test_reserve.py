"""The state and a stop are answered immediately, however many other requests are pending."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from onetrainer_gradio.config.files.documents import to_document
from tests.fakes.configs import small_config
from tests.panel_process import REHEARSAL, Running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timed, pytest.mark.exhaustive]

AT_ONCE_S = 1.0


def request(method: str, path: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Return a request as bytes; ``length`` announces that many more bytes than are sent."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    if body or length:
        lines.append(f"Content-Length: {length or len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def upgrade() -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    headers = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13")
    return request("GET", "/ws", b"", *headers)


LOADS = {
    "waiting for commands": [request("GET", f"/api/commands/c{number}?wait=30") for number in range(400)],
    "checks of settings": [request("POST", "/api/config/validate", b"{}")] * 150,
    "statistics": [request("POST", "/api/concepts/statistics", b"{}")] * 150,
    "previews and thumbnails": [
        *[request("POST", "/api/concepts/preview", b'{"index": 0, "variants": 12}')] * 60,
        *[request("GET", f"/api/samples/none.{number}/thumbnail") for number in range(60)],
    ],
    "lists and files": [request("GET", path) for path in ("/api/runs", "/api/config/list", "/api/files?path=/usr/lib") * 50],
    "live views": [upgrade() for _ in range(200)],
    "polled snapshots": [request("GET", "/api/events")] * 150,
    "uploads that never end": [
        *[request("POST", "/api/config/import", b"{" + b" " * 1000, length=1_000_000)] * 100,
        *[request("PUT", "/api/config/current", b"{", length=5_000_000)] * 100,
    ],
    "headers that never end": [b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "] * 200,
    "actions of the page": [
        request("POST", f"/gradio_api/call/{name}", b'{"data": []}') for name in ("watch", "backup", "sample", "resume") * 30
    ],
    "pages that open": [request("GET", "/")] * 100,
}


@contextlib.asynccontextmanager
async def busy(address: str, requests: list[bytes]) -> AsyncIterator[None]:
    """Keep connections open that have sent these requests."""
    parts = urlsplit(address)
    opened = []
    for text in requests:
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(text)
        opened.append(writer)
    try:
        yield
    finally:
        for writer in opened:
            writer.transport.abort()


def asked(address: str, method: str, path: str) -> float:
    """Return the seconds until one response arrives over a new connection."""
    began = time.monotonic()
    reply = httpx.request(method, address + path, timeout=30)
    assert reply.status_code == 200, reply.text
    return time.monotonic() - began


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    """A panel with the demo's concepts."""
    running = Running(tmp_path_factory.mktemp("reserve"), "--backend", REHEARSAL, "--demo")
    yield running
    running.kill()


def pressed(address: str) -> float:
    """Return the seconds from pressing the page's Stop button until the panel reports that it is stopping."""
    began = time.monotonic()
    event = httpx.post(f"{address}/gradio_api/call/stop", json={"data": []}, timeout=30).json()["event_id"]
    with httpx.stream("GET", f"{address}/gradio_api/call/stop/{event}", timeout=30) as stream:
        next(stream.iter_lines())
    return time.monotonic() - began


def start(panel: Running, folder: Path) -> None:
    document = to_document(small_config(folder), packed=True)
    reply = httpx.post(
        panel.address + "/api/training/start", json={"config": document, "options": {"tags": ["hold=1"]}}, timeout=30
    )
    assert reply.status_code == 200, reply.text
    wait_for(panel.address, lambda state: state["update_step"] == 1 and state["run_id"] == reply.json()["run_id"])


@pytest.mark.parametrize(
    ("load", "by_page"),
    [*((load, False) for load in LOADS), ("checks of settings", True), ("actions of the page", True)],
)
def test_state_and_stop_are_answered_at_once(panel, tmp_path, load, by_page):
    """With hundreds of open requests of one kind, the state and a stop (over REST or from the page) take under a second each."""
    start(panel, tmp_path)

    async def measured() -> list[float]:
        async with busy(panel.address, LOADS[load]):
            await asyncio.sleep(0.3)
            took = [await asyncio.to_thread(asked, panel.address, "GET", "/api/training/status") for _ in range(4)]
            stop = (pressed, panel.address) if by_page else (asked, panel.address, "POST", "/api/training/stop")
            return [*took, await asyncio.to_thread(*stop)]

    took = asyncio.run(measured())
    assert max(took) < AT_ONCE_S, took
    wait_for(panel.address, lambda state: not state["is_training"] and not state["process_running"], 30)

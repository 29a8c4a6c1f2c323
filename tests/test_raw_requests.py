"""Requests that no browser sends, byte for byte, to a real panel: each is rejected or has only one meaning."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.panel_process import REHEARSAL, Running

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-programs"


@pytest.fixture(scope="module")
def panel(tmp_path_factory) -> Iterator[Running]:
    words = ("--in-process", "--backend", REHEARSAL, "--log-format", "json", "--log-level", "info")
    running = Running(tmp_path_factory.mktemp("panel"), *words)
    yield running
    running.kill()


def answer(panel: Running, data: bytes, timeout_s: float = 30) -> bytes:
    """Return what the panel answers to these bytes until it closes the connection or stops sending."""
    with socket.create_connection(("127.0.0.1", int(panel.address.rpartition(":")[2])), timeout_s) as connection:
        received = b""
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                received += part
        except (TimeoutError, ConnectionError):
            pass
        return received


def status(received: bytes) -> int:
    return int(received.split(b" ")[1]) if received else 0


SMUGGLED = b"GET /api/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding: identity\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding:\x0bchunked\r\nContent-Length: %d\r\n",
        b"Content-Length: 0\r\nContent-Length: %d\r\n",
        b"Content-Length: +%d\r\n",
        b"Content-Length: -1\r\n",
        b"X-Folded: a\r\n Content-Length: %d\r\n",
    ],
)
def test_a_second_request_in_a_body_is_never_answered(panel, head):
    """However a proxy reads the request, an ambiguous end closes the connection after at most one response."""
    body = b"0\r\n\r\n" + SMUGGLED
    lines = head % len(body) if b"%d" in head else head
    received = answer(panel, b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + lines + b"\r\n" + body)
    assert received.count(b"HTTP/1.1 ") == 1
    assert "smuggled" not in panel.errors()


@pytest.mark.parametrize(
    "head",
    [
        b"Host: evil.example\r\n",
        b"Host: evil.example\r\nX-Forwarded-Host: localhost\r\n",
        b"Host: localhost.evil.example\r\n",
        b"Host: localhost@evil.example\r\n",
        b"Host: evil.example:localhost\r\n",
        b"Host: 127.0.0.1.evil.example\r\n",
        b"Host:\r\n",
        b"",
        b"Host: localhost\r\nHost: evil.example\r\n",
    ],
)
def test_other_host_names_are_rejected(panel, head):
    """This prevents DNS rebinding; no other header makes up for a wrong host."""
    assert status(answer(panel, b"GET /api/training/status HTTP/1.1\r\nConnection: close\r\n" + head + b"\r\n")) in {400, 403}


def test_a_request_without_a_host_is_rejected(panel):
    assert status(answer(panel, b"GET /api/training/status HTTP/1.0\r\n\r\n")) == 403


@pytest.mark.parametrize(
    "target", [b"http://evil.example/api/training/status", b"//evil.example/api/training/status", b"*", b"evil"]
)
def test_a_target_that_is_no_path_opens_nothing(panel, target):
    received = answer(panel, b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target)
    assert status(received) in {400, 404}
    assert b"location" not in received.lower()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/training/status HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /api/training/status HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    ],
    ids=["target", "header", "headers"],
)
def test_oversized_headers_are_rejected(panel, data):
    """They are rejected before they are complete, so none is kept in memory."""
    assert status(answer(panel, data)) in {0, 400, 431}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"Content-Length: 9000000\r\n", 413),
        (b"Content-Length: 99999999999999999999999999\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", 413),
    ],
)
def test_oversized_bodies_are_rejected(panel, head, code):
    start = b"POST /api/config/validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + head + b"\r\n"
    piece = b"%x\r\n%s\r\n" % (1_000_000, b" " * 1_000_000)
    assert status(answer(panel, start + (piece * 9 if b"chunked" in head else b""))) == code


def test_the_panel_still_answers_afterwards(panel):
    """It responds quickly."""
    began = time.monotonic()
    received = answer(panel, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status(received) == 200
    assert time.monotonic() - began < 10
    assert "Traceback" not in panel.errors()
    for line in panel.errors().splitlines():
        json.loads(line)

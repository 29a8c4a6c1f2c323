"""A client that gets its response before its request ends can still read the response."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from starlette.types import Message

from onetrainer_gradio.api.bodies import Bodies
from onetrainer_gradio.api.header_timeout import TimedH11Protocol
from onetrainer_gradio.api.lingering_close import LingeringClose
from tests.api.raw_server import app, connected

pytestmark = pytest.mark.slow

SILENCE_S, MAX_S = 0.5, 1.2
REST = b"x" * 20_000_000  # more than the buffers of both sockets


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    served = LingeringClose(Bodies(app, max_bytes=1000), max_s=MAX_S, silence_s=SILENCE_S)
    with connected(served, TimedH11Protocol) as connection:
        yield connection


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"POST / HTTP/1.1", b"Host: x", *lines, b"", b""))


def all_of(connection: socket.socket) -> bytes:
    data = b""
    while received := connection.recv(65536):
        data += received
    return data


def test_a_client_that_sends_everything_before_it_reads_gets_the_response(connection: socket.socket) -> None:
    """Proxies do this. If the rest weren't read, sending would fail with a reset."""
    connection.sendall(head(b"Content-Length: %d" % len(REST)) + REST)
    assert all_of(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.exhaustive
def test_the_response_does_not_wait_for_the_rest(connection: socket.socket) -> None:
    connection.sendall(head(b"Content-Length: %d" % len(REST)) + REST[:500_000])
    began = time.monotonic()
    assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - began < SILENCE_S
    assert all_of(connection) is not None
    assert time.monotonic() - began < 10, "a silent client is disconnected"


def test_a_client_that_never_ends_is_disconnected(connection: socket.socket) -> None:
    began = time.monotonic()
    connection.sendall(head(b"Content-Length: 1000000000"))
    connected = True
    while connected and time.monotonic() - began < 60:
        try:
            connection.sendall(REST[:1000])
        except ConnectionError:
            connected = False
        time.sleep(0.01)
    assert MAX_S * 0.9 < time.monotonic() - began < 30


def test_nothing_is_awaited_after_a_whole_request(connection: socket.socket) -> None:
    began = time.monotonic()
    connection.sendall(head(b"Connection: close", b"Content-Length: 3") + b"abc")
    assert all_of(connection).endswith(b"ok")
    assert time.monotonic() - began < SILENCE_S


def test_data_that_never_pauses_does_not_prolong_it() -> None:
    """Python 3.11's ``asyncio.wait_for`` ignores a cancellation that comes together with a result."""

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def rounds() -> None:
        for _ in range(20):
            await asyncio.wait_for(LingeringClose(app, max_s=0.01)._discard(receive), 5)

    asyncio.run(rounds())

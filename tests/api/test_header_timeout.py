"""Request headers that never arrive don't hold a connection forever."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from onetrainer_gradio.api.header_timeout import TimedH11Protocol

LIMIT_S = 0.4


class Quick(TimedH11Protocol):
    limit_s = LIMIT_S


async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=Quick, lifespan="off", log_level="error", timeout_keep_alive=30))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    with socket.create_connection(listener.getsockname(), timeout=10) as connection:
        yield connection
    server.should_exit = True
    thread.join(10)
    listener.close()


def reply(connection: socket.socket) -> bytes:
    """Return one whole reply."""
    data = b""
    while not data.endswith(b"ok"):
        received = connection.recv(1000)
        assert received, data
        data += received
    return data


def closed_after_s(connection: socket.socket) -> float:
    began = time.monotonic()
    assert connection.recv(100) == b""
    return time.monotonic() - began


@pytest.mark.parametrize("start", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: "])
def test_a_request_that_stops_within_its_headers_is_closed(connection: socket.socket, start: bytes) -> None:
    connection.sendall(start)
    assert closed_after_s(connection) < 8


def test_headers_that_trickle_in_are_closed_too(connection: socket.socket) -> None:
    """The time runs from the first byte, not from the last one."""
    began = time.monotonic()
    with contextlib.suppress(OSError):  # reset or broken pipe: the end
        while time.monotonic() - began < 8:
            connection.sendall(b"G")
            time.sleep(LIMIT_S / 4)
    assert time.monotonic() - began < 8


def test_whole_requests_and_slow_bodies_are_answered(connection: socket.socket) -> None:
    """A body may take longer, and a connection may rest between two requests."""
    connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    time.sleep(1.5 * LIMIT_S)
    connection.sendall(b"ab")
    assert reply(connection).startswith(b"HTTP/1.1 200")
    time.sleep(1.5 * LIMIT_S)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert reply(connection).startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET / HTTP/1.1\r\nHos")
    assert closed_after_s(connection) < 8

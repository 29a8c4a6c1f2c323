"""Request headers that never arrive don't hold a connection forever."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from onetrainer_gradio.api.header_timeout import TimedH11Protocol
from tests.api.raw_server import app, connected

pytestmark = pytest.mark.slow

LIMIT_S = 0.4


class Quick(TimedH11Protocol):
    limit_s = LIMIT_S


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    with connected(app, Quick, timeout_keep_alive=30) as connection:
        yield connection


def reply(connection: socket.socket) -> bytes:
    """Return one complete response."""
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


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: "])
def test_a_request_that_stops_within_its_headers_is_closed(connection: socket.socket, start: bytes) -> None:
    connection.sendall(start)
    assert closed_after_s(connection) < 8


@pytest.mark.exhaustive
def test_headers_that_trickle_in_are_closed_too(connection: socket.socket) -> None:
    """The time limit runs from the first byte, not from the last one."""
    began = time.monotonic()
    with contextlib.suppress(OSError):  # reset or broken pipe: the end
        while time.monotonic() - began < 8:
            connection.sendall(b"G")
            time.sleep(LIMIT_S / 4)
    assert time.monotonic() - began < 8


def test_whole_requests_and_slow_bodies_are_answered(connection: socket.socket) -> None:
    """A body may take longer, and a connection may be idle between two requests."""
    connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    time.sleep(1.5 * LIMIT_S)
    connection.sendall(b"ab")
    assert reply(connection).startswith(b"HTTP/1.1 200")
    time.sleep(1.5 * LIMIT_S)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert reply(connection).startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET / HTTP/1.1\r\nHos")
    assert closed_after_s(connection) < 8

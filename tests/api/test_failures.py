"""The last handler for failing requests."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from onetrainer_gradio.api.failures import Failures
from onetrainer_gradio.server import listen

pytestmark = pytest.mark.slow


async def fails(request):
    raise ValueError("a secret detail")


async def fails_midway(request):
    async def parts():
        yield b"first"
        raise ValueError("a secret detail")

    return StreamingResponse(parts())


async def leaves(request):
    raise ClientDisconnect


async def works(request):
    return PlainTextResponse("fine")


def app() -> Starlette:
    routes = [Route(f"/{each.__name__}", each, methods=["GET", "POST"]) for each in (fails, fails_midway, leaves, works)]
    made = Starlette(routes=routes)
    made.add_middleware(Failures)
    return made


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A real server, since only that has connections."""
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app(), log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def test_a_failure_is_one_reply_in_the_usual_shape_and_one_entry_of_the_log(log_records):
    with log_records.at_level(logging.ERROR):
        reply = TestClient(app()).get("/fails")
    assert (reply.status_code, reply.json()["ok"]) == (500, False)
    assert "secret" not in reply.text
    assert [record.message for record in log_records.records] == ["GET /fails failed"]


def test_the_connection_lives_on_after_a_failure(port):
    """The next two requests on the same connection are answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    used = connection.sock
    for path, status in (("/fails", 500), ("/works", 200), ("/fails", 500), ("/works", 200)):
        connection.request("GET", path)
        reply = connection.getresponse()
        text = reply.read()
        assert reply.status == status
        assert connection.sock is used
        assert json.loads(text)["status"] == 500 if status == 500 else text == b"fine"


def test_half_a_reply_ends_with_a_closed_connection(port):
    """A client can detect that the rest is missing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/fails_midway")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()


def test_a_client_that_leaves_is_no_failure(log_records):
    with log_records.at_level(logging.ERROR), pytest.raises(AssertionError):  # the test client misses its response
        TestClient(app()).get("/leaves")
    assert not log_records.records

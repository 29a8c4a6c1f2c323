"""The limit on request bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from onetrainer_gradio.api.bodies import Bodies

pytestmark = pytest.mark.slow


async def size(request):
    return PlainTextResponse(str(len(await request.body())))


def app(**limits: Any) -> Starlette:
    made = Starlette(routes=[Route("/{path:path}", size, methods=["POST"])])
    made.add_middleware(Bodies, **limits)
    return made


def chunks(count: int) -> Iterator[bytes]:
    """Yield a body whose length is not announced."""
    for _ in range(count):
        yield b"x" * 100


@pytest.mark.parametrize("path", ["/api/x", "/gradio_api/upload", "/login"])
def test_a_body_that_is_too_large_is_rejected_on_every_path(path):
    """It is rejected with and without an announced length."""
    client = TestClient(app(max_bytes=1000))
    assert client.post(path, content=b"x" * 1000).text == "1000"
    assert client.post(path, content=chunks(10)).text == "1000"
    assert client.post(path, content=b"x" * 1001).status_code == 413
    assert client.post(path, content=chunks(11)).status_code == 413


def test_large_bodies_at_the_same_time_are_bounded_together():
    """Many clients can't fill the memory by sending a little less than the limit each; afterwards requests are accepted again."""
    limited = Bodies(Starlette(routes=[Route("/", size, methods=["POST"])]), max_bytes=1000, max_together=2500)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b"", "root_path": ""}

    async def send_slowly(gate: asyncio.Event) -> int:
        parts = [{"type": "http.request", "body": b"x" * 900, "more_body": True}]
        status = []

        async def receive():
            if parts:
                return parts.pop()
            await gate.wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            status.append(message.get("status"))

        await limited({**scope, "extensions": {}}, receive, send)
        return status[0]

    async def scenario() -> tuple[list[int], int]:
        gate = asyncio.Event()
        waiting = [asyncio.ensure_future(send_slowly(gate)) for _ in range(5)]
        await asyncio.sleep(0.05)
        gate.set()
        return await asyncio.gather(*waiting), await send_slowly(gate)

    statuses, afterwards = asyncio.run(scenario())
    assert sorted(statuses) == [200, 200, 503, 503, 503]
    assert afterwards == 200


def test_a_sender_that_falls_silent_is_given_up():
    limited = Bodies(Starlette(routes=[Route("/", size, methods=["POST"])]), silence_s=0.05)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b"", "root_path": ""}
    status = []

    async def receive():
        await asyncio.sleep(10)

    async def send(message):
        status.append(message.get("status"))

    asyncio.run(asyncio.wait_for(limited(scope, receive, send), 5))
    assert status[0] == 408

"""Serve the live feed: a WebSocket, and polling for proxies that block WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.hub import PONG, Hub, Outbox
from onetrainer_gradio.api.threads import snapshot
from onetrainer_gradio.service.people.permissions import may
from onetrainer_gradio.service.people.roles import acting

router = APIRouter(tags=["live"])

# A viewer whose connection accepts no data for this long is dropped; its browser reconnects.
SEND_TIMEOUT_S = 30.0

_MAX_CHARACTERS = 100_000  # of a message from a page


class EventsReply(BaseModel):
    """The feed since a position, or the whole state if the position is too old."""

    seq: int = Field(description="Position after these messages: the `since` of the next call.")
    messages: list[dict[str, Any]] | None = Field(None, description="Messages, oldest first.")
    snapshot: dict[str, Any] | None = Field(None, description="The whole state, like the WebSocket's `connected` message.")


@router.get("/api/events", response_model=EventsReply, response_model_exclude_none=True)
@snapshot
def events(
    service: Service, since: Annotated[int | None, Query(description="Last received `seq`. If omitted: the whole state.")] = None
) -> dict[str, Any]:
    """Poll the live feed. The WebSocket at `/ws` sends the same messages."""
    messages = None if since is None else service.feed.since(since)
    if messages is None:
        snapshot = service.feed.snapshot()
        return {"seq": snapshot["seq"], "snapshot": snapshot}
    return {"seq": messages[-1]["seq"] if messages else since, "messages": messages}


@router.websocket("/ws")
async def live(socket: WebSocket, service: Service, since: int | None = None) -> None:
    """Send the live feed: first ``connected`` with the whole state (or the messages after ``?since=``), then new messages.

    The text ``ping`` is answered with a ``pong``. A page reports fields with unsaved values by
    ``{"type": "open_edits", "fields": [{"path", "label", "value", "reason", "pending"}]}``. They count until it disconnects.
    """
    hub: Hub = socket.app.state.hub
    open_edits = service.open_edits
    page = f"socket {uuid4()}"
    await socket.accept()
    outbox, first = await hub.join(since)
    try:
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(_send(socket, hub, outbox, first))
            await _receive(socket, outbox, partial(open_edits.report, page))
            sender.cancel()
    except* (WebSocketDisconnect, TimeoutError, RuntimeError):
        # The viewer is gone or too slow. Sending on a closed connection raises RuntimeError or WebSocketDisconnect.
        if socket.client_state is WebSocketState.CONNECTED and socket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(1011)
    finally:
        hub.leave(outbox)
        open_edits.gone(page)


async def _receive(socket: WebSocket, outbox: Outbox, report: Callable[[Any], None]) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text") or ""
        if text.strip().strip('"') == "ping":
            outbox.answer(PONG)
        elif text.startswith("{") and len(text) <= _MAX_CHARACTERS:
            with contextlib.suppress(ValueError, RecursionError):  # invalid JSON is ignored
                content = json.loads(text)
                if content.get("type") == "open_edits" and may(acting(), "message open_edits"):
                    report(content.get("fields"))


async def _send(socket: WebSocket, hub: Hub, outbox: Outbox, first: list[bytes]) -> None:
    await _send_all(socket, first)
    while True:
        waiting = await outbox.take()
        if outbox.overflown:
            waiting += await hub.whole_state(outbox)
        await _send_all(socket, waiting)


async def _send_all(socket: WebSocket, texts: list[bytes]) -> None:
    for text in texts:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await socket.send_text(text.decode())

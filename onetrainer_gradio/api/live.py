"""The live feed: a WebSocket, and polling where a proxy lets no WebSocket through."""

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

from onetrainer_gradio.api.hub import PONG, Hub, Outbox
from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.threads import snapshot

router = APIRouter(tags=["live"])

# A viewer whose connection takes nothing for so long is given up; its browser connects anew.
SEND_TIMEOUT_S = 30.0

_MOST_CHARACTERS = 100_000  # of a message from a page


class EventsReply(BaseModel):
    """The feed since a position, or the whole state when that is too long ago."""

    seq: int = Field(description="Position after these messages: the ``since`` of the next call.")
    messages: list[dict[str, Any]] | None = Field(None, description="What happened, oldest first.")
    snapshot: dict[str, Any] | None = Field(None, description="The whole state, as the WebSocket's ``connected``.")


@router.get("/api/events", response_model=EventsReply, response_model_exclude_none=True)
@snapshot
def events(
    service: Service, since: Annotated[int | None, Query(description="Last seen ``seq``; left out: the whole state.")] = None
) -> dict[str, Any]:
    """The live feed by polling; the WebSocket at ``/ws`` carries the same messages."""
    messages = None if since is None else service.feed.since(since)
    if messages is None:
        snapshot = service.feed.snapshot()
        return {"seq": snapshot["seq"], "snapshot": snapshot}
    return {"seq": messages[-1]["seq"] if messages else since, "messages": messages}


@router.websocket("/ws")
async def live(socket: WebSocket, service: Service, since: int | None = None) -> None:
    """The live feed. First ``connected`` with the whole state (or, after ``?since=``, what was missed), then what happens.

    The text ``ping`` is answered with a ``pong``. A page reports fields whose value isn't in the settings by
    ``{"type": "open_edits", "fields": [{"path", "label", "value", "reason", "pending"}]}``; they count until it disconnects.
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
        # The viewer is gone or takes nothing any more; a send on its closed connection is a RuntimeError or a disconnect.
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
        elif text.startswith("{") and len(text) <= _MOST_CHARACTERS:
            with contextlib.suppress(ValueError, RecursionError):  # no JSON: clients may send what they like
                told = json.loads(text)
                if told.get("type") == "open_edits":
                    report(told.get("fields"))


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

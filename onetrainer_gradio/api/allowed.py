"""Run the app for a request that the guard allows: record it, or end it when its access ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetrainer_gradio.api.cookies import client_of
from onetrainer_gradio.api.route_table import Matched
from onetrainer_gradio.errors import BusyError, StorageError
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.people.people import People
from onetrainer_gradio.service.people.roles import Identity

log = logging.getLogger(__name__)

CLOSE_NOT_AUTHENTICATED = 4401
# Sessions also end by time, and those of the panel's password are in another store.
LOOK_S = 5.0


async def record(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, people: People, identity: Identity, matched: Matched
) -> None:
    """Run the app, then write an entry of the audit log with the status of its response."""
    status = 500

    async def watched(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    target = " ".join(matched.parameters.values())
    try:
        await app(scope, receive, watched)
    finally:
        note, address = people.audit.note, client_of(scope)
        try:
            await in_thread(Threads.CONTROL, note, identity, matched.key, target=target, address=address, status=status)
        except BusyError as error:
            log.warning("The audit log misses an entry (%s %s): %s", identity.name, matched.key, error)


async def note_use(people: People, identity: Identity) -> None:
    """Note the use of a token. If this fails, the program isn't kept out: it may be there to free the disk."""
    try:
        await in_thread(Threads.CONTROL, people.tokens.note_use, identity.via)
    except (BusyError, StorageError) as error:
        log.warning("Can't note the use of the token %s: %s", identity.via, error)


async def while_allowed(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, people: People, allowed: Callable[[], bool]
) -> None:
    """Run the app for a connection that stays open. It is closed as soon as ``allowed`` is false."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the panel is shutting down
            loop.call_soon_threadsafe(changed.set)

    leave = people.listen(wake)
    running = asyncio.ensure_future(app(scope, receive, send))
    try:
        while not running.done():
            waiting = asyncio.ensure_future(changed.wait())
            await asyncio.wait({running, waiting}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            changed.clear()
            if not running.done() and not allowed():
                await _end(running)
                if scope["type"] == "websocket":
                    with contextlib.suppress(RuntimeError):  # the client has left meanwhile
                        await send({"type": "websocket.close", "code": CLOSE_NOT_AUTHENTICATED, "reason": "access has ended"})
                return
        await running
    finally:
        leave()
        await _end(running)


async def _end(task: asyncio.Future[None]) -> None:
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

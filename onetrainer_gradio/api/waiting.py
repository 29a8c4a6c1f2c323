"""Wait for a command's answer on the feed, without blocking a thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from onetrainer_gradio.events import CommandCompleted, tag
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.trainer import TrainerService

_COMMAND_ANSWERED = tag(CommandCompleted)


class StopSignal:
    """Wakes the requests that wait when the server begins to shut down."""

    def __init__(self) -> None:
        self._wake: set[Callable[[], None]] = set()
        self._stopping = False

    def add(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when the server stops; at once if it does so already."""
        self._wake.add(wake)
        if self._stopping:
            wake()

    def discard(self, wake: Callable[[], None]) -> None:
        """Don't call ``wake`` any more."""
        self._wake.discard(wake)

    def set(self) -> None:
        """Wake everyone."""
        self._stopping = True
        for wake in tuple(self._wake):
            wake()


async def answer_within(service: TrainerService, command_id: str, wait_s: float, stopping: StopSignal) -> dict[str, Any] | None:
    """Wait up to ``wait_s``, or until the server stops, for the answer to a command. Return None if there is none yet."""
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits any more
            loop.call_soon_threadsafe(answered.set)

    def on_message(message: dict[str, Any]) -> None:
        event = message.get("event") or {}
        if event.get("command_id") == command_id and event.get("type") == _COMMAND_ANSWERED:
            wake()

    # Subscribe before the first check, so that no answer is missed.
    leave = service.feed.subscribe(on_message)
    stopping.add(wake)
    try:
        answer = await in_thread(Threads.CONTROL, service.answer, command_id)
        if answer is None and wait_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await answered.wait()
            answer = await in_thread(Threads.CONTROL, service.answer, command_id)
        return answer
    finally:
        leave()
        stopping.discard(wake)

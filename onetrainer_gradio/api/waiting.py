"""Wait for a command's answer on the feed, without blocking a thread."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from onetrainer_gradio.events import CommandCompleted, tag
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.trainer import TrainerService

_COMMAND_ANSWERED = tag(CommandCompleted)


async def answer_within(
    service: TrainerService, command_id: str, wait_s: float, stopping: asyncio.Event
) -> dict[str, Any] | None:
    """Wait up to ``wait_s``, or until the server stops, for the answer to a command. Return None if there is none yet."""
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()

    def heard(message: dict[str, Any]) -> None:
        event = message.get("event") or {}
        if event.get("command_id") == command_id and event.get("type") == _COMMAND_ANSWERED:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits any more
                loop.call_soon_threadsafe(answered.set)

    # Subscribe before the first check, so that no answer is missed.
    leave = service.feed.subscribe(heard)
    try:
        answer = await in_thread(Threads.CONTROL, service.answer, command_id)
        if answer is None and wait_s > 0:
            await _first_of(answered, stopping, wait_s)
            answer = await in_thread(Threads.CONTROL, service.answer, command_id)
        return answer
    finally:
        leave()


async def _first_of(answered: asyncio.Event, stopping: asyncio.Event, wait_s: float) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in (answered, stopping)]
    try:
        await asyncio.wait(tasks, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()

"""Kinds of calls have separate threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from onetrainer_gradio.errors import BusyError
from onetrainer_gradio.service.host.threads import Threads, in_thread


def test_calls_of_one_kind_do_not_hold_up_another():
    """If all threads for slow calls are busy and more calls wait, a command still gets a thread immediately."""
    release = threading.Event()

    async def scenario() -> str:
        slow = [asyncio.ensure_future(in_thread(Threads.SLOW, release.wait, 10)) for _ in range(3 * Threads.SLOW.at_once)]
        await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(in_thread(Threads.CONTROL, lambda: "stopped"), 1)
        finally:
            release.set()
            await asyncio.gather(*slow)

    assert asyncio.run(scenario()) == "stopped"


@pytest.mark.slow
def test_too_many_waiting_calls_are_rejected():
    """Beyond the limit a call fails immediately with an error; the others run."""
    release = threading.Event()
    most = Threads.SLOW.at_once + Threads.SLOW.max_waiting

    async def scenario() -> list[object]:
        calls = [asyncio.ensure_future(in_thread(Threads.SLOW, release.wait, 10)) for _ in range(most)]
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError, match="Too many requests"):
            await in_thread(Threads.SLOW, release.wait, 10)
        release.set()
        return await asyncio.gather(*calls)

    assert asyncio.run(scenario()) == [True] * most

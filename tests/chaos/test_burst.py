"""Bursts of every kind of request at the same time, including a stop."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from onetrainer_gradio.config.files.documents import to_document
from tests.chaos.conftest import ROUNDS
from tests.chaos.panels import REHEARSAL, end_all, ended, until
from tests.fakes.configs import small_config
from tests.panel_process import Running, wait_for
from tests.test_reserve import AT_ONCE_S, LOADS, asked, busy

pytestmark = [pytest.mark.slow, pytest.mark.timed, pytest.mark.exhaustive]


def test_burst_of_requests_with_stop(tally, tmp_path):
    """The state and the stop are answered immediately, the run ends, and the panel recovers afterwards."""
    panel = Running(tmp_path / "data", "--backend", REHEARSAL, "--demo")
    try:
        for number in range(ROUNDS):
            random = tally.round(number)
            document = to_document(small_config(tmp_path / str(number)), packed=True)
            body = {"config": document, "options": {"tags": ["hold=1"]}}
            run_id = httpx.post(panel.address + "/api/training/start", json=body, timeout=30).json()["run_id"]
            wait_for(panel.address, lambda state, run_id=run_id: state["run_id"] == run_id and state["update_step"] == 1, 30)
            requests = [text for texts in LOADS.values() for text in random.sample(texts, min(25, len(texts)))]
            random.shuffle(requests)

            async def burst(requests: list[bytes] = requests, wait_s: float = random.uniform(0, 1)) -> list[float]:
                async with busy(panel.address, requests):
                    await asyncio.sleep(wait_s)
                    took = [await asyncio.to_thread(asked, panel.address, "GET", "/api/training/status") for _ in range(3)]
                    return [*took, await asyncio.to_thread(asked, panel.address, "POST", "/api/training/stop")]

            took = asyncio.run(burst())
            # a burst of everything takes more than a second on a machine with two busy cores
            tally.check("unreachable", max(took) < 2 * AT_ONCE_S, took)
            began = time.monotonic()
            over = until(lambda: ended(httpx.get(panel.address + "/api/training/status", timeout=30).json()), 30)
            tally.check("unstopped", over, f"after {time.monotonic() - began:.0f} s")
            state = httpx.get(panel.address + "/api/training/status", timeout=30).json()
            tally.check("mislabelled", state["end_reason"] == "stopped", state["end_reason"])
    finally:
        panel.kill()
        end_all(tmp_path)

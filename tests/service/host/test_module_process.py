"""Processes that answer requests line by line, and how they end."""

from __future__ import annotations

import subprocess
import sys

from onetrainer_gradio.service.host.module_process import end_answering, exchange, kill_answering


def test_a_killed_process_has_ended_when_the_call_returns() -> None:
    """Otherwise, the next request would be sent to it and get no answer."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        kill_answering(process)
        assert process.poll() not in {None, 0}
        assert exchange(process, {"what": "load"}) is None
    finally:
        end_answering(process)

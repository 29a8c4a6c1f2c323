"""Wait for other threads and processes with a limit: a test that waits in vain fails instead of blocking the others."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], limit_s: float = 60.0, pause_s: float = 0.01) -> T:
    """Return the first true result of ``condition``.

    :raises AssertionError: if it stays false for ``limit_s`` seconds.
    """
    give_up_at = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < give_up_at, f"it did not happen within {limit_s:g} s"
        time.sleep(pause_s)
    return found


def read_until(process: subprocess.Popen[str], text: str, errors: Callable[[], str] = str, limit_s: float = 120.0) -> str:
    """Return the output of a process up to the line that contains ``text``. ``errors`` returns more about a failure.

    :raises AssertionError: if the process ends before. A process that is silent for too long is killed.
    """
    assert process.stdout is not None
    silent = threading.Timer(limit_s, process.kill)
    silent.start()
    try:
        output = ""
        while text not in output:
            line = process.stdout.readline()
            assert line, output + errors()
            output += line
        return output
    finally:
        silent.cancel()

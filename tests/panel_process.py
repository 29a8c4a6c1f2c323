"""Start the panel as a separate process with the real command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import read_until

ROOT = Path(__file__).parent.parent
REHEARSAL = "tests.fakes.rehearsal:run"


class Running:
    """The real command on a free port, with its output."""

    def __init__(self, data: Path, *words: str, **environment: str) -> None:
        line = [sys.executable, str(ROOT / "app.py"), "--port", "0", "--data", str(data), "--no-open", *words]
        # a pipe that nobody reads would block a panel that logs a lot
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        self.began = time.monotonic()
        self.startup_output = read_until(self.process, "Ctrl-C", self.errors)
        self.ready_s = time.monotonic() - self.began
        self.address = re.search(r"https?://[^\s?]+", self.startup_output)[0].rstrip("/")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, float]:
        began = time.monotonic()
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, out + self.errors(), time.monotonic() - began

    def errors(self) -> str:
        """Return what the process has written to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def kill(self) -> None:
        """Kill the process; calling it again is harmless."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._errors.close()


def wait_for(address: str, predicate: Callable[[dict[str, Any]], object], timeout_s: float = 15) -> dict[str, Any]:
    """Return the state of the panel once it satisfies the predicate."""
    give_up = time.monotonic() + timeout_s
    while True:
        state = httpx.get(address + "/api/training/status").json()
        if predicate(state):
            return state
        assert time.monotonic() < give_up, state
        time.sleep(0.05)

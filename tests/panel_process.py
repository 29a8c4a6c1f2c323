"""The panel as a process of its own, started by the real command."""

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
    """The real command on a free port, with what it says."""

    def __init__(self, data: Path, *words: str, **environment: str) -> None:
        line = [sys.executable, str(ROOT / "app.py"), "--port", "0", "--data", str(data), "--no-open", *words]
        # a pipe that nobody reads would hold up a panel that logs a lot
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
        self.said = read_until(self.process, "Ctrl-C", self.errors)
        self.ready_s = time.monotonic() - self.began
        self.address = re.search(r"https?://[^\s?]+", self.said)[0].rstrip("/")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, float]:
        began = time.monotonic()
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, out + self.errors(), time.monotonic() - began

    def errors(self) -> str:
        """What it wrote to its standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def kill(self) -> None:
        """End it whatever happens; harmless when repeated."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._errors.close()


def wait_for(address: str, predicate: Callable[[dict[str, Any]], object], timeout_s: float = 15) -> dict[str, Any]:
    """The state of the panel once it fulfills the predicate."""
    give_up = time.monotonic() + timeout_s
    while True:
        state = httpx.get(address + "/api/training/status").json()
        if predicate(state):
            return state
        assert time.monotonic() < give_up, state
        time.sleep(0.05)

"""Hand the next run to a training process that has ended its run, so that it doesn't have to load everything again.

``parked.json`` in the folder of the ended run shows that its process waits. The first process to create ``next.json`` there
decides: the panel sets the folder of the next run, or another process ends the wait. Only the supervisor reads that file. It
informs the worker through a pipe, so nothing is sent twice and a worker whose supervisor died exits.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio.service.host.atomic import read_json, write_json


@dataclass(frozen=True)
class Decision:
    """The decision about a parked process: the ``folder`` of its next run, or None if it must exit."""

    folder: Path | None


class HandOver:
    """The handover of one ended run's process."""

    def __init__(self, run_folder: Path) -> None:
        self._parked = run_folder / "parked.json"
        self._next = run_folder / "next.json"

    def park(self, seconds: float) -> None:
        """Note that the worker waits, for at most this long.

        :raises OSError: if the disk can't be written.
        """
        write_json(self._parked, {"until": time.time() + seconds}, durable=False, make_folder=False)

    def parked_until(self) -> float | None:
        """Return when the worker stops waiting, in seconds since the epoch, or None if it doesn't wait."""
        body = read_json(self._parked)
        until = body.get("until") if isinstance(body, dict) else None
        return float(until) if isinstance(until, int | float) and math.isfinite(until) else None

    def give(self, run_folder: Path) -> bool:
        """Decide that the process executes a run. Return False if another decision was made before.

        :raises OSError: if the disk can't be written.
        """
        return self._decide(str(run_folder))

    def end(self) -> bool:
        """Decide that the process exits. Return False if another decision was made before.

        :raises OSError: if the disk can't be written.
        """
        return self._decide("")

    def decision(self) -> Decision | None:
        """Return the decision, or None if there is none yet, or it is being written."""
        body = read_json(self._next)
        if not isinstance(body, dict) or not isinstance(body.get("folder"), str):
            return None
        return Decision(Path(body["folder"]) if body["folder"] else None)

    def _decide(self, folder: str) -> bool:
        try:
            descriptor = os.open(self._next, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, json.dumps({"folder": folder}).encode())
        finally:
            os.close(descriptor)
        return True

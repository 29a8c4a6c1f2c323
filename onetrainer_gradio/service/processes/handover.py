"""How a training process that has ended its run is given the next one, so that what it has loaded need not be loaded again.

``parked.json`` in the folder of the ended run says that its process waits. Whoever creates ``next.json`` there first decides what
becomes of it: the panel by naming the folder of the next run, or anyone by ending it. Only the supervisor reads that file. It
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
    """What becomes of a parked process: ``folder`` of the run that it carries out next, None when it is to end."""

    folder: Path | None


class HandOver:
    """The hand-over of one ended run's process."""

    def __init__(self, run_folder: Path) -> None:
        self._parked = run_folder / "parked.json"
        self._next = run_folder / "next.json"

    def park(self, seconds: float) -> None:
        """The worker waits from now on, for that long at most.

        :raises OSError: when the disk takes nothing.
        """
        write_json(self._parked, {"until": time.time() + seconds}, durable=False, make_folder=False)

    def parked_until(self) -> float | None:
        """When the worker gives up waiting, in seconds since the epoch; None when it does not wait."""
        body = read_json(self._parked)
        until = body.get("until") if isinstance(body, dict) else None
        return float(until) if isinstance(until, int | float) and math.isfinite(until) else None

    def give(self, run_folder: Path) -> bool:
        """Decide that the process carries out that run; False when something else was decided before.

        :raises OSError: when the disk takes nothing.
        """
        return self._decide(str(run_folder))

    def end(self) -> bool:
        """Decide that the process ends; False when something else was decided before.

        :raises OSError: when the disk takes nothing.
        """
        return self._decide("")

    def decision(self) -> Decision | None:
        """What was decided, None as long as nothing was, or it is being written."""
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

"""Notice that the folder of a run is gone: deleted, moved, replaced by another one, or vanished with its disk."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

# A folder that is renamed and renamed back isn't gone.
GONE_AFTER_S = float(os.environ.get("ONETRAINER_GRADIO_GONE_AFTER_S") or 3.0)
# A disk that fails for a while may come back, as a network drive does.
FAILS_FOR_S = 60.0
_RECORDS = ("run.json", "journal.jsonl")
_FORMER_NAMES = {
    "supervisor.json": "keeper.json",
    "supervisor_heartbeat": "keeper_heartbeat",
    "child_process.json": "companion.json",
}


def process_file(run_folder: Path, name: str) -> Path:
    """Return the file ``name`` about a process of the run; under its former name if only an earlier version wrote it."""
    path, former = run_folder / name, run_folder / _FORMER_NAMES.get(name, name)
    return former if not path.exists() and former.exists() else path


class FolderWatch:
    """Reports whether the folder that was there at first is still at its path. An open folder's number isn't used again."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._missing_since: float | None = None
        self._descriptor = -1
        self._identity: tuple[int, int] | None = None
        with contextlib.suppress(OSError):
            status = os.stat(folder)
            self._identity = status.st_dev, status.st_ino
            self._descriptor = os.open(folder, os.O_RDONLY)  # not on Windows, where an open folder can't be deleted

    def gone(self) -> bool:
        """Return whether the folder has been missing for some seconds."""
        patience_s = self._patience_s()
        if patience_s is None:
            self._missing_since = None
            return False
        now = self._clock()
        if self._missing_since is None:
            self._missing_since = now
        return now - self._missing_since >= patience_s

    def _patience_s(self) -> float | None:
        """Return how long the current state of the folder must last, or None if the folder exists."""
        try:
            status = os.stat(self._folder)
        except (FileNotFoundError, NotADirectoryError):
            return GONE_AFTER_S
        except OSError:
            return FAILS_FOR_S
        same = self._identity in (None, (status.st_dev, status.st_ino))
        return None if same and any(os.path.lexists(self._folder / name) for name in _RECORDS) else GONE_AFTER_S

    def close(self) -> None:
        """Close the folder."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

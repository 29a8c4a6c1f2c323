"""A lock on a folder that holds between processes and ends with the process that holds it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType


class FolderLock:
    """``with FolderLock(folder):`` lets one process (and one thread) at a time in: to end a run, to move into a data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._descriptor = -1

    def __enter__(self) -> FolderLock:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(self._descriptor, msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)  # releases the lock too

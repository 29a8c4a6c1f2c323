"""A lock on a folder that holds between processes and ends with the process that holds it."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import TracebackType

from onetrainer_gradio.file_lock import try_lock

# The holder of a run's lock writes a few lines. One that takes longer is frozen (SIGSTOP, a hanging disk).
WAIT_S = 10.0
_LOOK_EVERY_S = 0.02
# Something else is in the place of the lock's file. That can't be locked; the folder itself can.
_IN_ITS_PLACE = frozenset({errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EROFS, errno.ENOENT})


class FolderLock:
    """``with FolderLock(folder):`` lets one process (and one thread) at a time in: to end a run, to move into a data folder.

    :raises TimeoutError: (an OSError) if another process holds it for longer than ``wait_s``.
    """

    def __init__(self, folder: Path, wait_s: float = WAIT_S) -> None:
        self._path = folder / ".lock"
        self._wait_s = wait_s
        self._descriptor = -1

    def __enter__(self) -> FolderLock:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
        try:
            self._descriptor = os.open(self._path, flags, 0o644)
        except OSError as error:
            if error.errno not in _IN_ITS_PLACE:
                raise
            self._descriptor = os.open(self._path.parent, os.O_RDONLY)
        try:
            self._take()
        except OSError:
            os.close(self._descriptor)
            raise
        return self

    def _take(self) -> None:
        give_up_at = time.monotonic() + self._wait_s
        while not try_lock(self._descriptor):
            if time.monotonic() >= give_up_at:
                raise TimeoutError(f"{self._path} has been locked by another process for {self._wait_s:g} s")
            time.sleep(_LOOK_EVERY_S)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)  # releases the lock too

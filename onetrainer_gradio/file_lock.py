"""Lock an open file between processes: the lock ends with the last process that holds the descriptor."""

from __future__ import annotations

import sys

# Windows locks bytes for reading and writing; one far behind the content leaves the content readable.
_LOCKED_BYTE = 4096


def try_lock(descriptor: int) -> bool:
    """Return whether the lock was taken; False if another open file holds it.

    The lock belongs to the open file, so a child that inherits the descriptor holds it too.

    :raises OSError: if the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt
        import os

        try:
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True

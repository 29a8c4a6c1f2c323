"""Turns of tests where several processes share them (``pytest -n 2``): a test that is held to a time by the clock runs alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: the clock is read with a neighbour then
    fcntl = None

# Files that are there anyway, each with a lock. Who waits for the room alone keeps the door shut
# for those who come later.
DOOR, ROOM = Path(__file__).with_name("conftest.py"), Path(__file__)


def turn(alone: bool):
    """A test's turn: beside others, or when the last of them has ended and until it has ended itself."""
    return _turn(alone) if fcntl else nullcontext()


@contextmanager
def _turn(alone: bool) -> Iterator[None]:
    with ROOM.open() as room:
        with DOOR.open() as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)  # closing is not enough: a process that was forked meanwhile has the file open too
        yield
        fcntl.flock(room, fcntl.LOCK_UN)

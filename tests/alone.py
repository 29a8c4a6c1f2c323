"""Let tests that are held to a time limit run alone when several processes test at once (``pytest -n 2``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: the clock is read while other tests run then
    fcntl = None

# Files that exist anyway, each with a lock. A test that waits to run alone holds the second one,
# so that later tests wait behind it.
DOOR, ROOM = Path(__file__).with_name("conftest.py"), Path(__file__)


def turn(alone: bool):
    """Hold a test's turn: together with other tests, or alone after they have ended."""
    return _turn(alone) if fcntl else nullcontext()


@contextmanager
def _turn(alone: bool) -> Iterator[None]:
    with ROOM.open() as room:
        with DOOR.open() as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)  # closing is not enough: a process forked in the meantime has the file open too
        yield
        fcntl.flock(room, fcntl.LOCK_UN)

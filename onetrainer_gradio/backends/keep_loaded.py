"""Keep a backend loaded between two runs of the same process, because loading it again takes long."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Protocol


class LoadedBackend(Protocol):
    """A backend that can stay loaded."""

    def usable(self) -> bool:
        """Return whether it can still execute a run."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class KeepLoaded:
    """A place for one loaded backend, with a fingerprint of its source. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[object, LoadedBackend] | None = None

    def keep(self, mark: object, thing: LoadedBackend) -> None:
        """Keep it, and close the previous one."""
        self._put((mark, thing))

    def take(self, mark: object) -> LoadedBackend | None:
        """Return the loaded backend if its fingerprint matches and it is usable; otherwise close it."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is None:
            return None
        if kept[0] == mark and kept[1].usable():
            return kept[1]
        kept[1].close()
        return None

    def holds(self) -> bool:
        """Return whether there is a usable backend."""
        with self._lock:
            return self._kept is not None and self._kept[1].usable()

    def close(self) -> None:
        """Close the loaded backend."""
        self._put(None)

    def _put(self, kept: tuple[object, LoadedBackend] | None) -> None:
        with self._lock:
            before, self._kept = self._kept, kept
        if before is not None:
            before[1].close()


KEEP_LOADED: ContextVar[KeepLoaded | None] = ContextVar("KEEP_LOADED", default=None)
"""The place where the backend of the current run may keep what it loaded; None means that nothing stays loaded."""

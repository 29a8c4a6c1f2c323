"""What a backend keeps loaded between two runs of the same process, because loading it again takes long."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Protocol


class LoadedBackend(Protocol):
    """Something that can stay loaded."""

    def usable(self) -> bool:
        """Whether it still can carry out a run."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class KeepLoaded:
    """One place for one thing that stays loaded, with the mark of what it was loaded from. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[object, LoadedBackend] | None = None

    def keep(self, mark: object, thing: LoadedBackend) -> None:
        """Keep it; what was there is closed."""
        self._put((mark, thing))

    def take(self, mark: object) -> LoadedBackend | None:
        """What is there, if it was loaded from just that and can be used; anything else that is there is closed."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is None:
            return None
        if kept[0] == mark and kept[1].usable():
            return kept[1]
        kept[1].close()
        return None

    def holds(self) -> bool:
        """Whether something is there that can be used."""
        with self._lock:
            return self._kept is not None and self._kept[1].usable()

    def close(self) -> None:
        """Close what is there."""
        self._put(None)

    def _put(self, kept: tuple[object, LoadedBackend] | None) -> None:
        with self._lock:
            before, self._kept = self._kept, kept
        if before is not None:
            before[1].close()


KEEP_LOADED: ContextVar[KeepLoaded | None] = ContextVar("KEEP_LOADED", default=None)
"""Where the backend of the run that is being carried out may keep what it loaded; None means that nothing is to stay."""

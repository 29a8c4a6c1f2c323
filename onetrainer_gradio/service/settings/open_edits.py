"""What fields of open pages hold that is not in the settings: refused values, and edits on their way to the server.

A start with the settings being edited would run with the old value of such a field, so it is refused while one holds a value that
can't be used. A page reports what it holds; it is forgotten with the page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onetrainer_gradio.errors import ConfigInvalidError, Finding

_MOST_PAGES = 500
_MOST_EDITS = 50
_MOST_CHARACTERS = 200
_WAIT_S = 2.0  # for edits on their way


@dataclass(frozen=True)
class OpenEdit:
    """A field of an open page: path, label and value of its setting, why that can't be used, or that it is on its way."""

    path: str
    label: str
    value: str
    reason: str = ""
    pending: bool = False

    def finding(self) -> Finding:
        """The field as something to correct before a start."""
        reason = f": {self.reason.rstrip('.')}" if self.reason else ""
        return Finding(
            "error",
            self.path,
            f"{self.label or self.path} is “{self.value}” on an open page, which can't be used{reason}",
            self.value,
            suggestion="Correct the field, or close the page that holds it.",
        )


class OpenEdits:
    """The open edits of each page. Safe from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._pages: dict[str, tuple[tuple[OpenEdit, ...], float | None]] = {}

    def report(self, page: str, edits: Any, *, for_s: float | None = None) -> None:
        """Take what a page holds now; it counts until the page is gone, or for so many seconds."""
        found = tuple(_read(edits))
        with self._changed:
            self._pages.pop(page, None)
            if found:
                self._pages[page] = (found, None if for_s is None else self._clock() + for_s)
            while len(self._pages) > _MOST_PAGES:
                self._pages.pop(next(iter(self._pages)))
            self._changed.notify_all()

    def gone(self, page: str) -> None:
        """A page was closed."""
        self.report(page, ())

    def refuse(self, wait_s: float = _WAIT_S) -> None:
        """Wait a moment for edits on their way, and refuse what can't be used.

        :raises ConfigInvalidError: with a finding for each field whose value can't be used.
        """
        with self._changed:
            self._changed.wait_for(lambda: not any(edit.pending for edit in self._now()), wait_s)
            bad = {edit.path: edit.finding() for edit in self._now() if not edit.pending}
        if bad:
            raise ConfigInvalidError(list(bad.values()))

    def _now(self) -> list[OpenEdit]:
        now = self._clock()
        self._pages = {page: kept for page, kept in self._pages.items() if kept[1] is None or kept[1] > now}
        return [edit for edits, _ in self._pages.values() for edit in edits]


def _read(edits: Any) -> Iterable[OpenEdit]:
    for edit in edits[:_MOST_EDITS] if isinstance(edits, (list, tuple)) else ():
        if isinstance(edit, Mapping) and isinstance(edit.get("path"), str):
            texts = {name: str(edit.get(name) or "")[:_MOST_CHARACTERS] for name in ("path", "label", "value", "reason")}
            yield OpenEdit(**texts, pending=edit.get("pending") is True)

"""Track fields of open pages that differ from the settings: rejected values, and edits that are being sent.

A start with the current settings would use the previous value of such a field, so it is rejected while one has an invalid
value. A page reports its edits; they are removed with the page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onetrainer_gradio.errors import ConfigInvalidError, Finding

_MAX_PAGES = 500
_MAX_EDITS = 50
_MAX_CHARACTERS = 200
_WAIT_S = 2.0  # for edits on their way


@dataclass(frozen=True)
class OpenEdit:
    """A field of an open page: path, label and value of its setting, why it is invalid, or that it is being sent."""

    path: str
    label: str
    value: str
    reason: str = ""
    pending: bool = False

    def finding(self) -> Finding:
        """Return the field as a finding."""
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
        """Store the edits of a page; they are valid until the page is closed, or for this many seconds."""
        found = tuple(_read(edits))
        with self._changed:
            self._pages.pop(page, None)
            if found:
                self._pages[page] = (found, None if for_s is None else self._clock() + for_s)
            while len(self._pages) > _MAX_PAGES:
                self._pages.pop(next(iter(self._pages)))
            self._changed.notify_all()

    def gone(self, page: str) -> None:
        """Remove the edits of a closed page."""
        self.report(page, ())

    def refuse(self, wait_s: float = _WAIT_S) -> None:
        """Wait briefly for edits that are being sent, and raise an error for invalid ones.

        :raises ConfigInvalidError: with a finding for each field with an invalid value.
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
    for edit in edits[:_MAX_EDITS] if isinstance(edits, (list, tuple)) else ():
        if isinstance(edit, Mapping) and isinstance(edit.get("path"), str):
            texts = {name: str(edit.get(name) or "")[:_MAX_CHARACTERS] for name in ("path", "label", "value", "reason")}
            yield OpenEdit(**texts, pending=edit.get("pending") is True)

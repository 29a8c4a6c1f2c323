"""Forward OneTrainer's output, with only the last state of a progress bar."""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
import time
from collections.abc import Callable

BAR = re.compile(r"^(?P<name>[^|]*?):?\s*\d+%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+)\s*\[")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
RAISED = re.compile(r"^[\w.]*(Error|Exception|NotFound)\w*: (?!not an? )")
# OneTrainer prints a handful when it cannot load a model, the telling ones first.
RAISED_KEPT = 16
BAR_EVERY_S = 10.0


class Console(io.TextIOBase):
    """A replacement for standard output and error that survives a dead parent and a full disk, and shortens progress bars."""

    def __init__(self, descriptor: int, on_bar: Callable[[str, int, int], None] = lambda name, done, total: None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lock = threading.RLock()
        self._pending = ""
        self._bar = ""
        self._bar_at = -BAR_EVERY_S
        self._bar_written = True
        self.on_bar = on_bar
        self.raised: list[str] = []
        """Collect printed errors, oldest first, because some of OneTrainer's exceptions name no cause."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Return the encoding, which libraries check before they draw."""
        return "utf-8"

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        with self._lock:
            self._pending += ESCAPES.sub("", text)
            *whole, self._pending = re.split(r"[\r\n]", self._pending)
            for segment in whole:
                self._segment(segment)
            if BAR.match(self._pending):
                self._draw(self._pending)
        return len(text)

    def flush(self) -> None:
        return

    def continue_in(self, descriptor: int | None) -> None:
        """Switch to another log, also for output of native code."""
        if descriptor is not None:
            os.dup2(descriptor, self._descriptor)

    def settle(self) -> None:
        """Write incomplete lines."""
        with self._lock:
            pending, self._pending = self._pending, ""
            self._segment(pending)
            self._finish_bar()

    def _segment(self, text: str) -> None:
        if not text.strip():
            return
        if BAR.match(text):
            self._draw(text)
            return
        self._finish_bar()
        self._put(text)

    def _draw(self, text: str) -> None:
        found = BAR.match(text)
        if found is None or text == self._bar:
            return
        name, done, total = found["name"].strip(), int(found["done"]), int(found["total"])
        self._bar, self._bar_written = text, False
        if done >= total or time.monotonic() - self._bar_at >= BAR_EVERY_S:
            self._finish_bar()
        self.on_bar(name, done, total)

    def _finish_bar(self) -> None:
        if self._bar and not self._bar_written:
            self._bar_written = True
            self._bar_at = time.monotonic()
            self._put(self._bar.rstrip())

    def _put(self, line: str) -> None:
        if RAISED.match(line):
            printed_text = line.partition(": ")[2][:200]
            if printed_text not in self.raised:
                self.raised = [*self.raised, printed_text][-RAISED_KEPT:]
        with contextlib.suppress(OSError):
            os.write(self._descriptor, (line + "\n").encode("utf-8", "replace"))

"""Send JSON lines to the parent, and read them."""

from __future__ import annotations

import enum
import json
import os
import threading
import time
from typing import Any


class Wire:
    """The JSON lines to the parent; they are dropped if the parent is dead."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")
        self._lock = threading.Lock()
        self.broken = False

    def send(self, kind: str, /, **values: Any) -> None:
        """Send one line."""
        text = json.dumps({"type": kind, **values}, ensure_ascii=True, default=str)
        with self._lock:
            if self.broken:
                return
            try:
                self._file.write(text + "\n")
                self._file.flush()
            except (OSError, ValueError):
                self.broken = True

    def event(self, kind: str, /, **values: Any) -> None:
        """Send one event with its time."""
        self.send(kind, at=time.time(), **values)


def document_in(line: str) -> Any:
    """Return the JSON document of a line, or None."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def plain_document(value: Any) -> Any:
    """Return a configuration as JSON."""
    if isinstance(value, dict):
        return {str(key): plain_document(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_document(item) for item in value]
    return str(value) if isinstance(value, enum.Enum) else value

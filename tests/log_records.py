"""What a test logs. Pytest's ``caplog`` isn't used: its plugin visits every logger of torch six times in each test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class LogRecords(logging.Handler):
    """Keep the records that reach the root logger."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        record.message = record.getMessage()
        self.records.append(record)

    @property
    def text(self) -> str:
        """All records with their tracebacks."""
        return "\n".join(map(self.format, self.records))

    @contextmanager
    def at_level(self, level: int) -> Iterator[None]:
        """Log from this level on."""
        root = logging.getLogger()
        before = root.level
        root.setLevel(level)
        try:
            yield
        finally:
            root.setLevel(before)


@contextmanager
def recorded_log() -> Iterator[LogRecords]:
    """Attach it to the root logger, which has its level again afterwards."""
    root, found = logging.getLogger(), LogRecords()
    root.addHandler(found)
    try:
        with found.at_level(root.level):
            yield found
    finally:
        root.removeHandler(found)

"""Configure the log of a process: lines of text, or one JSON object per line."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from onetrainer_gradio.service.host.redaction import redacted

REQUEST_ID: ContextVar[str] = ContextVar("onetrainer_gradio_request_id", default="")
"""ID of the request that this task or thread works for; empty outside of requests."""

TEXT_FORMAT = "%(levelname)s %(name)s: %(message)s"
# Attributes of a record that a caller set with ``extra=`` and that the JSON object repeats.
_FIELDS = ("method", "path", "route", "status", "duration_ms", "client", "run_id")


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON object in one line, without secrets.

    Keys: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, ``request_id`` if there is one, ``exception``
    (traceback) if there is one, and for requests ``method``, ``path``, ``route``, ``status``, ``duration_ms``, ``client``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a line break."""
        body: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        if request_id := REQUEST_ID.get():
            body["request_id"] = request_id
        body |= {name: _plain(record.__dict__[name]) for name in _FIELDS if name in record.__dict__}
        if record.exc_info:
            body["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(body, ensure_ascii=False)


def _plain(value: Any) -> str | int | float | None:
    return value if isinstance(value, int | float | None) else redacted(str(value))


def configure_log(level: str, log_format: str = "text") -> None:
    """Send the log of this process to the standard error, as ``text`` or ``json``."""
    logging.basicConfig(level=level.upper(), format=TEXT_FORMAT)
    if log_format == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())

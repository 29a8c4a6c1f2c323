"""Provide the console log of the running run to backends that start a process."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TextIO

CONSOLE: ContextVar[TextIO | None] = ContextVar("CONSOLE", default=None)
"""None means the error output of this process, which is already the log if the process belongs to the run."""

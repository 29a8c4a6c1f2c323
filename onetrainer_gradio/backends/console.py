"""Where a run's console output goes, for backends that start a process: the log of the run whose body is being carried out."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TextIO

CONSOLE: ContextVar[TextIO | None] = ContextVar("CONSOLE", default=None)
"""None means the error output of this process, which is the log already where the process is the run's own."""

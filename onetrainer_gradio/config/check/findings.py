"""How a check says what it found: one call per severity, each with a code of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.config.check.codes import CODES
from onetrainer_gradio.errors import Finding


def found(
    code: str,
    path: str,
    message: str,
    *,
    expected: str,
    suggestion: str,
    value: Any = None,
    fix: Mapping[str, Any] | None = None,
    severity: str = "",
) -> Finding:
    """A finding of the catalogue; its severity is the code's unless another is given.

    :raises KeyError: when the catalogue has no such code.
    """
    return Finding(severity or CODES[code].severity, path, message, value, expected, suggestion, code, dict(fix or {}))

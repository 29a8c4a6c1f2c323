"""Create findings with a code of the catalog."""

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
    """Return a finding with a code of the catalog. Its severity is that of the code, unless another is given.

    :raises KeyError: if the catalog has no such code.
    """
    return Finding(severity or CODES[code].severity, path, message, value, expected, suggestion, code, dict(fix or {}))

"""Suggest the known name that was probably meant by an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# The comparison costs the product of the lengths, and no one mistypes a name of a thousand characters.
_MAX_CHARACTERS = 120


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the known name nearest to ``name``; empty if none is near, or the name is too long to compare."""
    found = difflib.get_close_matches(name, known, n=1) if len(name) <= _MAX_CHARACTERS else []
    return found[0] if found else ""

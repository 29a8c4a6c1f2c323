"""Recognize integers in user input."""

from __future__ import annotations

_MAX_DIGITS = 18


def is_whole(text: str) -> bool:
    """Return whether a text is an integer in ASCII digits that ``int`` accepts.

    ``str.isdigit`` is true of ``²``, which ``int`` rejects, and of texts with more digits than ``int`` accepts.
    """
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS

"""Whole numbers in texts that a user wrote."""

from __future__ import annotations

_MOST_DIGITS = 18


def is_whole(text: str) -> bool:
    """Whether a text is a whole number in ASCII digits that ``int`` reads without complaint.

    ``str.isdigit`` is true of ``²``, which ``int`` refuses, and of texts of more digits than ``int`` accepts.
    """
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS

"""Reads text files of captions, tags and prompts: the encoding is detected, and only line ends separate lines."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

UTF_8 = "utf-8"
MOST_BYTES = 64 * 1024 * 1024
"""A larger file is no caption file."""

_LINE_END = re.compile(r"\r\n|\n|\r")
# the marks of UTF-32 begin with those of UTF-16
_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: UTF_8,
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# encodings without a mark, by the places at which the zero bytes of plain letters are
_ZEROS: Mapping[str, tuple[int, frozenset[int]]] = {
    "utf-32-le": (4, frozenset({1, 2, 3})),
    "utf-32-be": (4, frozenset({0, 1, 2})),
    "utf-16-le": (2, frozenset({1})),
    "utf-16-be": (2, frozenset({0})),
}
# in a text of western Europe, fewer letters than this share have accents
_MOST_ACCENTS = 0.34
_WESTERN = frozenset("€‚ƒ„…†‡ˆ‰‹‘’“”•–—˜™›¡¢£§©ª«®°±²³´µ¶·¹º»¼½¾¿×÷\xa0")


class UnreadableTextError(ValueError):
    """A file is no text, or its encoding can't be recognized."""


class Text(NamedTuple):
    """The content of a text file and the encoding that it was read in."""

    content: str
    encoding: str = UTF_8

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that aren't empty, without the blanks around them."""
        return tuple(line.strip() for line in split_lines(self.content) if line.strip())


def split_lines(text: str) -> list[str]:
    r"""Split at ``\n``, ``\r\n`` and ``\r``, and at nothing else that Unicode calls a line break."""
    return _LINE_END.split(text)


def read_text(path: Path) -> Text:
    """Read a text file in the encoding that it is in.

    :raises OSError: when it can't be read.
    :raises UnreadableTextError: when it is no text.
    """
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UnreadableTextError(f"it is larger than {MOST_BYTES // 2**20} MB")
    return decode_text(data)


def decode_text(data: bytes) -> Text:
    """Decode UTF-8, else what a byte order mark, zero bytes or the frequency of letters say.

    :raises UnreadableTextError: when it is no text.
    """
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return _text(_decoded(data[len(mark) :], encoding), encoding)
    plain = _decoded(data, UTF_8)
    if plain is not None and "\0" not in plain:
        return Text(plain)
    if b"\0" in data:
        for encoding, (width, places) in _ZEROS.items():
            if _has_zeros(data, width, places) and _is_clean(text := _decoded(data, encoding)):
                return _text(text, encoding)
        raise UnreadableTextError("it contains zero bytes, so it is no text")
    if _is_western(western := _decoded(data, "cp1252")):
        return _text(western, "windows-1252")
    return _guessed(data)


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _text(content: str | None, encoding: str) -> Text:
    if content is None or "\0" in content:
        raise UnreadableTextError(f"it begins like {encoding.upper()}, and is not")
    return Text(content, encoding)


def _has_zeros(data: bytes, width: int, places: frozenset[int]) -> bool:
    """Whether most zero bytes are where letters of this width have them, and none elsewhere."""
    if len(data) % width:
        return False
    zeros = [data[place::width].count(0) for place in range(width)]
    units = len(data) // width
    inside = all(zeros[place] * 2 > units for place in places)
    return inside and not any(zeros[place] for place in range(width) if place not in places)


def _is_clean(text: str | None) -> bool:
    return text is not None and not any(
        unicodedata.category(letter) in ("Cc", "Cn", "Co") and letter not in "\t\n\r" for letter in text
    )


def _is_western(text: str | None) -> bool:
    """Whether a text of one byte per letter reads like one of western Europe: some accents and typographic marks, no more."""
    if text is None or not _is_clean(text):
        return False
    foreign = [letter for letter in text if letter > "\x7f"]
    accents = [letter for letter in foreign if letter.isalpha()]
    letters = sum(letter.isalpha() for letter in text)
    known = all(letter in _WESTERN or letter in "ŠšŽžŸŒœ" or "À" <= letter <= "ÿ" for letter in foreign)
    return known and len(accents) <= max(1, letters * _MOST_ACCENTS)


def _guessed(data: bytes) -> Text:
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    if best is None:
        raise UnreadableTextError("its encoding can't be recognized")
    return _text(str(best), best.encoding.replace("_", "-"))

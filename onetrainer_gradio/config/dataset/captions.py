"""Read text files of captions, tags and prompts: detect the encoding, and split lines only at line ends."""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

UTF_8 = "utf-8"
MAX_BYTES = 64 * 1024 * 1024
"""A larger file isn't a caption file."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_MARK = "\ufeff"
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
_MAX_ACCENTS = 0.34
# control characters that occur in texts: what Unicode calls line breaks and separators
_SEPARATORS = frozenset("\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85")
_PRINTABLE = frozenset(b"\t\n\r") | frozenset(range(0x20, 0x7F))
_PLAIN = bytes(sorted(_PRINTABLE))
_CONTROLS = bytes(byte for byte in range(0x80) if byte not in _PRINTABLE and chr(byte) not in _SEPARATORS)
# encodings whose texts are recognized before, or that no caption is in; short texts look like them by chance
_NEVER_GUESSED = [
    *("utf_7", "utf_8", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"),
    *("cp037", "cp273", "cp424", "cp500", "cp875", "cp1026", "cp1140"),
]
_WESTERN = frozenset("€‚ƒ„…†‡ˆ‰‹‘’“”•–—˜™›¡¢£§©ª«®°±²³´µ¶·¹º»¼½¾¿×÷\xa0")


class UnreadableTextError(ValueError):
    """A file isn't text, or its encoding can't be recognized."""


class Text(NamedTuple):
    """The content of a text file and the encoding that it was read in."""

    content: str
    encoding: str = UTF_8

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the nonempty lines, without surrounding whitespace and byte order marks of joined files."""
        bare = (line.strip().strip(_MARK).strip() for line in split_lines(self.content))
        return tuple(line for line in bare if line)


def split_lines(text: str) -> list[str]:
    r"""Split at ``\n``, ``\r\n`` and ``\r``, and at nothing else that Unicode calls a line break."""
    return _LINE_END.split(text)


def read_text(path: Path) -> Text:
    """Read a text file in the encoding that it is in.

    :raises OSError: when it can't be read.
    :raises UnreadableTextError: when it is no text.
    """
    with open(path, "rb", buffering=0) as file:
        data = file.read(min(os.fstat(file.fileno()).st_size, MAX_BYTES) + 1) or b""
    if len(data) > MAX_BYTES:
        raise UnreadableTextError(f"it is larger than {MAX_BYTES // 2**20} MB")
    return decode_text(data)


def decode_text(data: bytes) -> Text:
    """Decode UTF-8, or the encoding that a byte order mark, zero bytes or letter frequencies indicate.

    :raises UnreadableTextError: when it is no text.
    """
    if data.isascii() and not data.translate(None, _PLAIN):
        return Text(data.decode("ascii"))
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return _text(_decoded(data[len(mark) :], encoding), encoding)
    plain = _decoded(data, UTF_8)
    if (wide := _wide(data, is_utf_8=plain is not None)) is not None:
        return wide
    if b"\0" in data:
        raise UnreadableTextError("it contains zero bytes, so it isn't text")
    if plain is not None:
        return Text(plain)
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
        raise UnreadableTextError(f"it begins like {encoding.upper()} but isn't")
    return Text(content, encoding)


def _wide(data: bytes, *, is_utf_8: bool) -> Text | None:
    """Decode a text with two or four bytes per letter without a byte order mark, or return None."""
    controls = len(data) - len(data.translate(None, _CONTROLS))
    # half of the bytes of a text in Cyrillic or Greek are control characters, and some in most others
    if b"\0" not in data and (4 * controls <= len(data) if is_utf_8 else not controls):
        return None
    for encoding, (width, places) in _ZEROS.items():
        if _has_zeros(data, width, places) and _is_clean(text := _decoded(data, encoding)):
            return _text(text, encoding)
    if _PRINTABLE.issuperset(data.replace(b"\0", b"")):
        return None  # ASCII letters and zero bytes in between
    for encoding in ("utf-32-le", "utf-32-be"):
        if _is_clean(text := _decoded(data, encoding)):
            return _text(text, encoding)
    read = {encoding: text for encoding in ("utf-16-le", "utf-16-be") if _is_clean(text := _decoded(data, encoding))}
    # read in the wrong order, blanks and plain letters are rare signs, and the letters of one script those of many
    likely = max(read, key=lambda encoding: _likeliness(read[encoding] or ""), default=None)
    return None if likely is None else _text(read[likely], likely)


def _likeliness(text: str) -> tuple[int, int]:
    return sum(letter < "\x80" for letter in text), -len({ord(letter) >> 8 for letter in text})


def _has_zeros(data: bytes, width: int, places: frozenset[int]) -> bool:
    """Return whether most zero bytes are where letters of this width have them, and none elsewhere."""
    if len(data) % width:
        return False
    zeros = [data[place::width].count(0) for place in range(width)]
    units = len(data) // width
    inside = all(zeros[place] * 2 > units for place in places)
    return inside and not any(zeros[place] for place in range(width) if place not in places)


def _is_clean(text: str | None) -> bool:
    return text is not None and not any(
        unicodedata.category(letter) in ("Cc", "Cn", "Co") and letter not in _SEPARATORS for letter in text
    )


def _is_western(text: str | None) -> bool:
    """Return whether a text with one byte per letter looks Western European: only some accents and typographic marks."""
    if text is None or not _is_clean(text):
        return False
    foreign = [letter for letter in text if letter > "\x7f"]
    accents = [letter for letter in foreign if letter.isalpha()]
    letters = sum(letter.isalpha() for letter in text)
    known = all(letter in _WESTERN or letter in "ŠšŽžŸŒœ" or "À" <= letter <= "ÿ" for letter in foreign)
    return known and len(accents) <= max(1, letters * _MAX_ACCENTS)


def _guessed(data: bytes) -> Text:
    from charset_normalizer import from_bytes

    best = from_bytes(data, cp_exclusion=_NEVER_GUESSED).best()
    if best is None:
        raise UnreadableTextError("its encoding can't be recognized")
    return _text(str(best), best.encoding.replace("_", "-"))

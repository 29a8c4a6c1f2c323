"""Read the size of plain PNG and JPEG files without Pillow, which takes several times as long.

Only files are read here that Pillow would open without an error, whose orientation is upright, and that aren't truncated.
Anything else, such as EXIF data, color profiles and rare formats, is left to ``images``.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

Size = tuple[int, int]

_HEAD_BYTES = 4096
_TAIL_BYTES = 512
_MAX_PIXELS = 16_000_000
_MAX_SEGMENTS = 1000
_MAX_CHUNK_BYTES = 64 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Color type of a PNG -> bits of a channel."""
_LENGTHS = {b"sRGB": 1, b"gAMA": 4, b"pHYs": 9, b"cHRM": 32, b"tIME": 7}
_METADATA = (b"XML:com.adobe.xmp", b"Raw profile type exif")
# segments of a JPEG that say nothing about orientation or further images: JFIF, tables, comments, Adobe
_PASSED = frozenset({0xE0, 0xC4, 0xDD, 0xFE, 0xEE})
_TABLES, _SCAN, _PROFILE = 0xDB, 0xDA, 0xE2
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})


def plain_size(path: str | Path, file_bytes: int) -> Size | None:
    """Return height and width of a plain PNG or JPEG of ``file_bytes`` bytes, or None if Pillow must decide.

    :raises OSError: if the file can't be read.
    """
    with open(path, "rb", buffering=0) as file:
        head = file.read(_HEAD_BYTES) or b""
        if head.startswith(_PNG):
            size = _png(file, head, file_bytes)
        elif head.startswith(b"\xff\xd8\xff"):
            size = _jpeg(file, head, file_bytes)
        else:
            return None
    return size if size is not None and 0 < size[0] * size[1] <= _MAX_PIXELS else None


def _at(file: BinaryIO, head: bytes, place: int, length: int) -> bytes:
    if place + length <= len(head):
        return head[place : place + length]
    file.seek(place)
    return file.read(length) or b""


def _png(file: BinaryIO, head: bytes, file_bytes: int) -> Size | None:
    size, pixels, place = None, False, len(_PNG)
    for _ in range(_MAX_SEGMENTS):
        start = _at(file, head, place, 8)
        if len(start) < 8:
            return None
        length, kind = struct.unpack(">I4s", start)
        end = place + length + 12
        if end > file_bytes:
            return None
        if kind == b"IEND":
            return size if pixels else None
        if kind == b"IDAT":
            pixels = True
        else:
            if pixels or length > _MAX_CHUNK_BYTES:
                return None
            content = _at(file, head, place + 4, length + 8)
            if len(content) < length + 8 or zlib.crc32(content[:-4]) != int.from_bytes(content[-4:]):
                return None
            if (place == len(_PNG)) != (kind == b"IHDR"):
                return None
            if kind == b"IHDR":
                size = _png_size(content[4:-4])
                if size is None:
                    return None
            elif not _is_harmless(kind, content[4:-4]):
                return None
        place = end
    return None


def _png_size(header: bytes) -> Size | None:
    if len(header) != 13:
        return None
    width, height, depth, color, compression, filtering, interlaced = struct.unpack(">IIBBBBB", header)
    known = depth in _DEPTHS.get(color, ()) and not compression and not filtering and interlaced in (0, 1)
    return (height, width) if known else None


def _is_harmless(kind: bytes, content: bytes) -> bool:
    """Return whether a chunk has no effect on size and orientation, and Pillow reads it without an error."""
    if kind == b"tEXt":
        return b"\0" in content and not content.startswith(_METADATA)
    return len(content) == _LENGTHS.get(kind, -1)


def _jpeg(file: BinaryIO, head: bytes, file_bytes: int) -> Size | None:
    size, place = None, 2
    for _ in range(_MAX_SEGMENTS):
        start = _at(file, head, place, 4)
        if len(start) < 4 or start[0] != 0xFF:
            return None
        kind, length = start[1], int.from_bytes(start[2:])
        if length < 2 or place + 2 + length > file_bytes:
            return None
        if kind == _SCAN:
            file.seek(max(0, file_bytes - _TAIL_BYTES))
            return size if b"\xff\xd9" in (file.read(_TAIL_BYTES) or b"") else None
        if kind in _FRAMES:
            frame = _at(file, head, place + 4, 6)
            if size is not None or len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3) or length != 8 + 3 * frame[5]:
                return None
            size = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
        elif kind == _TABLES:
            tables = _at(file, head, place + 4, length - 2)
            if (length - 2) % 65 or any(number >= 16 for number in tables[::65]):  # 8 bits, 64 values each
                return None
        elif kind == _PROFILE:
            if _at(file, head, place + 4, 12) != b"ICC_PROFILE\0":
                return None
        elif kind not in _PASSED:
            return None
        place += 2 + length
    return None

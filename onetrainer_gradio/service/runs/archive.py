"""Stream zip archives without compression or temporary files, with little memory regardless of the size."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20

Member = tuple[Path, str]
"""A file, and its name in the archive."""


def folder_members(folder: Path, name: str) -> Iterator[Member]:
    """Yield the files of a folder in order, named below ``name``. Links are not followed: they may lead out of it."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for each in sorted(names):
            path = Path(parent, each)
            if path.is_file() and not path.is_symlink():
                yield path, f"{name}/{path.relative_to(folder).as_posix()}"


def unique(members: Iterable[Member]) -> Iterator[Member]:
    """Yield the members with names that occur once: a second one of a name gets a number, whatever the case of its letters."""
    taken: set[str] = set()
    for path, name in members:
        stem, dot, suffix = name.rpartition(".")
        if not dot or "/" in suffix:
            stem, dot, suffix = name, "", ""
        free, number = name, 1
        while free.casefold() in taken:
            number += 1
            free = f"{stem}-{number}{dot}{suffix}"
        taken.add(free.casefold())
        yield path, free


def zip_chunks(members: Iterable[Member]) -> Iterator[bytes]:
    """Yield a zip of the members, stored without compression. One that is deleted before it is read is omitted."""
    return filter(None, _zipped(members))


def _zipped(members: Iterable[Member]) -> Iterator[bytes]:
    out = _Outlet()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path, name in members:
            try:
                source = path.open("rb")
            except OSError:
                continue
            with source:
                info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                with archive.open(info, "w", force_zip64=True) as target:
                    while data := source.read(_CHUNK_BYTES):
                        target.write(data)
                        yield out.taken()
            yield out.taken()
    yield out.taken()


class _Outlet(io.RawIOBase):
    """A write-only file whose content is consumed piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data

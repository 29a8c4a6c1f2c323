"""Read zip archives of images with limits, so that a hostile one can't fill the memory or the disk, or write elsewhere."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onetrainer_gradio.errors import ConfigValueError, DatasetError, DiskFullError
from onetrainer_gradio.service.datasets.file_names import is_hidden, safe_path
from onetrainer_gradio.service.datasets.incoming import is_accepted

_END, _END_BYTES = b"PK\x05\x06", 22
_END_64, _LOCATOR_64, _LOCATOR_BYTES = b"PK\x06\x06", b"PK\x06\x07", 20
_LONGEST_COMMENT = 65_535
_ENCRYPTED = 0x1
_PIECE = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# what the parsers of zipfile and zlib raise for damaged archives, in addition to system errors
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, struct.error, OverflowError)


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may contain: files, bytes of its directory, unpacked bytes, and how often it is larger unpacked."""

    entries: int = 100_000
    directory_bytes: int = 64 * 2**20
    unpacked_bytes: int = 200 * 2**30
    ratio: float = 50.0
    small_bytes: int = 64 * 2**20
    """Below these unpacked bytes, the ratio isn't checked: captions compress well."""


@dataclass(frozen=True)
class Member:
    """A file in an archive: its safe path, unpacked bytes, or why it is skipped."""

    info: zipfile.ZipInfo
    path: PurePosixPath
    skipped: str = ""


def members(archive: zipfile.ZipFile) -> list[Member]:
    """Return the files in an archive, images first; a single folder around all of them is removed."""
    found = []
    for info in archive.infolist():
        if info.is_dir() or is_hidden(info.filename):
            continue
        mode = info.external_attr >> 16
        skipped = ""
        path = PurePosixPath("_")
        try:
            path = safe_path(info.filename)
        except ConfigValueError:
            skipped = "its path isn't allowed"
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            skipped = "it is a link or a device"
        elif info.flag_bits & _ENCRYPTED:
            skipped = "it is encrypted"
        elif info.compress_type not in _METHODS:
            skipped = "its compression isn't supported"
        elif not skipped and not is_accepted(path):
            skipped = "files of this type aren't used"
        found.append(Member(info, path, skipped))
    used = [member for member in found if not member.skipped]
    heads = {member.path.parts[0] if len(member.path.parts) > 1 else "" for member in used}
    if len(heads) == 1 and "" not in heads:
        found = [
            Member(each.info, PurePosixPath(*each.path.parts[1:]), each.skipped) if not each.skipped else each for each in found
        ]
    return sorted(
        found, key=lambda each: (each.path.suffix.lower() == ".txt", each.path.stem.endswith("label"), each.info.filename)
    )


def opened(path: Path, limits: ArchiveLimits = ArchiveLimits()) -> zipfile.ZipFile:
    """Open an archive after its directory was found to be within the limits.

    :raises DatasetError: if it isn't a readable zip file, or is beyond the limits.
    """
    try:
        entries, directory_bytes = _directory(path)
        if entries > limits.entries or directory_bytes > limits.directory_bytes:
            raise _rejected(path, f"it lists more than {limits.entries} files")
        archive = zipfile.ZipFile(path)
    except (OSError, *_DAMAGED) as error:
        raise _rejected(path, f"it isn't a readable zip file ({error})") from error
    unpacked = sum(info.file_size for info in archive.infolist())
    reason = ""
    if unpacked > limits.unpacked_bytes:
        reason = f"it contains more than {limits.unpacked_bytes // 2**30} GB"
    elif unpacked > limits.small_bytes and unpacked > limits.ratio * os.path.getsize(path):
        reason = f"its files are more than {limits.ratio:.0f} times as large as the archive"
    if reason:
        archive.close()
        raise _rejected(path, reason)
    return archive


def extract(
    archive: zipfile.ZipFile, member: Member, target: Path, free_bytes: Callable[[], int], reserve_bytes: int
) -> Iterator[int]:
    """Write a file of an archive to ``target``, and yield the number of bytes of each piece.

    :raises DatasetError: if it is damaged, or larger than the directory of the archive claims.
    :raises DiskFullError: if it would leave less than ``reserve_bytes`` of free space.
    """
    if member.info.file_size + reserve_bytes > free_bytes():
        raise DiskFullError(
            f"Not enough free space to unpack {member.path.name}", suggestion="Free up space on the disk of the data folder."
        )
    written = 0
    try:
        with archive.open(member.info) as source, target.open("wb") as file:
            while piece := source.read(_PIECE):
                written += len(piece)
                if written > member.info.file_size:
                    raise _rejected(target, f"{member.path.name} is larger than the archive claims")
                file.write(piece)
                yield len(piece)
    except _DAMAGED as error:
        raise _rejected(target, f"{member.path.name} is damaged ({error})") from error


def _directory(path: Path) -> tuple[int, int]:
    """Return the number of entries and the bytes of the archive's directory, which ``zipfile`` reads into memory.

    :raises OSError: if the file can't be read.
    :raises zipfile.BadZipFile: if it has no directory.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = max(0, size - _END_BYTES - _LONGEST_COMMENT - _LOCATOR_BYTES)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < _END_BYTES:
            raise zipfile.BadZipFile("it has no directory")
        entries, directory_bytes = struct.unpack_from("<HI", tail, at + 10)
        if tail[at - _LOCATOR_BYTES : at - _LOCATOR_BYTES + 4] == _LOCATOR_64:
            (place,) = struct.unpack_from("<Q", tail, at - _LOCATOR_BYTES + 8)
            file.seek(place)
            head = file.read(56)
            if head[:4] != _END_64 or len(head) < 56:
                raise zipfile.BadZipFile("its directory is damaged")
            entries, directory_bytes = struct.unpack_from("<QQ", head, 32)
    return entries, directory_bytes


def _rejected(path: Path, reason: str) -> DatasetError:
    return DatasetError(
        f"The archive can't be unpacked: {reason}.",
        value=path.name,
        expected="a zip file with images and captions",
        suggestion="Unpack it on your machine and upload the folder.",
    )

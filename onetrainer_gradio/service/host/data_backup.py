"""Write a backup of a data folder, also while a panel uses it: one tar archive with a checksum for each file.

The first member describes the backup, the last one lists every file with size, time, mode and SHA-256. Without the last one, a
backup is incomplete and isn't restored.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from onetrainer_gradio import __version__
from onetrainer_gradio.atomic_file import remove_leftovers
from onetrainer_gradio.errors import DiskFullError, PathExistsError, PathNotFoundError, StorageError
from onetrainer_gradio.service.host.atomic import raising_storage_error, regular_file
from onetrainer_gradio.service.host.data_contents import Contents, contents_of, workspaces_outside
from onetrainer_gradio.service.host.data_version import check_version

FORMAT = 1
HEADER = "onetrainer_gradio_backup.json"
MANIFEST = "onetrainer_gradio_manifest.json"
COMPRESSED = (".gz", ".tgz")
CHUNK_BYTES = 1 << 20
_SQLITE = b"SQLite format 3\0"
_BUSY_S = 30.0
# A line of a journal has some hundred bytes; a caption document that is one line has more.
_TAIL_BYTES = 1 << 20
_RESERVE_BYTES = 64 << 20

Progress = Callable[[int, int], None]


@dataclass
class BackupReport:
    """What a backup contains: the number of files and their bytes. ``changed`` files got shorter while they were read.

    ``outside`` are the workspaces that it doesn't contain.
    """

    files: int = 0
    bytes: int = 0
    changed: list[str] = field(default_factory=list)
    contents: Contents = field(default_factory=Contents)
    outside: list[str] = field(default_factory=list)


def back_up(
    data: Path,
    destination: Path | BinaryIO,
    *,
    without: Collection[str] = (),
    secrets: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> BackupReport:
    """Write a backup of the data folder to a file, which appears when it is complete, or to a stream.

    ``without`` are keys of ``data_contents.PARTS``. ``progress`` is called with the bytes that are done and their total.

    :raises DataVersionError: if a newer version wrote the data folder.
    :raises PathNotFoundError: if the data folder doesn't exist.
    :raises PathExistsError: if the file exists and ``overwrite`` isn't set.
    :raises StorageError: if the file can't be written, is in the data folder, or there is no space for it.
    """
    if not data.is_dir():
        raise PathNotFoundError(f"The data folder {data} doesn't exist.", suggestion="Choose another folder with --data.")
    check_version(data)
    if not isinstance(destination, Path):
        with raising_storage_error("the backup"):
            return _write(data, destination, contents_of(data, without=without, secrets=secrets), False, without, progress)
    destination = Path(os.path.realpath(destination))
    if destination.is_relative_to(os.path.realpath(data)):
        raise StorageError(
            f"The backup {destination} would be inside the data folder.", suggestion="Choose a file in another folder."
        )
    if os.path.lexists(destination) and not overwrite:
        raise PathExistsError(
            f"{destination} already exists.", suggestion="Choose another file, or add --overwrite to replace it."
        )
    if not destination.parent.is_dir():
        raise PathNotFoundError(f"The folder {destination.parent} doesn't exist.", suggestion="Create it first.")
    with raising_storage_error(str(destination)):
        contents = contents_of(data, without=without, secrets=secrets)
        check_space(destination.parent, contents.total_bytes, "the backup")
        with _whole_file(destination) as file:
            return _write(data, file, contents, destination.name.endswith(COMPRESSED), without, progress)


def check_space(folder: Path, wanted_bytes: int, what: str) -> None:
    """Check that a folder's disk has space.

    :raises DiskFullError: if it has less than ``wanted_bytes`` and some reserve.
    """
    free = shutil.disk_usage(folder).free
    if free < wanted_bytes + _RESERVE_BYTES:
        raise DiskFullError(
            f"Not enough space on the disk of {folder}: {what} needs {_gb(wanted_bytes)}, {_gb(free)} are free.",
            suggestion="Free up space, or omit samples, backups or datasets with --without.",
        )


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a large file that is at its path only when it is complete. An interruption removes what was written."""
    remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write(
    data: Path, file: BinaryIO, contents: Contents, compressed: bool, without: Collection[str], progress: Progress
) -> BackupReport:
    report = BackupReport(contents=contents, outside=sorted(workspaces_outside(data)))
    head = {
        "format": FORMAT,
        "program": f"onetrainer_gradio {__version__}",
        "data_version": check_version(data),
        "data_folder": str(data),
        "at": time.time(),
        "total_bytes": contents.total_bytes,
        "without": sorted(without),
    }
    entries: list[dict[str, Any]] = []
    first_by_inode: dict[tuple[int, int], str] = {}
    mode: Any = "w|gz" if compressed else "w|"
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT, bufsize=CHUNK_BYTES, dereference=False) as archive:
        _add_document(archive, HEADER, head)
        for name in contents.files:
            entry = _add_file(archive, data / name, name, first_by_inode, report)
            if entry is not None:
                entries.append(entry)
                report.files += 1
                report.bytes += entry["bytes"]
                progress(report.bytes, max(contents.total_bytes, report.bytes))
        _add_document(archive, MANIFEST, {"files": entries})
    return report


def _add_document(archive: tarfile.TarFile, name: str, document: dict[str, Any]) -> None:
    content = json.dumps(document, ensure_ascii=True, indent=1).encode()
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(content), int(time.time()), 0o644
    archive.addfile(member, io.BytesIO(content))


def _add_file(
    archive: tarfile.TarFile, path: Path, name: str, first_by_inode: dict[tuple[int, int], str], report: BackupReport
) -> dict[str, Any] | None:
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(regular_file(path))
        except FileNotFoundError:  # deleted since the folder was listed
            return None
        except OSError as error:
            message = f"Can't read {name}: {error.strerror or error}."
            raise StorageError(message, suggestion="Check the permissions of the data folder.") from error
        status = os.fstat(file.fileno())
        if file.read(len(_SQLITE)) == _SQLITE:
            return _add_database(archive, path, name, status)
        identity = status.st_dev, status.st_ino
        if status.st_nlink > 1 and identity in first_by_inode:
            return _add_link(archive, name, first_by_inode[identity], status)
        entry = _add_stream(archive, file, name, complete_bytes(file, name, status.st_size), status)
    if entry.pop("changed", False):
        report.changed.append(name)
        return None
    if status.st_nlink > 1:
        first_by_inode[identity] = name
    return entry


def complete_bytes(file: BinaryIO, name: str, size: int) -> int:
    """Return how much of a file to read: of a journal, up to its last complete line."""
    if not name.endswith(".jsonl") or size == 0:
        return size
    start = max(0, size - _TAIL_BYTES)
    file.seek(start)
    end = file.read(size - start).rfind(b"\n")
    return start + end + 1 if end >= 0 else 0


def _member(name: str, size: int, status: os.stat_result) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(status.st_mtime), status.st_mode & 0o777
    return member


def _entry(name: str, size: int, status: os.stat_result, **more: Any) -> dict[str, Any]:
    return {"name": name, "bytes": size, "mtime_ns": status.st_mtime_ns, "mode": status.st_mode & 0o777, **more}


def _add_stream(archive: tarfile.TarFile, file: IO[bytes], name: str, size: int, status: os.stat_result) -> dict[str, Any]:
    file.seek(0)
    reader = _ExactReader(file, size)
    archive.addfile(_member(name, size, status), reader)
    return _entry(name, size, status, sha256=reader.digest.hexdigest(), changed=reader.missing > 0)


def _add_link(archive: tarfile.TarFile, name: str, first: str, status: os.stat_result) -> dict[str, Any]:
    """Store a hard link to a file that is in the archive: a run keeps its model as one."""
    member = _member(name, 0, status)
    member.type, member.linkname = tarfile.LNKTYPE, first
    archive.addfile(member)
    return _entry(name, 0, status, link=first)


def copy_database(path: Path, copy: Path) -> Path:
    """Copy what the last complete transaction left, and return the copy; the file itself if the database is damaged.

    :raises StorageError: if another process holds it for too long.
    """
    with contextlib.closing(sqlite3.connect(os.fspath(path), timeout=_BUSY_S)) as database:
        try:
            with contextlib.closing(sqlite3.connect(os.fspath(copy))) as target:
                database.backup(target)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                return path
            raise StorageError(f"Can't read {path.name}: {error}", suggestion="Try again in a moment.") from error
    return copy


def is_database(head: bytes) -> bool:
    """Return whether a file that begins so is an SQLite database."""
    return head.startswith(_SQLITE)


def _add_database(archive: tarfile.TarFile, path: Path, name: str, status: os.stat_result) -> dict[str, Any]:
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="onetrainer_gradio_"))
        file = opened.enter_context(open(copy_database(path, Path(folder) / "copy.sqlite"), "rb"))
        entry = _add_stream(archive, file, name, os.fstat(file.fileno()).st_size, status)
    entry.pop("changed")
    return entry


class _ExactReader:
    """Read exactly ``size`` bytes and hash them. If the file gets shorter meanwhile, zeros take the place of the rest."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size
        self.missing = 0
        self.digest = hashlib.sha256()

    def read(self, count: int = -1) -> bytes:
        wanted = self._left if count < 0 else min(count, self._left)
        content = self._file.read(wanted)
        if len(content) < wanted:
            self.missing += wanted - len(content)
            content += bytes(wanted - len(content))
        self._left -= wanted
        self.digest.update(content)
        return content

"""Records of the files that a run made: where, when, how large, and the SHA-256 of their bytes.

``files.jsonl`` in the run's folder has one JSON object per line; a later line about the same file replaces an earlier one.
``files/`` has what the run keeps: for each model and save a hard link or a copy, in a folder that is named by the time of the
event. So a kept file is found without its record, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from onetrainer_gradio.service.host.atomic import MAX_BYTES, open_file

RECORDS = "files.jsonl"
KEPT_FOLDER = "files"
KINDS = {"model_saved": "save", "backup_created": "backup", "sample_generated": "sample"}
"""Type of event -> kind of file; a final model is of the kind ``model``."""
_CHUNK_BYTES = 1 << 20
# A larger file is read at half speed, so that training keeps most of the disk and of the CPU.
_UNHURRIED_BYTES = 64 << 20
# Clocks of file systems are coarser than that of the process, and those of network drives are off by a little.
_CLOCK_S = 2.0


@dataclass(frozen=True)
class FileFacts:
    """What identifies the bytes of one file: size, times and place, and its SHA-256 once it is computed."""

    bytes: int
    mtime_ns: int
    inode: int
    device: int
    sha256: str = ""

    @classmethod
    def of(cls, status: os.stat_result) -> FileFacts:
        """Return the facts of a file's status, without its SHA-256."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)

    def unchanged(self, status: os.stat_result) -> bool:
        """Return whether a status is that of the very same file, not written since."""
        return replace(self, sha256="") == FileFacts.of(status)


@dataclass(frozen=True)
class FileRecord:
    """One file, or folder, that a run made.

    ``files`` has one entry per file: under its path in the folder, or under "" if ``path`` is itself a file.
    """

    path: str
    at: float
    kind: str
    global_step: int = 0
    final: bool = False
    folder: bool = False
    kept: str = ""
    """Path of the kept link or copy in the run's folder, in POSIX form; empty while there is none."""
    separate: bool = False
    """Whether what is kept is a copy: a program that writes into the original file in place doesn't change it."""
    files: Mapping[str, FileFacts] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, float]:
        """Return the common key of the file's event and its record."""
        return self.path, self.at

    @property
    def bytes(self) -> int:
        """Return the size of all its files."""
        return sum(facts.bytes for facts in self.files.values())

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of a single file; empty for a folder, and until it is computed."""
        return self.files[""].sha256 if "" in self.files else ""

    @property
    def complete(self) -> bool:
        """Return whether every SHA-256 is known."""
        return bool(self.files) and all(facts.sha256 for facts in self.files.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        body = asdict(self)
        return {**body, "bytes": self.bytes, "sha256": self.sha256}

    @classmethod
    def from_dict(cls, body: Any) -> FileRecord | None:
        """Return the record in a JSON object, or None if it isn't one."""
        if not isinstance(body, dict) or not isinstance(body.get("files"), dict):
            return None
        try:
            files = {name: FileFacts(**facts) for name, facts in body["files"].items()}
            known = {name: body[name] for name in cls.__dataclass_fields__ if name in body and name != "files"}
            record = cls(**known, files=files)
        except TypeError:
            return None
        return record if record._has_types() else None

    def _has_types(self) -> bool:
        texts = (self.path, self.kind, self.kept, *(facts.sha256 for facts in self.files.values()))
        numbers = [number for facts in self.files.values() for number in (facts.bytes, facts.mtime_ns, facts.inode, facts.device)]
        return (
            all(isinstance(text, str) for text in texts)
            and isinstance(self.at, float)
            and all(isinstance(number, int) for number in (self.global_step, *numbers))
        )


def record_of_event(body: Mapping[str, Any]) -> FileRecord | None:
    """Return the record that an event's JSON object begins, or None if the event names no file."""
    kind, path = KINDS.get(body["type"]), body.get("path")
    if kind is None or not isinstance(path, str) or not path:
        return None
    final = kind == "save" and bool(body.get("final"))
    step = body.get("global_step", 0)
    return FileRecord(
        path=path,
        at=float(body["at"]),
        kind="model" if final else kind,
        global_step=step if isinstance(step, int) else 0,
        final=final,
    )


def kept_path(run_folder: Path, path: str, at: float) -> Path:
    """Return where the run keeps the file that it wrote to ``path`` at the time ``at``."""
    return run_folder / KEPT_FOLDER / str(int(at * 1e6)) / (Path(path).name or "file")


class _RecordReader:
    """Reads the lines that ``files.jsonl`` grows by: a run with 10,000 samples isn't read again for each thumbnail."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._inode = self._end = 0
        self._known: dict[tuple[str, float], FileRecord] = {}

    def read(self) -> Mapping[tuple[str, float], FileRecord]:
        """Return the records by path and time; lines that can't be read are ignored."""
        with self._lock:
            try:
                descriptor = open_file(self._path)
                if descriptor is None:
                    raise FileNotFoundError(self._path)
                with os.fdopen(descriptor, "rb") as file:
                    status = os.fstat(descriptor)
                    if status.st_ino != self._inode or status.st_size < self._end:
                        self._inode, self._end, self._known = status.st_ino, 0, {}
                    file.seek(self._end)
                    data = file.read(MAX_BYTES)
            except OSError:
                self._inode, self._end, self._known = 0, 0, {}
                return self._known
            whole = data[: data.rfind(b"\n") + 1]
            if whole:
                self._end += len(whole)
                self._known = self._known | {record.key: record for record in _records_in(whole)}
            return self._known


def _records_in(data: bytes) -> Iterator[FileRecord]:
    for line in data.split(b"\n"):
        try:
            record = FileRecord.from_dict(json.loads(line)) if line else None
        except (ValueError, RecursionError):
            continue
        if record is not None:
            yield record


@lru_cache(maxsize=64)
def _reader(path: Path) -> _RecordReader:
    return _RecordReader(path)


def read_records(run_folder: Path) -> Mapping[tuple[str, float], FileRecord]:
    """Return the records of a run by path and time; lines that can't be read are ignored."""
    return _reader(run_folder / RECORDS).read()


def append_record(run_folder: Path, record: FileRecord) -> None:
    """Add a line for the record.

    :raises OSError: when it can't be written.
    """
    line = json.dumps(record.as_dict(), separators=(",", ":")).encode() + b"\n"
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(run_folder / RECORDS, flags, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            line = line if os.read(descriptor, 1) == b"\n" else b"\n" + line  # a kill or a full disk tore the last one
        if os.write(descriptor, line) != len(line):
            raise OSError(f"only a part of the record of {record.path} could be written")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files_below(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the regular files of a folder with their names in it, or a file itself under the name "". Links aren't followed."""
    if not path.is_dir():
        yield "", path
        return
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            file = Path(folder, name)
            if stat.S_ISREG(file.lstat().st_mode):
                yield file.relative_to(path).as_posix(), file


def facts_below(path: Path) -> dict[str, FileFacts]:
    """Return the facts of a file, or of every file in a folder.

    :raises OSError: when one is gone.
    """
    return {name: FileFacts.of(file.stat()) for name, file in files_below(path)}


def sha256_of(path: Path, wanted: Callable[[], bool] = lambda: True, copy_to: Path | None = None) -> str:
    """Return the SHA-256 of a file, and copy it if ``copy_to`` is given; "" if it is no longer ``wanted``.

    :raises OSError: when the file can't be read, or the copy can't be written.
    """
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK_BYTES))
    done, started = 0, time.monotonic()
    copy = copy_to.open("wb") if copy_to is not None else None
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                if copy is not None:
                    copy.write(buffer[:count])
                done += count
                if not wanted():
                    return ""
                if copy is None and done > _UNHURRIED_BYTES and done % _UNHURRIED_BYTES < _CHUNK_BYTES:
                    time.sleep(min(1.0, time.monotonic() - started))
                    started = time.monotonic()
        if copy is not None:
            copy.flush()
            os.fsync(copy.fileno())
    finally:
        if copy is not None:
            copy.close()
    return digest.hexdigest()


def holds(path: Path, record: FileRecord, *, moved: bool = False, thorough: bool = True) -> bool:
    """Return whether a file or folder has the bytes that the record describes.

    Size, time and inode decide where they can. Where a file was touched, or is a copy, its SHA-256 does; without ``thorough``
    a large file is then given the benefit of the doubt. ``moved`` allows another inode: the run's own copy has one.
    A file that someone added to a folder doesn't count.
    """
    if not record.files or path.is_dir() != record.folder:
        return False
    return all(_holds(path / name if name else path, facts, moved, thorough) for name, facts in record.files.items())


def _holds(path: Path, facts: FileFacts, moved: bool, thorough: bool) -> bool:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != facts.bytes:
            return False
        if facts.unchanged(status) or (moved and status.st_mtime_ns == facts.mtime_ns):
            return True
        if not facts.sha256:
            return False
        if not thorough and facts.bytes > _UNHURRIED_BYTES:
            return True
        found = FileFacts.of(status)
        # a file that is being written may change again without another time
        settled = time.time() - status.st_mtime > _CLOCK_S
        return (_known_sha256(path, found) if settled else sha256_of(path)) == facts.sha256
    except OSError:
        return False


@lru_cache(maxsize=1024)
def _known_sha256(path: Path, facts: FileFacts) -> str:
    """Return the SHA-256 of a file; one with the same facts isn't read again for each state of its run."""
    return sha256_of(path)


def plausible(path: Path, body: Mapping[str, Any]) -> bool:
    """Return whether a file without a record can be the file of an event: it has the size, and wasn't written since."""
    try:
        if body["type"] != "model_saved":
            return path.exists()
        files = facts_below(path)
    except OSError:
        return False
    newest = max((facts.mtime_ns for facts in files.values()), default=0) / 1e9
    return sum(facts.bytes for facts in files.values()) == body.get("bytes") and newest <= float(body["at"]) + _CLOCK_S

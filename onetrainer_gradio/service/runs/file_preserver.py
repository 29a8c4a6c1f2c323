"""Keep what a run made in the run's own folder, so that a later run or program that replaces the original destroys nothing.

A hard link costs no space and is made at once, before the event is recorded. A thread in the background then computes the
SHA-256 and, for a final model, turns the link into a copy where the file system clones files or the file is small: a link
shares its bytes with a program that writes into the original in place. Where no hard link is possible the copy is the only way;
one that is too large for the background is noted in ``unlinked/`` and made before the next run replaces the original.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.errors import DiskFullError, StorageError
from onetrainer_gradio.events import Event, encode
from onetrainer_gradio.service.host.atomic import NO_SPACE, read_json, write_json
from onetrainer_gradio.service.runs.file_records import (
    KEPT_FOLDER,
    KINDS,
    FileFacts,
    FileRecord,
    append_record,
    facts_below,
    files_below,
    holds,
    kept_path,
    plausible,
    read_records,
    record_of_event,
    sha256_of,
)
from onetrainer_gradio.service.runs.journal import Journal

UNLINKED_FOLDER = "unlinked"
SMALL_BYTES = 1 << 30
"""A final model up to this size is copied; a larger one stays a hard link where cloning isn't supported."""
_ROOM_FACTOR = 10
_KEPT_KINDS = frozenset({"model", "save"})
"""Not samples and backups: no later run uses their names, and a link would keep the space taken after someone deletes them."""
_FICLONE = 0x40049409
_CLOSE_S = 20.0


class FilePreserver:
    """Keeps and records the files of one run. ``take`` is quick and never raises; a thread does the rest."""

    def __init__(
        self,
        run_folder: Path,
        *,
        link: Callable[[Path, Path], None] = os.link,
        write: Callable[[Path, FileRecord], None] = append_record,
        sha256: Callable[[Path, Callable[[], bool]], str] = sha256_of,
        small_bytes: int = SMALL_BYTES,
    ) -> None:
        self._folder = run_folder
        self._link = link
        self._write = write
        self._sha256 = sha256
        self._small_bytes = small_bytes
        self._waiting: queue.SimpleQueue[FileRecord | None] = queue.SimpleQueue()
        self._left = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def take(self, event: Event) -> None:
        """Keep and record the file that an event names, if it names one."""
        self._take_body(encode(event))

    def _take_body(self, body: Mapping[str, Any]) -> None:
        begun = record_of_event(body)
        if begun is None or not self._folder.is_dir():  # a deleted run doesn't come back
            return
        path = Path(begun.path)
        with contextlib.suppress(OSError):  # it is gone already
            self._queue(self._linked(replace(begun, folder=path.is_dir(), files=facts_below(path))))

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything is recorded; False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._left, timeout_s)

    def close(self) -> None:
        """Finish the copies that are the only way to keep a file, and leave the rest to a later ``complete``."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._closing = True
        if thread is not None:
            self._waiting.put(None)
            thread.join(_CLOSE_S)

    def complete(self, journal: Journal) -> None:
        """Keep and record what the journal names and the records lack, as after a kill."""
        self._remove_unfinished()
        known = read_records(self._folder)
        for entry in journal.since(0, journal.length(), only=tuple(KINDS)):
            begun = record_of_event(entry.body)
            if begun is None:
                continue
            record, kept = known.get(begun.key), kept_path(self._folder, begun.path, begun.at)
            if record is not None:
                if not record.complete and self._source(record).exists():
                    self._queue(record)
            elif plausible(kept, entry.body):
                name = kept.relative_to(self._folder).as_posix()
                with contextlib.suppress(OSError):
                    self._queue(replace(begun, folder=kept.is_dir(), files=facts_below(kept), kept=name))
            else:
                if begun.kind in _KEPT_KINDS:
                    _remove(kept)  # a part of a folder
                if plausible(Path(begun.path), entry.body):
                    self._take_body(entry.body)

    def _remove_unfinished(self) -> None:
        """Remove incomplete copies after a kill."""
        for path in (self._folder / KEPT_FOLDER).rglob(".*.tmp"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _queue(self, record: FileRecord) -> None:
        with self._changed:
            if self._closing:
                return
            self._left += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="record-files", daemon=True)
                self._thread.start()
        self._waiting.put(record)

    def _linked(self, record: FileRecord) -> FileRecord:
        """Return the record with the links; without a link, ``kept`` is empty."""
        if record.kind not in _KEPT_KINDS:
            return record
        target = kept_path(self._folder, record.path, record.at)
        try:
            for name, file in files_below(Path(record.path)):
                place = target / name if name else target
                place.parent.mkdir(parents=True, exist_ok=True)
                self._link(file, place)
            return replace(record, kept=target.relative_to(self._folder).as_posix())
        except FileExistsError:  # kept before a kill
            return replace(record, kept=target.relative_to(self._folder).as_posix())
        except (OSError, NotImplementedError):
            _remove(target)
            if record.kind == "model":
                _note_unlinked(self._folder, record)
            return record

    def _work(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                self._record(record)
            except OSError as error:  # a full disk, or the file was deleted meanwhile
                print(f"The record of {record.path} is incomplete: {error}", file=sys.stderr, flush=True)
            with self._changed:
                self._left -= 1
                self._changed.notify_all()

    def _record(self, record: FileRecord) -> None:
        self._write(self._folder, record)
        if not record.kept and record.kind == "model" and record.bytes <= self._small_bytes:
            record = keep_copy(self._folder, record)
            self._write(self._folder, record)
        elif record.kept and not record.separate and record.kind == "model":
            record = self._separated(record)
        if not record.complete:
            record = self._hashed(record)
        self._write(self._folder, record)

    def _separated(self, record: FileRecord) -> FileRecord:
        """Turn the link into a copy where that costs little, so that nobody can change it by writing into the original."""
        kept = self._folder / record.kept
        small = record.bytes <= self._small_bytes and shutil.disk_usage(self._folder).free > _ROOM_FACTOR * record.bytes
        copied, separate = {}, True
        for name, facts in record.files.items():
            place = kept / name if name else kept
            sha256 = _replace_link(place, facts, clone_only=not small)
            separate = separate and sha256 is not None
            copied[name] = replace(facts, sha256=sha256 or "")
        return replace(record, files=copied, separate=separate)

    def _source(self, record: FileRecord) -> Path:
        return self._folder / record.kept if record.kept else Path(record.path)

    def _hashed(self, record: FileRecord) -> FileRecord:
        source = self._source(record)
        hashed = {}
        for name, facts in record.files.items():
            if facts.sha256:
                hashed[name] = facts
                continue
            file = source / name if name else source
            digest = self._sha256(file, lambda: not self._closing)
            still = file.stat()
            same = still.st_size == facts.bytes and still.st_mtime_ns == facts.mtime_ns
            hashed[name] = replace(facts, sha256=digest if same else "")
        return replace(record, files=hashed)


def _replace_link(place: Path, facts: FileFacts, *, clone_only: bool) -> str | None:
    """Put a copy of a linked file in its place.

    Return its SHA-256, "" if it is a clone that wasn't read, or None if the link stays.
    """
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    before = place.stat()
    if not facts.unchanged(before):
        return None
    try:
        if _clone(place, temporary):
            sha256 = ""
        elif clone_only:
            return None
        else:
            sha256 = sha256_of(place, copy_to=temporary)
        os.utime(temporary, ns=(before.st_atime_ns, before.st_mtime_ns))
        if FileFacts.of(place.stat()) != FileFacts.of(before):
            return None
        os.replace(temporary, place)
        return sha256
    except OSError as error:
        if error.errno in NO_SPACE:
            return None  # the link stays
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _clone(source: Path, target: Path) -> bool:
    """Return whether the file system made a copy that shares its blocks until one of the two is written."""
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as original, target.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:
            return False
        os.fsync(copy.fileno())
    return True


def keep_copy(run_folder: Path, record: FileRecord) -> FileRecord:
    """Copy what the record names into the run's folder, and return the record with that.

    :raises OSError: when it can't be copied whole; nothing is left of the attempt.
    """
    source, target = Path(record.path), kept_path(run_folder, record.path, record.at)
    temporary = target.parent.with_name(f".{target.parent.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    files = {}
    try:
        for name, facts in record.files.items():
            file = source / name if name else source
            place = temporary / target.name / name if name else temporary / target.name
            place.parent.mkdir(parents=True, exist_ok=True)
            sha256 = sha256_of(file, copy_to=place)
            status = file.stat()
            if status.st_size != facts.bytes or status.st_mtime_ns != facts.mtime_ns:
                raise OSError(f"{file} was written while it was copied")
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
            files[name] = replace(facts, sha256=sha256)
        shutil.rmtree(target.parent, ignore_errors=True)
        temporary.rename(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _forget_unlinked(run_folder, record.path)
    return replace(record, files=files, kept=target.relative_to(run_folder).as_posix(), separate=True)


def _remove(target: Path) -> None:
    """Remove a partial copy."""
    shutil.rmtree(target.parent, ignore_errors=True)


def _note_path(run_folder: Path, path: str) -> Path:
    place = os.path.normcase(os.path.realpath(path))
    return run_folder.parent / UNLINKED_FOLDER / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.json"


def _note_unlinked(run_folder: Path, record: FileRecord) -> None:
    """Note that the bytes of a run are at a path only, for whoever replaces them."""
    with contextlib.suppress(OSError):
        write_json(_note_path(run_folder, record.path), {"run_id": run_folder.name, "path": record.path, "at": record.at})


def _forget_unlinked(run_folder: Path, path: str) -> None:
    with contextlib.suppress(OSError):
        _note_path(run_folder, path).unlink(missing_ok=True)


def keep_before_replacing(
    run_folder: Path,
    config: TrainConfig,
    report: Callable[[str], None] = lambda text: None,
    copy: Callable[[Path, FileRecord], FileRecord] = keep_copy,
) -> None:
    """Copy the model that another run wrote to this run's destination into that run's folder, if it isn't kept there yet.

    :raises DiskFullError: when there is no room for the copy.
    :raises StorageError: when it can't be copied for another reason.
    """
    for note in _notes_of(run_folder.parent / UNLINKED_FOLDER, Path(config.output_model_destination)):
        _keep_noted(run_folder, note, report, copy)


def _notes_of(folder: Path, destination: Path) -> list[dict[str, Any]]:
    """Return the notes about a file, by whatever path it is named: through a link, or in another case."""
    found = []
    for path in sorted(folder.glob("*.json")):
        note = read_json(path)
        if isinstance(note, dict) and isinstance(note.get("path"), str) and isinstance(note.get("at"), float):
            with contextlib.suppress(OSError):  # one of the two is gone
                if os.path.samefile(note["path"], destination):
                    found.append(note)
    return found


def _keep_noted(
    run_folder: Path, note: Mapping[str, Any], report: Callable[[str], None], copy: Callable[[Path, FileRecord], FileRecord]
) -> None:
    owner = run_folder.parent / str(note.get("run_id", ""))
    record = read_records(owner).get((note["path"], note["at"]))
    if record is None or record.kept or owner == run_folder or not holds(Path(record.path), record):
        _forget_unlinked(run_folder, note["path"])
        return
    report(f"copying the model of run {owner.name}, which this run replaces")
    try:
        append_record(owner, copy(owner, record))
        (owner / "summary.json").unlink(missing_ok=True)  # it names the output file
    except OSError as error:
        full = error.errno in NO_SPACE
        kind = DiskFullError if full else StorageError
        reason = "No space is left on the disk" if full else str(error)
        raise kind(
            f"'{record.path}' is the model of run {owner.name}. It can't be copied into that run's folder ({reason}), "
            "so it isn't replaced.",
            path="output_model_destination",
            value=record.path,
            suggestion="Choose another output file, or free up space on the disk of the data folder.",
        ) from error


def freed_bytes(run_folder: Path) -> tuple[int, int]:
    """Return how many bytes deleting a run's folder frees, and how many bytes of kept models and saves exist nowhere else."""
    kept = (record for record in read_records(run_folder).values() if record.kept)
    return size_on_disk(run_folder), sum(record.bytes for record in kept if not holds(Path(record.path), record, thorough=False))


def size_on_disk(run_folder: Path) -> int:
    """Return how many bytes the files of a run's folder take, without those that are hard links to files elsewhere."""
    size = 0
    with contextlib.suppress(OSError):
        for _, file in files_below(run_folder):
            with contextlib.suppress(OSError):
                status = file.stat()
                size += status.st_size if status.st_nlink == 1 else 0
    return size

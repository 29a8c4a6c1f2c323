"""Files that a run made: only what its own events name can be listed or given out, under names that hold no path.

What is given out has the bytes that the run wrote: those at their original place if nobody has replaced them, else those that
the run keeps in its own folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.errors import RunNotFoundError
from onetrainer_gradio.service.runs.archive import Member, folder_members, unique, zip_chunks
from onetrainer_gradio.service.runs.file_records import (
    KINDS,
    FileRecord,
    holds,
    kept_path,
    plausible,
    read_records,
    record_of_event,
)
from onetrainer_gradio.service.runs.journal import Entry, Journal

RESULTS = ("model", "save")
"""Kinds of files that are models to use. Their bytes are compared with the record before they are given out."""


@dataclass(frozen=True)
class RunFile:
    """A file or folder that a run made. ``id`` is the number of the event that named it.

    ``path`` is where its bytes are now, ``written_to`` where the run wrote them.
    """

    id: str
    kind: str
    path: Path
    at: float
    global_step: int
    written_to: Path
    sha256: str = ""
    kept: bool = False

    @property
    def name(self) -> str:
        """The name without its folder."""
        return self.written_to.name

    @property
    def folder(self) -> bool:
        """Whether it is a folder, which is given out as a zip."""
        return self.path.is_dir()

    def size(self) -> int:
        """The size, of all files within for a folder; a backup may be thrown away while it is looked at."""
        within = [os.path.join(folder, name) for folder, _, names in os.walk(self.path) for name in names]
        total = 0
        for path in within or [str(self.path)]:
            with contextlib.suppress(OSError):
                total += os.path.getsize(path) if os.path.isfile(path) else 0
        return total

    def as_dict(self) -> dict[str, Any]:
        """The file in a line of a list."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "bytes": self.size(),
            "at": self.at,
            "folder": self.folder,
            "global_step": self.global_step,
            "sha256": self.sha256,
            "written_to": str(self.written_to),
            "kept": self.kept,
        }

    def members(self, name: str) -> Iterator[Member]:
        """Yield the file, or the files of the folder, under ``name`` in an archive.

        Of a model's folder, only what the run wrote: the folder may have existed before, and others may put files into it.
        """
        if not self.folder:
            yield self.path, name
            return
        made = marker.read(self.path)
        ours = made.files if made is not None and made.kind == marker.MODEL else None
        for path, within in folder_members(self.path, name):
            if ours is None or within.removeprefix(f"{name}/") in ours:
                yield path, within

    def zip_chunks(self) -> Iterator[bytes]:
        """Yield the folder as a zip, piece by piece."""
        return zip_chunks(self.members(self.name))

    @property
    def archive_name(self) -> str:
        """The name in an archive of several files; samples are in a folder for each prompt, as in the workspace."""
        within = f"{self.written_to.parent.name}/" if self.kind == "sample" else ""
        return f"{self.kind}s/{within}{self.name}"


@dataclass(frozen=True)
class MissingFile:
    """A file that a run made and that can't be obtained any more, with the reason."""

    id: str
    kind: str
    name: str
    at: float
    global_step: int
    why: str


def _file(entry: Entry, run_folder: Path, records: Records, *, thorough: bool) -> RunFile | MissingFile | None:
    begun = record_of_event(entry.body)
    if begun is None:
        return None
    record, written_to = records.get(begun.key), Path(begun.path)
    kept = run_folder / record.kept if record and record.kept else kept_path(run_folder, begun.path, begun.at)
    file_id, kind, at, step = str(entry.seq), begun.kind, begun.at, begun.global_step
    for path in (kept, written_to):  # what is kept is never replaced while it is read
        if _is_it(path, entry.body, record, kept=path is kept, thorough=thorough):
            return RunFile(file_id, kind, path, at, step, written_to, record.sha256 if record else "", kept.exists())
    replaced = written_to.exists() or kept.exists()
    why = f"{written_to} was changed or replaced after this run wrote it." if replaced else f"{written_to} was deleted."
    return MissingFile(file_id, kind, written_to.name, at, step, why)


def _is_it(path: Path, body: dict[str, Any], record: FileRecord | None, *, kept: bool, thorough: bool) -> bool:
    if not path.exists():
        return False
    if record is None:
        return plausible(path, body)
    if record.kind == "backup":  # named by its time, and never replaced
        return True
    return holds(path, record, moved=kept, thorough=thorough)


Records = Mapping[tuple[str, float], FileRecord]


def all_files(journal: Journal) -> list[RunFile | MissingFile]:
    """Return what the events name, in order: of each path the newest event, and earlier ones that are kept."""
    run_folder = journal.path.parent
    records = read_records(run_folder)
    found: dict[Path, RunFile | MissingFile] = {}
    for entry in journal.since(0, journal.length(), only=KINDS):
        file = _file(entry, run_folder, records, thorough=False)
        if file is not None:
            place = file.path if isinstance(file, RunFile) else Path(entry.body["path"])
            found.pop(place, None)
            found[place] = file
    return list(found.values())


def kept_or_original(run_folder: Path, path: str, at: float) -> str | None:
    """Return where a model is, without reading it: at its original place, in the run's folder, or nowhere any more."""
    record = read_records(run_folder).get((path, at))
    kept = run_folder / record.kept if record and record.kept else kept_path(run_folder, path, at)
    if record is None:
        return path if Path(path).exists() else str(kept) if kept.exists() else None
    if holds(Path(path), record, thorough=False):
        return path
    return str(kept) if holds(kept, record, moved=True, thorough=False) else None


def run_files(journal: Journal) -> list[RunFile]:
    """Return the files that the events name and that can be obtained, in order."""
    return [file for file in all_files(journal) if isinstance(file, RunFile)]


def find_file(journal: Journal, file_id: str) -> RunFile:
    """Return the file that the event of number ``file_id`` names.

    :raises RunNotFoundError: when it names none, or its bytes can't be obtained any more.
    """
    why = "the run's events contain no such file."
    seq = int(file_id) if is_whole(file_id) else 0
    if seq:
        entries = journal.since(seq - 1, 1)
        if entries and entries[0].seq == seq:
            run_folder = journal.path.parent
            file = _file(entries[0], run_folder, read_records(run_folder), thorough=True)
            if isinstance(file, RunFile):
                return file
            why = file.why if file else why
    raise RunNotFoundError(f"The run has no file {file_id!r}: {why}", value=file_id)


def newest_result(journal: Journal) -> RunFile | None:
    """Return the final model, or else the newest save, of those that can be obtained; None if there is none."""
    run_folder = journal.path.parent
    saved, records = journal.since(0, journal.length(), only=("model_saved",)), read_records(run_folder)
    for entry in sorted(saved, key=lambda each: (bool(each.body.get("final")), float(each.body["at"])), reverse=True):
        file = _file(entry, run_folder, records, thorough=True)
        if isinstance(file, RunFile):
            return file
    return None


def archive_chunks(journal: Journal, *, kind: str = "", ids: Sequence[str] = ()) -> Iterator[bytes]:
    """Return the files of a run, of one kind, or of some ids, as a zip in pieces.

    :raises RunNotFoundError: when an id names no file, or there is none of that kind.
    """
    found = [find_file(journal, each) for each in dict.fromkeys(ids)] if ids else run_files(journal)
    chosen = [file for file in found if kind in ("", file.kind)]
    if not chosen:
        raise RunNotFoundError(f"The run has no files{f' of the kind {kind!r}' if kind else ''}.", value=kind)
    if not ids:
        chosen = [find_file(journal, file.id) if file.kind in RESULTS else file for file in chosen]
    return zip_chunks(unique(member for file in chosen for member in file.members(file.archive_name)))

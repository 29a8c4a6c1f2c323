"""Files that a run made: only what its own events name can be listed or given out, under names that hold no path."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import RunNotFoundError
from onetrainer_gradio.service.journal import Entry, Journal

# kind of event -> kind of file
_KINDS = {"model_saved": "save", "backup_made": "backup", "sample_made": "sample"}
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class RunFile:
    """A file or folder that a run made. ``id`` is the number of the event that named it."""

    id: str
    kind: str
    path: Path
    at: float
    global_step: int

    @property
    def name(self) -> str:
        """The name without its folder."""
        return self.path.name

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
        }

    def zip_chunks(self) -> Iterator[bytes]:
        """The folder as a zip, piece by piece: nothing is stored on the way and memory stays small."""
        return filter(None, self._zipped())

    def _zipped(self) -> Iterator[bytes]:
        out = _Outlet()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for path in sorted(self.path.rglob("*")):
                if not path.is_file():
                    continue
                name = f"{self.name}/{path.relative_to(self.path).as_posix()}"
                info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                    while data := source.read(_CHUNK_BYTES):
                        target.write(data)
                        yield out.taken()
                yield out.taken()
        yield out.taken()


class _Outlet(io.RawIOBase):
    """A file that can only be written; what was written is taken away piece by piece."""

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


def _file(entry: Entry) -> RunFile | None:
    kind = _KINDS.get(entry.body["type"])
    if kind is None or not entry.body.get("path"):
        return None
    if kind == "save" and entry.body.get("final"):
        kind = "model"
    path = Path(entry.body["path"])
    if not path.exists():
        return None
    return RunFile(str(entry.seq), kind, path, float(entry.body["at"]), int(entry.body.get("global_step", 0)))


def run_files(journal: Journal) -> list[RunFile]:
    """The files that the events name and that are still there, the newest event of each path, in order."""
    files: dict[Path, RunFile] = {}
    for file in filter(None, map(_file, journal.since(0, journal.length(), only=_KINDS))):
        files.pop(file.path, None)
        files[file.path] = file
    return list(files.values())


def find_file(journal: Journal, file_id: str) -> RunFile:
    """The file that the event of number ``file_id`` names.

    :raises RunNotFoundError: when it names none, or the file is gone.
    """
    if file_id.isdigit() and 0 < int(file_id) < 10**12:
        entries = journal.since(int(file_id) - 1, 1)
        if entries and entries[0].seq == int(file_id) and (file := _file(entries[0])):
            return file
    raise RunNotFoundError(f"The run has no file {file_id!r}, or it was deleted", value=file_id)

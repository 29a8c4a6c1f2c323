"""Read and write the marker file of a folder: it lists the files of the panel, so that no others are deleted or replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.config.model_files import header_of

MARKER = ".onetrainer_gradio.json"
MODEL, CACHE, FILES = "model", "cache", "files"
HEADER_KEY = "onetrainer_gradio_version"
"""The key in the header of a .safetensors file that marks it as written by the panel."""

_PROGRAM = "onetrainer_gradio"
# A marker lists some dozens of files; a larger file is something else.
_LARGEST_BYTES = 4_000_000

Stamp = tuple[int, int]
"""Size and modification time (ns) of a file when it was listed."""


@dataclass(frozen=True)
class Marker:
    """The content of a marker file: the kind of folder, and the files that the panel wrote into it."""

    kind: str
    files: Mapping[str, Stamp]


@dataclass(frozen=True)
class Contents:
    """The entries of a folder by their paths in it: ``ours`` as we wrote them, ``changed`` since then, and all ``others``."""

    ours: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def entries(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files, links and empty folders below a folder with their paths in it. Links are not followed.

    :raises OSError: if a folder can't be read.
    """
    waiting = [""]
    while waiting:
        here = waiting.pop()
        empty = True
        with os.scandir(folder / here) as found:
            for entry in found:
                empty = False
                name = f"{here}/{entry.name}" if here else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                else:
                    yield name, entry.stat(follow_symlinks=False)
        if empty and here:
            yield here, os.lstat(folder / here)


def write(folder: Path, kind: str, *, without: Collection[str] = ()) -> None:
    """Mark a folder as written by the panel, with all its files except those in ``without``."""
    listed = ((name, status) for name, status in entries(folder) if name != MARKER and name not in without)
    _write(folder, kind, {name: _stamp(status) for name, status in listed})


def add(folder: Path, kind: str, name: str) -> None:
    """Add a subfolder to the marker of a folder."""
    made = read(folder)
    known = made.files if made is not None and made.kind == kind else {}
    if name not in known:
        _write(folder, kind, {**known, name: (0, 0)})


def note_file(path: Path) -> None:
    """Mark a single file as ours in a marker next to it, for programs that don't write our header."""
    made = read(path.parent)
    if made is None or made.kind == FILES:
        known = made.files if made is not None else {}
        _write(path.parent, FILES, {**known, path.name: _stamp(os.lstat(path))})


def _write(folder: Path, kind: str, files: Mapping[str, Stamp]) -> None:
    document = {"made_by": _PROGRAM, "kind": kind, "files": {name: list(stamp) for name, stamp in files.items()}}
    write_atomic(folder / MARKER, json.dumps(document, indent=1, sort_keys=True), durable=False, make_folder=False)


def read(folder: Path) -> Marker | None:
    """Return the marker of a folder, or None if the folder has no valid one."""
    path = folder / MARKER
    try:
        status = os.lstat(path)
        if not os.path.isfile(path) or os.path.islink(path) or status.st_size > _LARGEST_BYTES:
            return None
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["made_by"] != _PROGRAM:
            return None
        files = {str(name): (int(size), int(time_ns)) for name, (size, time_ns) in document["files"].items()}
        return Marker(str(document["kind"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def contents(folder: Path, marker: Marker) -> Contents:
    """Return which entries of a folder are ours, which of them were changed, and which we did not write.

    :raises OSError: if a folder can't be read.
    """
    ours: list[str] = []
    changed: list[str] = []
    others: list[str] = []
    for name, status in entries(folder):
        listed = marker.files.get(name)
        if name == MARKER:
            ours.append(name)
        elif listed is None:
            others.append(name)
        else:
            (ours if listed == _stamp(status) else changed).append(name)
    return Contents(tuple(ours), tuple(changed), tuple(others))


def is_our_file(path: Path) -> bool:
    """Return whether a run of the panel wrote this model file, by its header or the marker next to it."""
    made = read(path.parent)
    try:
        if made is not None and made.kind == FILES and made.files.get(path.name) == _stamp(os.lstat(path)):
            return True
    except OSError:
        return False
    entries = header_of(path).get("__metadata__")
    return isinstance(entries, dict) and HEADER_KEY in entries


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns

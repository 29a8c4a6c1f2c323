"""What lies in the folders of this machine, for choosing a file or folder: inside the allowed folders, folders first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.errors import ConfigValueError, ForbiddenPathError, PathNotFoundError
from onetrainer_gradio.service.path_guard import PathGuard

_MOST_ENTRIES = 1000
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jxl", ".gif"})

# what is looked for -> endings of the files that are shown; empty: none, None: all
KINDS: Mapping[str, frozenset[str] | None] = MappingProxyType(
    {
        "any": None,
        "folder": frozenset(),
        "model": frozenset({".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf"}),
        "picture": _PICTURES,
        "json": frozenset({".json"}),
        "text": frozenset({".txt"}),
    }
)


@dataclass(frozen=True)
class Entry:
    """A file or folder; ``bytes`` of files, ``modified_at`` in seconds since the epoch."""

    name: str
    path: str
    folder: bool
    bytes: int | None
    modified_at: float


@dataclass(frozen=True)
class Listing:
    """What lies in a folder. ``parent`` is empty where there is none to go to; ``left_out`` counts what was too much."""

    path: str
    parent: str
    entries: tuple[Entry, ...]
    left_out: int
    file: str


class FolderBrowser:
    """Lists folders; with ``roots`` only those inside of them, links that lead out included. Reads, never writes."""

    def __init__(self, data_folder: Path, roots: Iterable[Path] = ()) -> None:
        self._data = data_folder
        self._guard = PathGuard(roots)

    def places(self) -> list[dict[str, str]]:
        """Where to begin: the data folder, and the allowed folders or the home and root folder."""
        found = [("Data folder", self._data)]
        if self._guard.roots:
            found += [(root.name or str(root), root) for root in self._guard.roots]
        else:
            home = Path(os.path.expanduser("~"))
            found += [("Home", home), ("This machine", Path(self._data.anchor or "/"))]
        real = {place.resolve(): title for title, place in reversed(found) if os.path.isdir(place)}
        return [{"title": title, "path": str(place)} for place, title in reversed(real.items())]

    def list(
        self, path: str = "", kind: str = "any", search: str = "", *, hidden: bool = False, nearest: bool = False
    ) -> Listing:
        """The folder at a path (relative: in the data folder), its folders first; ``search`` is a part of the names.

        The folder of a file is listed for the file itself, whose name is ``file`` then. With ``nearest`` a path that is not
        there, or not allowed, leads to the nearest folder above it, or to the data folder.

        :raises ForbiddenPathError: when it lies outside the allowed folders.
        :raises PathNotFoundError: when it is not there or cannot be read.
        :raises ConfigValueError: when there is no such kind.
        """
        if kind not in KINDS:
            raise ConfigValueError(f"{kind!r} is no kind of file", path="kind", value=kind, expected=", ".join(KINDS))
        folder = self._folder(path, nearest=nearest)
        file = ""
        if os.path.isfile(folder):
            folder, file = folder.parent, folder.name
        try:
            with os.scandir(folder) as found:
                entries = [entry for each in found if (entry := self._entry(each, KINDS[kind], search, hidden=hidden))]
        except OSError as error:
            raise PathNotFoundError(
                f"The folder {folder} cannot be read ({error.strerror})",
                path="path",
                value=path,
                expected="a folder that the panel may read",
                change="choose another folder",
            ) from error
        entries.sort(key=lambda entry: (not entry.folder, _natural(entry.name)))
        return Listing(
            str(folder), self._parent(folder), tuple(entries[:_MOST_ENTRIES]), max(0, len(entries) - _MOST_ENTRIES), file
        )

    def _folder(self, path: str, *, nearest: bool) -> Path:
        if not nearest:
            return self._real(path)
        for wanted in _upwards(path, self._data):
            try:
                real = self._real(str(wanted))
            except ForbiddenPathError:
                break
            if os.path.exists(real):
                return real
        return self._real("")

    def _real(self, path: str) -> Path:
        text = path.strip() or str(self._data)
        if "\0" in text:
            raise ForbiddenPathError(f"The path {text!r} is not allowed", value=text, expected="a path without a zero character")
        try:
            wanted = self._data / Path(text).expanduser()
            return self._guard.resolve(wanted) if self._guard.roots else wanted.resolve()
        except (OSError, RuntimeError) as error:
            raise PathNotFoundError(f"The path {text!r} cannot be followed: {error}", path="path", value=path) from error

    def _parent(self, folder: Path) -> str:
        parent = folder.parent
        inside = not self._guard.roots or any(parent.is_relative_to(root) for root in self._guard.roots)
        return str(parent) if parent != folder and inside else ""

    def _entry(self, found: os.DirEntry[str], endings: frozenset[str] | None, search: str, *, hidden: bool) -> Entry | None:
        name = found.name
        if (name.startswith(".") and not hidden) or search.casefold() not in name.casefold():
            return None
        try:
            folder = found.is_dir()
            if not folder and endings is not None and os.path.splitext(name)[1].lower() not in endings:
                return None
            if not folder and not found.is_file():
                return None
            if found.is_symlink() and self._guard.roots:
                self._guard.resolve(found.path)
            about = found.stat()
        except (OSError, ForbiddenPathError):
            return None  # a link to nowhere or out of the allowed folders
        return Entry(name, found.path, folder, None if folder else about.st_size, about.st_mtime)


def _upwards(path: str, base: Path) -> Iterator[Path]:
    try:
        wanted = base / Path(path.strip() or ".").expanduser()
    except (RuntimeError, ValueError):
        return
    yield wanted
    yield from wanted.parents


def _natural(name: str) -> list[Any]:
    """Sorts ``run 2`` before ``run 10``."""
    return [int(part) if part.isdecimal() else part.casefold() for part in re.split(r"(\d+)", name)]

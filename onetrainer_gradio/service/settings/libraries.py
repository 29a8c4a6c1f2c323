"""Manage additional folders of presets, such as that of a OneTrainer checkout: read-only, stored in the data folder."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.files.documents import read_file
from onetrainer_gradio.config.files.presets import describe, nearest
from onetrainer_gradio.errors import ConfigNotFoundError, ConfigValueError
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.host.path_guard import PathGuard

_MAX_FILES = 1000
_MAX_BYTES = 2_000_000
_MAX_CHARACTERS = 60
# Characters that would make a title part of a path, or of the name of a preset in it.
_UNFIT = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')
# A preset has at least one of these keys; a list of concepts, a theme or a window's position has none.
_KEYS_OF_A_PRESET = frozenset({"model_type", "training_method", "base_model_name", "learning_rate", "optimizer"})


@dataclass(frozen=True)
class Library:
    """A folder whose JSON files are offered as presets named ``title/name of the file``.

    One that isn't ``kept`` belongs to something else (a checkout), is removed with it, and can't be removed otherwise.
    """

    title: str
    folder: Path
    kept: bool = True


@dataclass(frozen=True)
class _Read:
    """The content of a file, valid while the file has this time and size."""

    stamp: tuple[int, int]
    summary: dict[str, Any] | None


class Libraries:
    """The libraries by title, in the order in which they were added. Safe from any thread; reads, never writes into them.

    ``taken`` are titles that no library can have, such as the families of the panel's presets.
    """

    def __init__(self, file: Path, *, roots: Iterable[Path] = (), taken: Iterable[str] = ()) -> None:
        self._file = file
        self._guard = PathGuard(roots)
        self._taken = {title.casefold() for title in taken}
        self._lock = threading.Lock()
        self._known = {library.title: library for library in _remembered(file)}
        self._read: dict[Path, _Read] = {}

    def all(self) -> tuple[Library, ...]:
        """Return every library, even if its folder is currently missing."""
        with self._lock:
            return tuple(self._known.values())

    def add(self, folder: Path | str, title: str = "", *, kept: bool = True) -> Library:
        """Add a folder of presets; adding an existing library changes nothing.

        Without ``kept``, it is removed at the end of the process: for a folder that another setting defines.

        :raises ConfigValueError: if the folder doesn't exist, or the title is invalid.
        :raises StorageError: if the list can't be written.
        :raises ForbiddenPathError: if it is outside the allowed folders.
        """
        place = self._folder(folder) if kept else Path(folder)  # another setting that names it allows it
        with self._lock:
            known = next((library for library in self._known.values() if library.folder == place), None)
            if known is not None:
                return known
            library = Library(self._free(_clean(title) or _title_of(place)), place, kept)
            self._change({**self._known, library.title: library}, write=kept)
        return library

    def remove(self, title: str) -> None:
        """Remove a library; its files stay.

        :raises ConfigNotFoundError: if there is none with this title.
        :raises ConfigValueError: if it belongs to something else, such as a checkout.
        """
        with self._lock:
            if title not in self._known:
                raise ConfigNotFoundError(
                    f"The preset library {title!r} doesn't exist", value=title, expected=nearest(title, self._known)
                )
            if not self._known[title].kept:
                raise ConfigValueError(
                    f"The preset library {title!r} belongs to a OneTrainer installation.",
                    value=title,
                    suggestion="Remove the installation on the System tab.",
                )
            self._change(self._without(title), write=True)

    def withdraw(self, title: str) -> None:
        """Remove the library of something that no longer exists; do nothing if there is no such library."""
        with self._lock:
            if title in self._known and not self._known[title].kept:
                self._change(self._without(title), write=False)

    def _without(self, title: str) -> dict[str, Library]:
        return {known: library for known, library in self._known.items() if known != title}

    def files(self) -> dict[str, Path]:
        """Return the presets of all libraries by name, in order."""
        return {_name(library, path): path for library in self.all() for path in _files_of(library.folder)}

    def presets(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return name and summary of each preset; files that aren't presets are ignored."""
        for library in self.all():
            for path in _files_of(library.folder):
                summary = self._summary(path)
                if summary is not None:
                    yield _name(library, path), {**summary, "family": library.title}

    def read(self, name: str) -> dict[str, Any]:
        """Return the document of a preset.

        :raises ConfigNotFoundError: if there is none with this name.
        :raises ConfigFileError: if its file isn't a configuration.
        """
        files = self.files()
        if name not in files:
            raise ConfigNotFoundError(
                f"The preset {name!r} doesn't exist in any library", value=name, expected=nearest(name, files)
            )
        return read_file(files[name])

    def _folder(self, folder: Path | str) -> Path:
        text = str(folder).strip()
        place = self._guard.resolve(text) if self._guard.roots else _resolved(text)
        if not text or place is None or not os.path.isdir(place):
            raise ConfigValueError(
                f"The folder {text!r} doesn't exist" if text else "No folder is set",
                path="folder",
                value=text,
                expected="a folder with OneTrainer's presets (JSON files)",
                suggestion="Choose OneTrainer's folder training_presets or a folder with your own presets.",
            )
        return place

    def _free(self, title: str) -> str:
        """Return the title, with a number if it exists."""
        used = self._taken | {known.casefold() for known in self._known}
        number = 1
        free = title
        while free.casefold() in used:
            number += 1
            free = f"{title} {number}"
        return free

    def _change(self, known: dict[str, Library], *, write: bool) -> None:
        """Replace the libraries; the lock is held. If the list can't be written, nothing changes."""
        if write:
            kept = [{"title": library.title, "folder": str(library.folder)} for library in known.values() if library.kept]
            with raising_storage_error("the list of preset libraries"):
                write_json(self._file, {"libraries": kept})
        self._known = known

    def _summary(self, path: Path) -> dict[str, Any] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        stamp = (found.st_mtime_ns, found.st_size)
        known = self._read.get(path)
        if known is None or known.stamp != stamp:
            known = self._read[path] = _Read(stamp, _about(path) if found.st_size <= _MAX_BYTES else None)
        return known.summary


def as_dict(library: Library, count: int) -> dict[str, Any]:
    """Return a library as a JSON object; ``count`` is the number of its presets."""
    present = os.path.isdir(library.folder)
    return asdict(library) | {"folder": str(library.folder), "present": present, "presets": count}


def _remembered(file: Path) -> Iterator[Library]:
    kept = read_json(file)
    entries = kept.get("libraries") if isinstance(kept, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("title"), str) and isinstance(entry.get("folder"), str):
            yield Library(entry["title"], Path(entry["folder"]))


def _resolved(text: str) -> Path | None:
    try:
        return Path(text).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        return None


def _clean(title: str) -> str:
    return _UNFIT.sub(" ", title).strip(" .")[:_MAX_CHARACTERS].strip(" .")


def _title_of(folder: Path) -> str:
    """Return the title of a folder: a checkout's folder of presets is named after the checkout, any other after itself."""
    inside = folder.name in {"training_presets", "presets", "configs"} and folder.parent.name
    return _clean(inside or folder.name) or "Library"


def _name(library: Library, path: Path) -> str:
    return f"{library.title}/{path.relative_to(library.folder).with_suffix('').as_posix()}"


def _files_of(folder: Path) -> list[Path]:
    """Return the JSON files of a folder (OneTrainer's is a tree), including those with its number sign."""
    try:
        pattern = "**/*.json" if folder.name == "training_presets" else "*.json"
        found = [path for path in folder.glob(pattern) if not path.name.startswith(".") and path.is_file()]
    except OSError:
        return []
    return sorted(found, key=lambda path: path.name.lstrip("#").lower())[:_MAX_FILES]


def _about(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        return {"note": f"Can't read this file: {error}"}
    if not isinstance(document, dict) or not _KEYS_OF_A_PRESET & document.keys():
        return None
    return {**describe(document)}

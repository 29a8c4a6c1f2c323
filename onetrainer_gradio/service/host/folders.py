"""List the folders of this machine for the file picker: inside the allowed folders, folders first.

It can create a folder for the output of a setting.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.config.files.presets import PLACEHOLDERS
from onetrainer_gradio.errors import ConfigValueError, ForbiddenPathError, PathExistsError, PathNotFoundError
from onetrainer_gradio.service.host.atomic import raising_storage_error
from onetrainer_gradio.service.host.path_guard import PathGuard

_MAX_ENTRIES = 1000
_MAX_THUMBNAILS = 12
_MAY_NOT = (errno.EACCES, errno.EPERM, errno.EROFS)
_LONGEST_NAME = 255  # bytes, on every file system in use
# What separates the parts of a path somewhere, or cannot stand in a name somewhere: folders are shared between machines.
_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
_NAME = 'a name without / \\ : * ? " < > |, not starting or ending with a dot'
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jxl", ".gif"})

# kind of path -> extensions of the files that are shown; empty: none, None: all
KINDS: Mapping[str, frozenset[str] | None] = MappingProxyType(
    {
        "any": None,
        "folder": frozenset(),
        "model": frozenset({".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf"}),
        "image": _IMAGES,
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
    """The content of a folder. ``parent`` is empty if there is none to open; ``left_out`` counts the omitted entries.

    ``images`` counts the images in it, regardless of ``kind``, ``first_images`` are the paths of the first ones, and
    ``other_files`` counts the files of other kinds.
    """

    path: str
    parent: str
    entries: tuple[Entry, ...]
    left_out: int
    file: str
    images: int = 0
    first_images: tuple[str, ...] = ()
    other_files: int = 0


class FolderBrowser:
    """List and create folders; with ``roots``, only inside of them, with links resolved."""

    def __init__(self, data_folder: Path, roots: Iterable[Path] = ()) -> None:
        self._data = data_folder
        self._guard = PathGuard(roots)

    def places(self) -> list[dict[str, str]]:
        """Return the start folders: the data folder, and the allowed folders or the home and root folder."""
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
        """Return the folder at a path (relative: in the data folder), with folders first; ``search`` filters the names.

        For a file, its folder is listed, and ``file`` is its name. With ``nearest``, a path that doesn't exist or isn't allowed
        is replaced by its nearest parent, or by the data folder.

        :raises ForbiddenPathError: if it is outside the allowed folders.
        :raises PathNotFoundError: if it doesn't exist or can't be read.
        :raises ConfigValueError: if the kind doesn't exist.
        """
        if kind not in KINDS:
            raise ConfigValueError(f"{kind!r} isn't a kind of file", path="kind", value=kind, expected=", ".join(KINDS))
        folder = self._folder(path, nearest=nearest)
        file = ""
        if os.path.isfile(folder):
            folder, file = folder.parent, folder.name
        try:
            with os.scandir(folder) as found:
                seen = [each for each in found if (hidden or not each.name.startswith(".")) and self._may_see(each)]
                entries = [entry for each in seen if _fits(each, KINDS[kind], search) and (entry := _entry(each))]
        except OSError as error:
            raise PathNotFoundError(
                f"Can't read the folder {folder}: {error.strerror}",
                path="path",
                value=path,
                expected="a folder that the panel can read",
                suggestion="Choose another folder.",
            ) from error
        entries.sort(key=lambda entry: (not entry.folder, _natural(entry.name)))
        files = [each for each in seen if not each.is_dir()]
        images = sorted((each.path for each in files if _ending(each.name) in _IMAGES), key=_natural)
        return Listing(
            path=str(folder),
            parent=self._parent(folder),
            entries=tuple(entries[:_MAX_ENTRIES]),
            left_out=max(0, len(entries) - _MAX_ENTRIES),
            file=file,
            images=len(images),
            first_images=tuple(images[:_MAX_THUMBNAILS]),
            other_files=len(files) - len(images),
        )

    def make(self, path: str, name: str) -> Path:
        """Create a folder in the folder at a path (relative: in the data folder). Return its path.

        Only the last part is created, and nothing is ever replaced.

        :raises ForbiddenPathError: if the folder is outside the allowed ones, or can't be written.
        :raises PathNotFoundError: if the folder doesn't exist.
        :raises PathExistsError: if the name already exists in it.
        :raises ConfigValueError: if the name is invalid.
        :raises StorageError: if it can't be created, for example on a full disk.
        """
        name = _checked(name)
        folder = self._real(path)
        if not os.path.isdir(folder):
            raise PathNotFoundError(
                f"The folder {folder} doesn't exist",
                path="path",
                value=path,
                expected="an existing folder",
                suggestion="Choose another folder.",
            )
        if any(folder.is_relative_to(own.resolve()) for own in PLACEHOLDERS.values()):
            raise ForbiddenPathError(
                f"The folder {folder} is reserved for the panel", path="path", value=path, suggestion="Choose another folder."
            )
        made = folder / name
        with raising_storage_error(f"the folder {made}"):
            try:
                made.mkdir()
            except FileExistsError as error:
                raise PathExistsError(
                    f"A {'folder' if os.path.isdir(made) else 'file'} {name!r} already exists in {folder}",
                    path="name",
                    value=name,
                    expected="an unused name",
                    suggestion="Choose another name.",
                ) from error
            except OSError as error:
                if error.errno not in _MAY_NOT:
                    raise
                raise ForbiddenPathError(
                    f"Can't write to {folder}: {error.strerror}",
                    path="path",
                    value=path,
                    expected="a folder that the panel can write to",
                    suggestion="Choose another folder.",
                ) from error
        return made

    def _folder(self, path: str, *, nearest: bool) -> Path:
        if not nearest:
            return self._real(path)
        for wanted in _upwards(path, self._data):
            if not os.path.lexists(wanted):  # resolving it would access each part of the path
                continue
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
            if self._guard.roots:
                return self._guard.resolve(text if text.startswith("~") else self._data / text)
            return (self._data / Path(text).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise PathNotFoundError(f"Can't resolve the path {text!r}: {error}", path="path", value=path) from error

    def _parent(self, folder: Path) -> str:
        parent = folder.parent
        inside = not self._guard.roots or any(parent.is_relative_to(root) for root in self._guard.roots)
        return str(parent) if parent != folder and inside else ""

    def _may_see(self, found: os.DirEntry[str]) -> bool:
        """Return whether it is a file or folder, and not a broken link or a link out of the allowed folders."""
        try:
            if found.is_symlink() and self._guard.roots:
                self._guard.resolve(found.path)
            return found.is_dir() or found.is_file()
        except (OSError, ForbiddenPathError):
            return False


def _fits(found: os.DirEntry[str], endings: frozenset[str] | None, search: str) -> bool:
    named = search.casefold() in found.name.casefold()
    return named and (endings is None or found.is_dir() or _ending(found.name) in endings)


def _entry(found: os.DirEntry[str]) -> Entry | None:
    try:
        about, folder = found.stat(), found.is_dir()
    except OSError:
        return None  # it was removed meanwhile
    return Entry(found.name, found.path, folder, None if folder else about.st_size, about.st_mtime)


def _checked(name: str) -> str:
    """Return the name without surrounding whitespace.

    :raises ConfigValueError: if it is not a valid or useful name of a folder.
    """
    text = name.strip()
    try:
        fits = 0 < len(os.fsencode(text)) <= _LONGEST_NAME
    except UnicodeEncodeError:
        fits = False
    if not fits or _NOT_IN_NAMES.search(text) or text.startswith(".") or text.endswith("."):
        raise ConfigValueError(
            f"{text[:_LONGEST_NAME]!r} isn't a valid folder name" if text else "The name of the new folder is empty",
            path="name",
            value=name,
            expected=_NAME if len(text) <= _LONGEST_NAME else f"a name of at most {_LONGEST_NAME} bytes",
            suggestion="Choose another name.",
        )
    return text


def _upwards(path: str, base: Path) -> Iterator[Path]:
    try:
        wanted = base / Path(path.strip() or ".").expanduser()
    except (RuntimeError, ValueError):
        return
    yield wanted
    yield from wanted.parents


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _natural(name: str) -> list[Any]:
    """Return the sort key that puts ``run 2`` before ``run 10``."""
    return [int(part) if part.isdecimal() else part.casefold() for part in re.split(r"(\d+)", name)]

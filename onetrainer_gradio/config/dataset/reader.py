"""Read folders, image sizes and captions within a time limit, and cache the results until a file changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from onetrainer_gradio.config.dataset.captions import Text, UnreadableTextError, read_text
from onetrainer_gradio.config.dataset.files import Folder, scan_folder
from onetrainer_gradio.config.dataset.images import Size, size_of

_MAX_REMEMBERED = 500_000
Found = TypeVar("Found")
_Version = tuple[int, int]


@dataclass(frozen=True)
class Sizes:
    """Sizes (height, width) of the images read in time, those that are broken with the reason, and whether time ran out."""

    sizes: tuple[Size, ...] = ()
    broken: tuple[tuple[Path, str], ...] = ()
    complete: bool = True


@dataclass(frozen=True)
class Captions:
    """The caption files of a folder that were read in time; ``unreadable`` are those that aren't text, with the reason."""

    texts: tuple[tuple[Path, Text], ...] = ()
    unreadable: tuple[tuple[Path, str], ...] = ()
    complete: bool = True

    @property
    def empty(self) -> tuple[Path, ...]:
        """Return the files without a caption."""
        return tuple(path for path, text in self.texts if not text.lines)

    @property
    def converted(self) -> tuple[tuple[Path, Text], ...]:
        """Return the files that aren't in UTF-8."""
        return tuple((path, text) for path, text in self.texts if text.encoding != "utf-8")


@dataclass
class Memory:
    """The cached content of files, each until it changes; can be shared by readers in several threads."""

    sizes: dict[Path, tuple[_Version, Size | str]] = field(default_factory=dict, repr=False)
    texts: dict[Path, tuple[_Version, Text | str]] = field(default_factory=dict, repr=False)


@dataclass
class ImageSizeReader:
    """Read folders, image sizes and captions for at most ``limit_s`` seconds in total; ``renew`` restarts the limit.

    A folder is scanned once between two calls of ``rescan``, regardless of how many concepts use it.
    """

    limit_s: float = 2.0
    clock: Callable[[], float] = time.monotonic
    memory: Memory = field(default_factory=Memory, repr=False)
    _folders: dict[tuple[Path, bool, bool, tuple[Path, ...]], Folder] = field(default_factory=dict, repr=False)
    _sizes: dict[int, tuple[Sequence[Path], Sizes]] = field(default_factory=dict, repr=False)
    _captions: dict[int, tuple[Sequence[Path], Captions]] = field(default_factory=dict, repr=False)
    _spent_s: float = 0.0

    def renew(self) -> None:
        """Restart the time limit; folders are scanned again."""
        self._spent_s = 0.0
        self.rescan()

    def rescan(self) -> None:
        """Scan folders again at the next request; the cache of unchanged files stays."""
        self._folders.clear()
        self._sizes.clear()
        self._captions.clear()

    def scan_folder(self, folder: Path, with_subfolders: bool, *, videos: bool = False, roots: Sequence[Path] = ()) -> Folder:
        """Return the files of a concept's folder, within the time limit."""
        key = (folder, with_subfolders, videos, tuple(roots))
        known = self._folders.get(key)
        if known is None:
            started = self.clock()
            left = self.limit_s - self._spent_s
            known = scan_folder(
                folder, with_subfolders, videos=videos, roots=roots, time_left=lambda: self.clock() - started <= left
            )
            self._spent_s += self.clock() - started
            if known.complete:
                self._folders[key] = known
        return known

    def read(self, images: Sequence[Path]) -> Sizes:
        """Return training sizes, within the time limit."""
        # by identity: concepts that share a folder share its list of files
        known = self._sizes.get(id(images))
        if known is None:
            known = (images, self._read_sizes(images))
            if known[1].complete:
                self._sizes[id(images)] = known
        return known[1]

    def read_captions(self, files: Sequence[Path]) -> Captions:
        """Return the caption files, within the time limit."""
        known = self._captions.get(id(files))
        if known is None:
            known = (files, self._read_captions(files))
            if known[1].complete:
                self._captions[id(files)] = known
        return known[1]

    def _read_sizes(self, images: Sequence[Path]) -> Sizes:
        sizes: list[Size] = []
        broken: list[tuple[Path, str]] = []
        started = self.clock()
        complete = True
        for path in images:
            if self._spent_s + self.clock() - started > self.limit_s:
                complete = False
                break
            found = _remembered(path, self.memory.sizes, size_of)
            if isinstance(found, str):
                broken.append((path, found))
            else:
                sizes.append(found)
        self._spent_s += self.clock() - started
        return Sizes(tuple(sizes), tuple(broken), complete)

    def _read_captions(self, files: Sequence[Path]) -> Captions:
        texts: list[tuple[Path, Text]] = []
        unreadable: list[tuple[Path, str]] = []
        started = self.clock()
        complete = True
        for path in files:
            if self._spent_s + self.clock() - started > self.limit_s:
                complete = False
                break
            found = _remembered(path, self.memory.texts, _text_of)
            if isinstance(found, str):
                unreadable.append((path, found))
            else:
                texts.append((path, found))
        self._spent_s += self.clock() - started
        return Captions(tuple(texts), tuple(unreadable), complete)


def _remembered(path: Path, memory: dict[Path, tuple[_Version, Found | str]], read: Callable[[Path], Found | str]) -> Found | str:
    try:
        status = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    version = (status.st_mtime_ns, status.st_size)
    known = memory.get(path)
    if known is None or known[0] != version:
        if len(memory) >= _MAX_REMEMBERED:
            memory.clear()
        known = memory[path] = (version, read(path))
    return known[1]


def _text_of(path: Path) -> Text | str:
    try:
        return read_text(path)
    except UnreadableTextError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)

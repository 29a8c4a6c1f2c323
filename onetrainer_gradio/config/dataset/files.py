"""Scan the folder of a concept: the files to train on, their captions, and the skipped files with reasons."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

IMAGE_SUFFIXES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif"})
VIDEO_SUFFIXES = frozenset({".webm", ".mkv", ".flv", ".avi", ".mov", ".wmv", ".mp4", ".mpeg", ".m4v"})
_PHOTOS = "3fr arw cr2 cr3 dng gif heic heif hif jfi jfif jif jpe jpg_large jxl nef orf raf raw rw2"
_OTHERS = "apng exr hdr ico j2k jp2 jpf jpx jxr pbm pcx pgm pnm ppm psb psd qoi svg tga xcf"
OTHER_SUFFIXES = frozenset(f".{name}" for name in f"{_PHOTOS} {_OTHERS}".split())
"""Images in formats that neither the engine nor OneTrainer trains."""
MASK, CONDITION = "-masklabel", "-condlabel"
EXTRA_SUFFIX = ".png"
"""The only format of masks and conditioning images."""
CAPTION_SUFFIX = ".txt"

# files between two checks of the remaining time
_ASK_EVERY = 256


class Skipped(NamedTuple):
    """A file or folder that isn't used, with the reason; ``outside`` when a link leads out of the allowed folders."""

    path: Path
    reason: str
    outside: bool = False


@dataclass(frozen=True)
class Folder:
    """The files of a concept: images and videos to train on, and the captions and masks next to them.

    ``items`` are in OneTrainer's order, sorted by their whole path. ``captions`` maps a path without suffix to its caption file.
    ``other_formats`` are images and videos that aren't trained because of their format. ``complete`` is False if there was no
    time to read all files. ``extras`` are the paths of masks and conditioning images.
    """

    items: tuple[Path, ...] = ()
    without_caption: tuple[Path, ...] = ()
    masks: int = 0
    conditions: int = 0
    complete: bool = True
    captions: Mapping[str, Path] = field(default_factory=dict)
    other_formats: tuple[Path, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    extras: frozenset[str] = frozenset()

    @cached_property
    def images(self) -> tuple[Path, ...]:
        """Return the items that are images."""
        return tuple(item for item in self.items if os.path.splitext(item.name)[1].lower() in IMAGE_SUFFIXES)

    def caption_of(self, item: Path) -> Path | None:
        """Return the caption file of an item."""
        return self.captions.get(_stem(str(item)))

    def extra_of(self, item: Path, kind: str) -> Path | None:
        """Return the mask (``MASK``) or conditioning image (``CONDITION``) of an item."""
        path = f"{_stem(str(item))}{kind}{EXTRA_SUFFIX}"
        return Path(path) if path in self.extras else None

    @cached_property
    def caption_files(self) -> tuple[Path, ...]:
        """Return the caption files of all items, each once, in the order of the items."""
        found = (self.caption_of(item) for item in self.items)
        return tuple(dict.fromkeys(path for path in found if path is not None))


def scan_folder(
    folder: Path,
    with_subfolders: bool,
    *,
    videos: bool = False,
    roots: Sequence[Path] = (),
    time_left: Callable[[], bool] = lambda: True,
) -> Folder:
    """Scan the folder of a concept; ``time_left`` is called regularly and can end the scan.

    Files and folders whose name begins with a dot are ignored. A folder is entered once, by its own path before any link to it.
    With ``roots``, links that lead out of them are skipped. A folder that can't be read is empty here; that is another finding.
    """
    trained = IMAGE_SUFFIXES | VIDEO_SUFFIXES if videos else IMAGE_SUFFIXES
    unused = OTHER_SUFFIXES if videos else OTHER_SUFFIXES | VIDEO_SUFFIXES
    items: list[str] = []
    others: list[str] = []
    captions: dict[str, str] = {}
    skipped: list[Skipped] = []
    extras: set[str] = set()
    masks = conditions = 0
    complete = True
    for number, path in enumerate(_files(str(folder), with_subfolders, _Boundary(roots), skipped)):
        if number % _ASK_EVERY == 0 and not time_left():
            complete = False
            break
        stem, suffix = os.path.splitext(path)
        lower = suffix.lower()
        if lower == CAPTION_SUFFIX:
            # on a case-sensitive file system, OneTrainer's own spelling comes first
            captions[stem] = min(path, captions.get(stem, path), key=lambda name: (not name.endswith(CAPTION_SUFFIX), name))
        elif lower in trained:
            if not stem.endswith((MASK, CONDITION)):
                items.append(path)
                continue
            masks += stem.endswith(MASK)
            conditions += stem.endswith(CONDITION)
            if suffix == EXTRA_SUFFIX:
                extras.add(path)
        elif lower in unused:
            others.append(path)
    items.sort()
    stems = {_stem(path) for path in items}
    return Folder(
        items=tuple(map(Path, items)),
        without_caption=tuple(Path(path) for path in items if _stem(path) not in captions),
        masks=masks,
        conditions=conditions,
        complete=complete,
        captions={stem: Path(path) for stem, path in captions.items() if stem in stems},
        other_formats=tuple(Path(path) for path in sorted(others) if _stem(path) not in stems),
        skipped=tuple(sorted(skipped)),
        extras=frozenset(extras),
    )


def shown(path: str | Path) -> str:
    """Return a path as text that can be stored and sent, even if its name isn't valid UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def is_inside(path: Path, roots: Sequence[Path]) -> bool:
    """Return whether a path, with links resolved, is in one of the resolved folders ``roots``; True without roots."""
    if not roots:
        return True
    try:
        place = path.resolve()
    except (OSError, RuntimeError, ValueError):  # a cycle of links, or an invalid path
        return False
    return any(place.is_relative_to(root) for root in roots)


def has_folders(folder: Path) -> bool:
    """Return whether a folder has subfolders."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_dir() for entry in entries)
    except OSError:
        return False


def is_empty(path: Path) -> bool:
    """Return whether a file exists and is empty."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return False


@dataclass(frozen=True)
class _Boundary:
    """Where links may lead."""

    roots: Sequence[Path]

    def allows(self, path: str, *, link: bool) -> bool:
        """Return whether a path may be used, depending on whether it is a link."""
        return not (link and self.roots) or is_inside(Path(path), self.roots)


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]


def _files(folder: str, with_subfolders: bool, boundary: _Boundary, skipped: list[Skipped]) -> Iterator[str]:
    """Yield the path of every file that may be used."""
    own, linked = deque([folder]), deque[str]()
    entered: set[tuple[int, int]] = set()
    while own or linked:
        here = own.popleft() if own else linked.popleft()
        try:
            place = os.stat(here)
            if (place.st_dev, place.st_ino) in entered:
                continue
            entered.add((place.st_dev, place.st_ino))
            with os.scandir(here) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            if here != folder:
                skipped.append(Skipped(Path(here), f"the folder can't be read: {error.strerror or error}"))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            kind, link = _kind(entry, skipped)
            if kind == "folder" and with_subfolders and _usable(entry, boundary, link, skipped):
                (linked if link else own).append(entry.path)
            elif kind == "file" and _of_interest(entry.name) and _usable(entry, boundary, link, skipped):
                yield entry.path


def _kind(entry: os.DirEntry[str], skipped: list[Skipped]) -> tuple[str, bool]:
    """Return whether an entry is a file, a folder or neither, and whether it is a link."""
    try:
        link = entry.is_symlink()
        if entry.is_file():
            return "file", link
        if entry.is_dir():
            return "folder", link
        if link and _of_interest(entry.name):
            entry.stat()
    except OSError as error:  # a link to nothing, or a circle of links
        if _of_interest(entry.name) or not os.path.splitext(entry.name)[1]:
            skipped.append(Skipped(Path(entry.path), f"the link can't be followed: {error.strerror or error}"))
    return "", False


def _of_interest(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return suffix in IMAGE_SUFFIXES or suffix == CAPTION_SUFFIX or suffix in VIDEO_SUFFIXES or suffix in OTHER_SUFFIXES


def _usable(entry: os.DirEntry[str], boundary: _Boundary, link: bool, skipped: list[Skipped]) -> bool:
    if not boundary.allows(entry.path, link=link):
        skipped.append(Skipped(Path(entry.path), "the link leads outside the allowed folders", outside=True))
    elif not _is_text(entry.name):
        skipped.append(Skipped(Path(entry.path), "the name isn't valid UTF-8"))
    else:
        return True
    return False


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

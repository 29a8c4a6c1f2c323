"""What can be told of a folder of pictures without decoding one: files, captions, masks, sizes from the file headers."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Size = tuple[int, int]

PICTURE_SUFFIXES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif"})
VIDEO_SUFFIXES = frozenset({".webm", ".mkv", ".flv", ".avi", ".mov", ".wmv", ".mp4", ".mpeg", ".m4v"})
MASK, CONDITION = "-masklabel", "-condlabel"

# Files between two looks at the clock.
_ASK_EVERY = 256

_ORIENTATION = 0x0112
_TURNED = frozenset({5, 6, 7, 8})


@dataclass(frozen=True)
class Folder:
    """The files of a concept: pictures and videos to learn from, and the captions and masks that stand beside them.

    ``complete`` is False when there was no time to look at all of them.
    """

    items: tuple[Path, ...] = ()
    without_caption: tuple[Path, ...] = ()
    empty_captions: tuple[Path, ...] = ()
    masks: int = 0
    conditions: int = 0
    complete: bool = True

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The items that are pictures."""
        return tuple(item for item in self.items if item.suffix.lower() in PICTURE_SUFFIXES)


@dataclass(frozen=True)
class Sizes:
    """Sizes (height, width) of the pictures read in time, those whose header cannot be read, and whether time ran out."""

    sizes: tuple[Size, ...] = ()
    broken: tuple[tuple[Path, str], ...] = ()
    complete: bool = True


def pictures_in(folder: Path, with_subfolders: bool) -> list[Path]:
    """The picture files of a concept's folder, sorted; masks and conditioning pictures are no pictures of their own."""
    return list(look_into(folder, with_subfolders).pictures)


def look_into(
    folder: Path, with_subfolders: bool, *, videos: bool = False, time_left: Callable[[], bool] = lambda: True
) -> Folder:
    """The files of a concept's folder; ``time_left`` is asked now and then, and ends the look when it says no.

    A folder that cannot be read is empty here; that it cannot be read is another finding.
    """
    suffixes = PICTURE_SUFFIXES | VIDEO_SUFFIXES if videos else PICTURE_SUFFIXES
    items: list[Path] = []
    captions: dict[Path, Path] = {}
    masks = conditions = 0
    complete = True
    for number, path in enumerate(_files(folder, with_subfolders)):
        if number % _ASK_EVERY == 0 and not time_left():
            complete = False
            break
        suffix = path.suffix.lower()
        if suffix == ".txt":
            captions[path.with_suffix("")] = path
        elif suffix in suffixes:
            if path.stem.endswith(MASK):
                masks += 1
            elif path.stem.endswith(CONDITION):
                conditions += 1
            else:
                items.append(path)
    items.sort()
    without = tuple(item for item in items if item.with_suffix("") not in captions)
    own = (captions[item.with_suffix("")] for item in items if item.with_suffix("") in captions)
    empty = tuple(path for path in own if complete and is_empty(path))
    return Folder(tuple(items), without, empty, masks, conditions, complete)


def _files(folder: Path, with_subfolders: bool) -> Iterator[Path]:
    """Every file, folders that are linked in included; a folder is entered once."""
    waiting, entered = [folder], set()
    while waiting:
        here = waiting.pop()
        try:
            place = here.stat()
            if (place.st_dev, place.st_ino) in entered:
                continue
            entered.add((place.st_dev, place.st_ino))
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_file():
                        yield here / entry.name
                    elif with_subfolders and entry.is_dir():
                        waiting.append(here / entry.name)
        except OSError:
            continue


def has_folders(folder: Path) -> bool:
    """Whether there are folders in a folder."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_dir() for entry in entries)
    except OSError:
        return False


def is_empty(path: Path) -> bool:
    """Whether a file is there and holds nothing."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return False


@dataclass
class PictureReader:
    """Looks into folders and reads the sizes of pictures from their headers, for at most ``limit_s`` seconds over its life.

    What it has read of a file holds until the file changes, so a reader that is kept makes the next look cheap; ``renew`` gives
    it new time.
    """

    limit_s: float = 2.0
    clock: Callable[[], float] = time.monotonic
    _known: dict[Path, tuple[tuple[int, int], Size | str]] = field(default_factory=dict, repr=False)
    _spent_s: float = 0.0

    def renew(self) -> None:
        """Give the reader its time again."""
        self._spent_s = 0.0

    def look_into(self, folder: Path, with_subfolders: bool, *, videos: bool = False) -> Folder:
        """The files of a concept's folder, as far as there is time."""
        started = self.clock()
        left = self.limit_s - self._spent_s
        found = look_into(folder, with_subfolders, videos=videos, time_left=lambda: self.clock() - started <= left)
        self._spent_s += self.clock() - started
        return found

    def read(self, pictures: Sequence[Path]) -> Sizes:
        """Sizes as they are trained (turned as the camera says)."""
        sizes: list[Size] = []
        broken: list[tuple[Path, str]] = []
        started = self.clock()
        complete = True
        for path in pictures:
            if self._spent_s + self.clock() - started > self.limit_s:
                complete = False
                break
            found = self._header(path)
            if isinstance(found, str):
                broken.append((path, found))
            else:
                sizes.append(found)
        self._spent_s += self.clock() - started
        return Sizes(tuple(sizes), tuple(broken), complete)

    def _header(self, path: Path) -> Size | str:
        try:
            stat = path.stat()
        except OSError as error:
            return str(error.strerror or error)
        version = (stat.st_mtime_ns, stat.st_size)
        known = self._known.get(path)
        if known is None or known[0] != version:
            known = self._known[path] = (version, size_of(path))
        return known[1]


def size_of(path: Path) -> Size | str:
    """Height and width of a picture from its header, or what is wrong with the file."""
    from PIL import Image, UnidentifiedImageError  # a panel that looks at no pictures does without it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a picture of enormous size is a size here, not a danger: nothing is decoded
            with Image.open(path) as picture:
                width, height = picture.size
                turned = picture.getexif().get(_ORIENTATION) in _TURNED
    except Image.DecompressionBombError:
        return "it is too large to be opened safely"
    except (OSError, SyntaxError, ValueError) as error:
        return "it is no readable picture" if isinstance(error, UnidentifiedImageError) else str(error)
    return (width, height) if turned else (height, width)

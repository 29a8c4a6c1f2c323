"""List the images of a dataset in pages, filtered and sorted; what a list doesn't need isn't read from the files."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from onetrainer_gradio.config.dataset.caption_augmentation import tags_of
from onetrainer_gradio.config.dataset.captions import MAX_BYTES, UTF_8, UnreadableTextError, decode_text, split_lines
from onetrainer_gradio.config.dataset.files import CONDITION, MASK, Folder, scan_folder
from onetrainer_gradio.config.dataset.images import Size, size_of
from onetrainer_gradio.errors import ConfigValueError, PathNotFoundError
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.datasets.thumbnails import Thumbnails

EXCLUDED = ".excluded"
"""Folder in a dataset with images that aren't trained on. Neither this engine nor OneTrainer enters hidden folders."""
MAX_PER_PAGE = 500
MAX_SELECTED = 200_000

_SCAN_S = 1.0
_READING_S = 1.0
_MAX_FOLDERS = 8
_MAX_WATCHED = 500
_SETTLED_NS = 2_000_000_000
_MAX_FACTS = 500_000
_SHOWN_LETTERS = 4000
_SQUARE = 1.05
Found = TypeVar("Found")


class CaptionFile(NamedTuple):
    """The caption of an image: its text, the version of the file (empty without one), encoding, or why it is unreadable."""

    text: str = ""
    version: str = ""
    encoding: str = UTF_8
    problem: str = ""


NO_CAPTION = CaptionFile()


@dataclass(frozen=True)
class Row:
    """An image of a dataset, with what was needed of its files."""

    path: str
    file: Path
    caption_file: Path | None
    mask: Path | None
    condition: Path | None
    status: os.stat_result | None = None
    size: Size | str | None = None
    caption: CaptionFile = NO_CAPTION


@dataclass(frozen=True)
class Query:
    """Which images to list, in which order; empty values select all.

    ``search`` is text in the caption or the name, ``tag`` an exact tag, ``caption`` is ``missing`` or ``present``, ``masked`` is
    ``yes`` or ``no``, ``aspect`` one of ``ASPECTS``, ``smaller_than`` a limit of the shorter side in pixels, ``among`` selects
    only these paths, such as duplicates.
    """

    search: str = ""
    tag: str = ""
    caption: str = ""
    masked: str = ""
    aspect: str = ""
    smaller_than: int = 0
    broken: bool = False
    among: Collection[str] | None = None
    sort: str = "name"
    subfolders: bool = True
    excluded: bool = False


ASPECTS: Mapping[str, Callable[[float], bool]] = MappingProxyType(
    {
        "portrait": lambda aspect: aspect > _SQUARE,
        "landscape": lambda aspect: aspect < 1 / _SQUARE,
        "square": lambda aspect: 1 / _SQUARE <= aspect <= _SQUARE,
    }
)
"""Height divided by width of the images of each kind."""


def _pixels(row: Row) -> float:
    return row.size[0] * row.size[1] if isinstance(row.size, tuple) else 0


def _aspect(row: Row) -> float:
    return row.size[0] / row.size[1] if isinstance(row.size, tuple) else 0.0


SORTS: Mapping[str, Callable[[Row], Any]] = MappingProxyType(
    {
        "name": lambda row: natural(row.path),
        "modified": lambda row: row.status.st_mtime if row.status else 0.0,
        "bytes": lambda row: row.status.st_size if row.status else 0,
        "pixels": _pixels,
        "aspect": _aspect,
        "caption": lambda row: row.caption.text.casefold(),
        "words": lambda row: len(row.caption.text.split()),
    }
)
_NEEDS_SIZE, _NEEDS_CAPTION, _NEEDS_STATUS = {"pixels", "aspect"}, {"caption", "words"}, {"modified", "bytes"}


@dataclass
class _Scan:
    """The images of a folder, when it was scanned, and the times at which its folders were changed last."""

    at: float
    rows: list[Row]
    changed_ns: dict[Path, int] = field(default_factory=dict)

    def is_current(self) -> bool:
        """Return whether no file was added, removed or renamed since."""
        return bool(self.changed_ns) and all(_changed_ns(folder) == at for folder, at in self.changed_ns.items())


@dataclass
class ImageIndex:
    """The images of the datasets that were looked at, until a file changes. Safe from any thread."""

    library: DatasetLibrary
    thumbnails: Thumbnails
    clock: Callable[[], float] = time.monotonic
    _scans: OrderedDict[tuple[Path, bool, bool], _Scan] = field(default_factory=OrderedDict)
    _sizes: OrderedDict[Path, tuple[tuple[int, int], Size | str]] = field(default_factory=OrderedDict)
    _captions: OrderedDict[Path, tuple[tuple[int, int], CaptionFile]] = field(default_factory=OrderedDict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def page(self, folder: str, query: Query, offset: int = 0, limit: int = 100) -> dict[str, Any]:
        """Return ``images`` from ``offset`` on, ``matches`` of ``total``.

        ``complete`` is False if reading all captions or sizes takes longer; the next call continues.

        :raises PathNotFoundError: if the folder doesn't exist.
        :raises ConfigValueError: if a value of the query isn't one of its choices.
        """
        place = self.library.resolve(folder)
        self.thumbnails.prepare()
        with self._lock:
            total = len(self._scan(place, query).rows)
            rows, complete = self._matching(place, query)
            shown = rows[max(0, offset) : max(0, offset) + min(limit, MAX_PER_PAGE)]
            images = [self._entry(self._complete(row)) for row in shown]
        return {
            "folder": folder,
            "path": str(place),
            "writable": self.library.is_writable(place),
            "total": total,
            "matches": len(rows),
            "offset": max(0, offset),
            "complete": complete,
            "images": images,
        }

    def rows(self, folder: str, paths: Sequence[str] | None, query: Query) -> list[Row]:
        """Return the images at ``paths`` in a dataset, or all that a query selects (None), with captions and sizes.

        :raises PathNotFoundError: if the folder, or one of the images, doesn't exist.
        """
        place = self.library.resolve(folder)
        with self._lock:
            if paths is None:
                rows: list[Row] = []
                complete = False
                while not complete:
                    rows, complete = self._matching(place, query)
            else:
                by_path = {row.path: row for row in self._scan(place, query).rows}
                if missing := [path for path in paths if path not in by_path]:
                    self.forget(place)
                    by_path = {row.path: row for row in self._scan(place, query).rows}
                    missing = [path for path in missing if path not in by_path]
                if missing:
                    raise PathNotFoundError(
                        f"The image {missing[0][:300]!r} isn't in the dataset",
                        path="images",
                        value=missing[0][:300],
                        suggestion="Load the list of images again.",
                    )
                rows = [by_path[path] for path in dict.fromkeys(paths)]
            return [self._complete(row) for row in rows[:MAX_SELECTED]]

    def row(self, folder: str, path: str, *, excluded: bool = False) -> Row:
        """Return one image.

        :raises PathNotFoundError: if it doesn't exist.
        """
        return self.rows(folder, [path], Query(excluded=excluded))[0]

    def tags(self, folder: str, query: Query, delimiter: str = ",", limit: int = 1000) -> dict[str, Any]:
        """Return the tags of the images that a query selects with their counts, most frequent first, and how many there are."""
        place = self.library.resolve(folder)
        counts: Counter[str] = Counter()
        with self._lock:
            rows, complete = self._matching(place, query, needs_caption=True)
            for row in rows:
                lines = split_lines(row.caption.text)
                counts.update({tag for line in lines for tag in tags_of(line, delimiter) if tag})
        listed = sorted(counts.items(), key=lambda item: (-item[1], item[0].casefold()))
        return {"tags": listed[:limit], "total": len(listed), "images": len(rows), "complete": complete}

    def forget(self, folder: Path) -> None:
        """Scan a folder again at the next request."""
        with self._lock:
            for key in [key for key in self._scans if key[0] == folder]:
                del self._scans[key]

    # -- reading --------------------------------------------------------------------------------------------------------

    def _scan(self, folder: Path, query: Query) -> _Scan:
        key = (folder, query.subfolders, query.excluded)
        known = self._scans.get(key)
        fresh = known is not None and self.clock() - known.at <= max(_SCAN_S, len(known.rows) / 5000)
        if known is None or not (fresh or known.is_current()):
            base = folder / EXCLUDED if query.excluded else folder
            started_ns = time.time_ns()
            found = scan_folder(base, query.subfolders, roots=self.library.roots)
            rows = [_row(base, item, found) for item in found.images]
            rows.sort(key=SORTS["name"])
            folders = {*_folders(base, query.subfolders), *(row.file.parent for row in rows)}
            changed = {each: _changed_ns(each) for each in folders} if len(folders) <= _MAX_WATCHED else {}
            if any(started_ns - at < _SETTLED_NS for at in changed.values()):
                changed = {}  # a change in the same tick of the clock would not be seen
            known = self._scans[key] = _Scan(self.clock(), rows, changed)
            while len(self._scans) > _MAX_FOLDERS:
                self._scans.popitem(last=False)
        self._scans.move_to_end(key)
        return known

    def _matching(self, folder: Path, query: Query, *, needs_caption: bool = False) -> tuple[list[Row], bool]:
        descending, sort = query.sort.startswith("-"), query.sort.removeprefix("-")
        _check(query, sort)
        rows = self._scan(folder, query).rows
        if query.among is not None:
            among = set(query.among)
            rows = [row for row in rows if row.path in among]
        if query.masked:
            rows = [row for row in rows if (row.mask is not None) == (query.masked == "yes")]
        with_caption = needs_caption or bool(query.search or query.tag or query.caption) or sort in _NEEDS_CAPTION
        with_size = bool(query.aspect or query.smaller_than or query.broken) or sort in _NEEDS_SIZE
        complete = True
        if with_caption or with_size or sort in _NEEDS_STATUS:
            until = self.clock() + _READING_S
            read: list[Row] = []
            for row in rows:
                if self.clock() > until:
                    complete = False
                    break
                read.append(self._complete(row, caption=with_caption, size=with_size))
            rows = [row for row in read if _fits(row, query)]
        if sort == "name":
            return (rows[::-1] if descending else rows), complete
        return sorted(rows, key=SORTS[sort], reverse=descending), complete

    def _complete(self, row: Row, *, caption: bool = True, size: bool = True) -> Row:
        """Return an image with what its files contain now."""
        try:
            status = os.stat(row.file)
        except OSError as error:
            return replace(row, size=error.strerror or str(error))
        read = replace(row, status=status, caption=self._caption(row.caption_file) if caption else row.caption)
        return replace(read, size=_remembered(row.file, status, self._sizes, size_of)) if size else read

    def _caption(self, file: Path | None) -> CaptionFile:
        if file is None:
            return CaptionFile()
        try:
            return _remembered(file, os.stat(file), self._captions, read_caption)
        except OSError:
            return CaptionFile()

    def _entry(self, row: Row) -> dict[str, Any]:
        whole = isinstance(row.size, tuple)
        text = row.caption.text
        return {
            "path": row.path,
            "bytes": row.status.st_size if row.status else 0,
            "modified_at": row.status.st_mtime if row.status else 0.0,
            "width": row.size[1] if isinstance(row.size, tuple) else None,
            "height": row.size[0] if isinstance(row.size, tuple) else None,
            "problem": "" if whole else str(row.size or ""),
            "caption": text[:_SHOWN_LETTERS] if row.caption.version else None,
            "caption_cut": len(text) > _SHOWN_LETTERS,
            "caption_version": row.caption.version,
            "caption_problem": row.caption.problem,
            "masked": row.mask is not None,
            "conditioned": row.condition is not None,
            "thumbnail": self.thumbnails.id_of(row.file, row.status) if row.status else "",
            "mask_thumbnail": self.thumbnails.id_of(row.mask) if row.mask else "",
        }


def _folders(base: Path, with_subfolders: bool) -> list[Path]:
    """Return a folder and the folders in it, those without images too."""
    found = [base]
    for path, folders, _ in os.walk(base) if with_subfolders else ():
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(path, name) for name in folders]
        if len(found) > _MAX_WATCHED:
            break
    return found


def _changed_ns(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def read_caption(file: Path) -> CaptionFile:
    """Read a caption file with its version; an unreadable one has a ``problem``. A missing one is empty."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return CaptionFile()
    except OSError as error:
        return CaptionFile(version="unreadable", problem=error.strerror or str(error))
    version = hashlib.sha256(data).hexdigest()[:16]
    try:
        text = decode_text(data[:MAX_BYTES])
    except UnreadableTextError as error:
        return CaptionFile(version=version, problem=str(error))
    return CaptionFile(text.content, version, text.encoding)


def natural(name: str) -> list[Any]:
    """Return the sort key that puts ``image 2`` before ``image 10``."""
    return [int(part) if part.isdecimal() else part.casefold() for part in re.split(r"([0-9]+)", name)]


def _row(base: Path, item: Path, folder: Folder) -> Row:
    return Row(
        str(item)[len(str(base)) :].lstrip(os.sep).replace(os.sep, "/"),
        item,
        folder.caption_of(item),
        folder.extra_of(item, MASK),
        folder.extra_of(item, CONDITION),
    )


def _fits(row: Row, query: Query) -> bool:
    text = row.caption.text
    if query.search and query.search.casefold() not in text.casefold() and query.search.casefold() not in row.path.casefold():
        return False
    if query.tag and not any(query.tag == tag for line in split_lines(text) for tag in tags_of(line, ",")):
        return False
    if query.caption and bool(text.strip()) != (query.caption == "present"):
        return False
    if query.broken and isinstance(row.size, tuple):
        return False
    if query.smaller_than and not (isinstance(row.size, tuple) and min(row.size) < query.smaller_than):
        return False
    return not query.aspect or (isinstance(row.size, tuple) and ASPECTS[query.aspect](_aspect(row)))


def _check(query: Query, sort: str) -> None:
    choices = {
        "sort": (sort, tuple(SORTS)),
        "caption": (query.caption, ("", "missing", "present")),
        "masked": (query.masked, ("", "yes", "no")),
        "aspect": (query.aspect, ("", *ASPECTS)),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise ConfigValueError(
                f"{value[:100]!r} isn't possible here", path=name, value=value[:100], expected=", ".join(known)
            )


def _remembered(
    path: Path, status: os.stat_result, known: OrderedDict[Path, tuple[tuple[int, int], Found]], read: Callable[[Path], Found]
) -> Found:
    version = (status.st_mtime_ns, status.st_size)
    found = known.get(path)
    if found is None or found[0] != version:
        found = known[path] = (version, read(path))
        while len(known) > _MAX_FACTS:
            known.popitem(last=False)
    return found[1]

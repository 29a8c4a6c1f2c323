"""Images and captions of the concepts, read for a run by the functions that the pre-flight check uses."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from onetrainer_gradio.config import ConceptConfig
from onetrainer_gradio.config.dataset.captions import UTF_8, Text, UnreadableTextError, read_text
from onetrainer_gradio.config.dataset.files import CONDITION, IMAGE_SUFFIXES, MASK, Folder, Skipped, is_inside, scan_folder, shown
from onetrainer_gradio.config.dataset.images import BrokenImageError, Size, decode, read_size
from onetrainer_gradio.errors import DatasetError
from onetrainer_gradio.events import WarningIssued

_MAX_NAMES = 8
# one at a time, handing over the work takes as long as the work
_FILES_AT_ONCE = 64


Signature = tuple[int, int]
"""Bytes and modification time (ns) of a file."""
Extra = tuple[Path, Signature]
"""A file that belongs to an image."""


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """An image of a concept; ``index`` counts the images of all concepts, ``captions`` are the available ones."""

    index: int
    concept: int
    path: Path
    size_px: Size
    signature: Signature
    captions: tuple[str, ...]
    mask: Extra | None = None
    conditioning: Extra | None = None


@dataclass(frozen=True)
class Extras:
    """The files next to images that a run uses."""

    masks: bool = False
    conditioning: bool = False


@dataclass(frozen=True)
class Pixels:
    """An image as uint8: HWC in RGB, its mask HW, and its conditioning image."""

    image: NDArray[Any]
    mask: NDArray[Any] | None = None
    conditioning: NDArray[Any] | None = None


def measured(path: Path) -> tuple[Size, Signature]:
    """Return the size of the upright image and (bytes, modification time in ns) of its file; reads only the header.

    :raises BrokenImageError: if it can't be trained.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise BrokenImageError(error.strerror or str(error)) from error
    return read_size(path), (status.st_size, status.st_mtime_ns)


def pixels(path: Path) -> NDArray[Any]:
    """Return the upright image as uint8, HWC, RGB. Runs in threads: Pillow and numpy only.

    :raises BrokenImageError: if it can't be trained.
    """
    return numpy.asarray(decode(path))


def mask_pixels(path: Path) -> NDArray[Any]:
    """Return a mask as uint8, HW. Runs in threads: Pillow and numpy only.

    :raises BrokenImageError: if it can't be read.
    """
    return numpy.asarray(decode(path).convert("L"))


def read_all(image: TrainingImage) -> Pixels:
    """Return an image with its mask and conditioning image. Runs in threads: Pillow and numpy only.

    :raises BrokenImageError: if one of them can't be read.
    """
    return Pixels(
        pixels(image.path),
        read_mask(image),
        None if image.conditioning is None else _extra(image.conditioning, "conditioning image", pixels),
    )


def read_mask(image: TrainingImage) -> NDArray[Any] | None:
    """Return the mask of an image, if it has one.

    :raises BrokenImageError: if it can't be read.
    """
    return None if image.mask is None else _extra(image.mask, "mask", mask_pixels)


def _extra(extra: Extra, what: str, read: Callable[[Path], NDArray[Any]]) -> NDArray[Any]:
    try:
        return read(extra[0])
    except BrokenImageError as error:
        raise BrokenImageError(f"its {what} “{shown(extra[0].name)}” can't be read: {error}") from error


def broken(path: str | Path, error: BaseException) -> WarningIssued:
    """Return the warning about an image that can't be read."""
    name = shown(path)
    return WarningIssued(code="broken_picture", message=f"Can't read the image “{name}”, so it is skipped: {error}", path=name)


@dataclass
class _Captions:
    """The captions of one concept; files that can't be read are collected in ``unreadable``."""

    concept: ConceptConfig
    folder: Folder
    roots: Sequence[Path]
    unreadable: list[str] = field(default_factory=list)
    other_encodings: list[str] = field(default_factory=list)
    _of_all: tuple[str, ...] | None = None

    def file_of(self, image: Path) -> Path | None:
        """Return the text file next to an image if the captions come from there."""
        return self.folder.caption_of(image) if self.concept.text.prompt_source == "sample" else None

    def of(self, image: Path, read: Text | Exception | None) -> tuple[str, ...]:
        """Return the available captions of an image, or one empty caption; ``read`` is the content of ``file_of``."""
        return _SOURCES[self.concept.text.prompt_source](self, image, read) or ("",)

    def text_file(self, image: Path, read: Text | Exception | None) -> tuple[str, ...]:
        """Return those of the text file next to it."""
        path = None if read is None else self.folder.caption_of(image)
        return () if path is None or read is None else self._lines(path, read)

    def of_all(self, image: Path, read: Text | Exception | None) -> tuple[str, ...]:
        """Return those of the file for all images."""
        if self._of_all is None:
            path = Path(self.concept.text.prompt_path)
            if not is_inside(path, self.roots):
                self.unreadable.append(f"{shown(path)}: it is outside the allowed folders")
                self._of_all = ()
            else:
                self._of_all = self._lines(path, _text_of(path))
        return self._of_all

    def file_name(self, image: Path, read: Text | Exception | None) -> tuple[str, ...]:
        """Return the name of its file."""
        return (image.stem,)

    def _lines(self, path: Path, read: Text | Exception) -> tuple[str, ...]:
        if isinstance(read, Text):
            if read.encoding != UTF_8:
                self.other_encodings.append(f"{shown(path)} ({read.encoding})")
            return read.lines
        if not isinstance(read, FileNotFoundError):
            reason = (read.strerror or read) if isinstance(read, OSError) else read
            self.unreadable.append(f"{shown(path)}: {reason}")
        return ()


_SOURCES: dict[str, Callable[[_Captions, Path, Text | Exception | None], tuple[str, ...]]] = {
    "sample": _Captions.text_file,
    "concept": _Captions.of_all,
    "filename": _Captions.file_name,
}


def _text_of(path: Path) -> Text | Exception:
    """Return the content of a text file, or why it can't be read."""
    try:
        return read_text(path)
    except (OSError, UnreadableTextError) as error:
        return error


def collect(
    concepts: Sequence[tuple[int, ConceptConfig]],
    warn: Callable[[WarningIssued], None],
    threads: int,
    stopping: Callable[[], None] = lambda: None,
    roots: Sequence[Path] = (),
    extras: Extras = Extras(),
) -> list[TrainingImage]:
    """Return all images of ``concepts`` (numbered as in the configuration), in order; unreadable ones are reported and omitted.

    With ``roots``, files outside of these folders are reported and omitted, too.

    :raises DatasetError: if a folder is missing, captions can't be read, or no image remains.
    """
    found: list[TrainingImage] = []
    unreadable: list[str] = []
    for number, concept in concepts:
        folder = _scanned(number, concept, stopping, roots)
        captions = _Captions(concept, folder, roots)
        images = list(_read(len(found), number, captions, extras, warn, threads, stopping))
        for warning in _warnings(number, concept, folder, captions, images):
            warn(warning)
        unreadable += captions.unreadable
        found += images
    if unreadable:
        raise DatasetError(
            f"Can't read these caption files: {_listed(unreadable)}.",
            path="concepts",
            value=len(unreadable),
            expected="text files",
            suggestion="Save the files as UTF-8 text, or remove them.",
        )
    if not found:
        names = ", ".join(f"“{shown(concept.path)}”" for _, concept in concepts) or "none"
        raise DatasetError(
            f"There are no images to train on in {names}.",
            path="concepts",
            expected=f"at least one image ({', '.join(sorted(IMAGE_SUFFIXES))})",
            suggestion="Add images to the folder, correct its path, or turn on Include subfolders.",
        )
    return found


def _scanned(number: int, concept: ConceptConfig, stopping: Callable[[], None], roots: Sequence[Path]) -> Folder:
    def time_left() -> bool:
        stopping()
        return True

    if not os.path.isdir(concept.path) or not is_inside(Path(concept.path), roots):
        missing = "is outside the allowed folders" if os.path.isdir(concept.path) else "doesn't exist"
        raise DatasetError(
            f"The folder “{shown(concept.path)}” of the concept “{concept.name or number + 1}” {missing}.",
            path=f"concepts.{number}.path",
            value=shown(concept.path),
            expected="an existing folder with images",
            suggestion="Choose an existing folder for the concept.",
        )
    return scan_folder(Path(concept.path), concept.include_subdirectories, roots=roots, time_left=time_left)


def _warnings(
    number: int, concept: ConceptConfig, folder: Folder, captions: _Captions, images: Sequence[TrainingImage]
) -> Iterator[WarningIssued]:
    path, name = f"concepts.{number}.path", concept.name or shown(concept.path)
    if folder.skipped:
        listed = _listed([_reason(skipped) for skipped in folder.skipped])
        yield WarningIssued(code="skipped_files", message=f"Files of the concept “{name}” are skipped: {listed}.", path=path)
    if folder.other_formats:
        listed = _listed([file.name for file in folder.other_formats])
        text = f"Files of the concept “{name}” are in an unsupported format and are skipped: {listed}."
        yield WarningIssued(code="skipped_formats", message=text, path=path)
    if captions.other_encodings:
        text = f"Captions of the concept “{name}” aren't UTF-8 and were converted: {_listed(captions.other_encodings)}."
        yield WarningIssued(code="caption_encoding", message=text, path=path)
    if not images:
        text = f"The folder “{shown(concept.path)}” of the concept “{name}” contains no readable images."
        yield WarningIssued(code="empty_concept", message=text, path=path)
    elif uncaptioned := [image for image in images if not any(image.captions)]:
        verb = "has" if len(uncaptioned) == 1 else "have"
        more = "" if len(uncaptioned) == 1 else f" and {len(uncaptioned) - 1} more"
        text = f"“{shown(uncaptioned[0].path)}”{more} of the concept “{name}” {verb} no caption."
        yield WarningIssued(code="missing_caption", message=text, path=shown(uncaptioned[0].path))


def _reason(skipped: Skipped) -> str:
    return f"{shown(skipped.path)} ({skipped.reason})"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return "; ".join(names[:_MAX_NAMES]) + (f"; and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class _Paths:
    """The paths of an image and of what belongs to it."""

    image: Path
    caption: Path | None
    mask: Path | None
    conditioning: Path | None


@dataclass(frozen=True, slots=True)
class _File:
    """What a thread has read of an image: its header or why it is broken, the content of its caption file, and its extras."""

    path: Path
    header: tuple[Size, Signature] | BrokenImageError
    text: Text | Exception | None
    mask: Extra | None
    conditioning: Extra | None


def _read_files(files: Sequence[_Paths]) -> list[_File]:
    """Read the headers of images and their caption files. Runs in threads."""
    return [
        _File(
            paths.image,
            _header_of(paths.image),
            None if paths.caption is None else _text_of(paths.caption),
            _signed(paths.mask),
            _signed(paths.conditioning),
        )
        for paths in files
    ]


def _header_of(path: Path) -> tuple[Size, Signature] | BrokenImageError:
    try:
        return measured(path)
    except BrokenImageError as error:
        return error


def _signed(path: Path | None) -> Extra | None:
    if path is None:
        return None
    try:
        status = os.stat(path)
    except FileNotFoundError:  # removed meanwhile
        return None
    return path, (status.st_size, status.st_mtime_ns)


def _read(
    first: int,
    number: int,
    captions: _Captions,
    extras: Extras,
    warn: Callable[[WarningIssued], None],
    threads: int,
    stopping: Callable[[], None],
) -> Iterator[TrainingImage]:
    folder = captions.folder
    with ThreadPoolExecutor(max(1, threads)) as pool:
        named = [
            _Paths(
                path,
                captions.file_of(path),
                folder.extra_of(path, MASK) if extras.masks else None,
                folder.extra_of(path, CONDITION) if extras.conditioning else None,
            )
            for path in folder.items
        ]
        waiting = deque(pool.submit(_read_files, named[at : at + _FILES_AT_ONCE]) for at in range(0, len(named), _FILES_AT_ONCE))
        try:
            while waiting:
                stopping()
                for file in waiting.popleft().result():
                    if isinstance(file.header, BrokenImageError):
                        warn(broken(file.path, file.header))
                        continue
                    # an unreadable file has no number, so training doesn't depend on it
                    own = captions.of(file.path, file.text)
                    yield TrainingImage(first, number, file.path, *file.header, own, file.mask, file.conditioning)
                    first += 1
        finally:
            pool.shutdown(cancel_futures=True)

"""Pictures and captions of the concepts, as they lie on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from onetrainer_gradio.config import ConceptConfig
from onetrainer_gradio.engine.data.buckets import Size
from onetrainer_gradio.errors import DatasetError
from onetrainer_gradio.events import Warned

EXTENSIONS = frozenset({".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MASK_SUFFIXES = ("-masklabel", "-condlabel")
_ORIENTATION = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})
BROKEN_PICTURE = (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no readable picture."""


@dataclass(frozen=True)
class Picture:
    """A picture of a concept; ``index`` counts the files of all concepts, ``captions`` are those to choose from."""

    index: int
    concept: int
    path: Path
    size_px: Size
    signature: tuple[int, int]
    captions: tuple[str, ...]


def files_of(folder: str, include_subdirectories: bool) -> list[str]:
    """The picture files of a folder in OneTrainer's order: sorted by their whole path, hidden subfolders left out."""
    found: list[str] = []
    for entry in os.scandir(folder):
        if entry.is_file():
            found.append(os.path.join(folder, entry.name))
        elif include_subdirectories and entry.is_dir() and not entry.name.startswith("."):
            found += files_of(os.path.join(folder, entry.name), True)
    found.sort()
    return [name for name in found if _is_picture(name)]


def _is_picture(name: str) -> bool:
    stem, extension = os.path.splitext(name)
    return extension.lower() in EXTENSIONS and not stem.endswith(MASK_SUFFIXES)


def caption_lines(path: Path) -> tuple[str, ...]:
    """The lines of a caption file that are not empty; none when there is no such file.

    :raises DatasetError: when the file is no UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"The caption file '{path}' is not UTF-8 text.",
            value=str(path),
            expected="UTF-8 text",
            change="save the file anew with the encoding UTF-8",
        ) from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _beside(picture: Path, concept: ConceptConfig) -> tuple[str, ...]:
    return caption_lines(picture.with_suffix(".txt"))


def _from_concept(picture: Path, concept: ConceptConfig) -> tuple[str, ...]:
    return caption_lines(Path(concept.text.prompt_path))


def _from_name(picture: Path, concept: ConceptConfig) -> tuple[str, ...]:
    return (picture.stem,)


CAPTION_SOURCES: dict[str, Callable[[Path, ConceptConfig], tuple[str, ...]]] = {
    "sample": _beside,
    "concept": _from_concept,
    "filename": _from_name,
}


def measured(path: str) -> tuple[Size, tuple[int, int]]:
    """Size of the upright picture and (bytes, modification time in ns) of its file; reads the header only."""
    status = os.stat(path)
    with Image.open(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS:
            width, height = height, width
    return (height, width), (status.st_size, status.st_mtime_ns)


def pixels(path: Path) -> NDArray[Any]:
    """The upright picture as uint8, HWC, RGB. Runs in threads: Pillow and numpy only."""
    with Image.open(path) as image:
        return numpy.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def broken(path: str | Path, error: BaseException) -> Warned:
    """The warning about a picture that cannot be read."""
    return Warned(
        code="broken_picture",
        message=f"The picture '{path}' cannot be read and is left out: {error}",
        path=str(path),
    )


def collect(
    concepts: Sequence[tuple[int, ConceptConfig]],
    warn: Callable[[Warned], None],
    threads: int,
    stopping: Callable[[], None] = lambda: None,
) -> list[Picture]:
    """All pictures of ``concepts`` (numbered as in the configuration), in order; unreadable ones are named and left out.

    :raises DatasetError: when a folder is missing or no picture is left.
    """
    found: list[Picture] = []
    first = 0
    for number, concept in concepts:
        files = _listed(number, concept)
        pictures = list(_read(files, first, number, concept, warn, threads, stopping))
        first += len(files)
        if not pictures:
            warn(Warned(code="empty_concept", message=_empty(concept), path=f"concepts.{number}.path"))
        elif uncaptioned := [picture for picture in pictures if not any(picture.captions)]:
            more = "" if len(uncaptioned) == 1 else f" and {len(uncaptioned) - 1} more"
            text = f"'{uncaptioned[0].path}'{more} of concept '{concept.name or concept.path}' have no caption."
            warn(Warned(code="missing_caption", message=text, path=str(uncaptioned[0].path)))
        found += pictures
    if not found:
        names = ", ".join(f"'{concept.path}'" for _, concept in concepts) or "none"
        raise DatasetError(
            f"There are no pictures to train on. Folders looked into: {names}.",
            path="concepts",
            expected=f"at least one picture ({', '.join(sorted(EXTENSIONS))})",
            change="put pictures into the folder, or correct its path; turn on 'Include subfolders' if they lie deeper",
        )
    return found


def _listed(number: int, concept: ConceptConfig) -> list[str]:
    if not os.path.isdir(concept.path):
        raise DatasetError(
            f"The folder '{concept.path}' of concept '{concept.name or number}' does not exist.",
            path=f"concepts.{number}.path",
            value=concept.path,
            expected="an existing folder with pictures",
            change="the path of the concept",
        )
    return files_of(concept.path, concept.include_subdirectories)


def _empty(concept: ConceptConfig) -> str:
    return f"The folder '{concept.path}' of concept '{concept.name or concept.path}' holds no readable pictures."


def _read(
    files: Sequence[str],
    first: int,
    number: int,
    concept: ConceptConfig,
    warn: Callable[[Warned], None],
    threads: int,
    stopping: Callable[[], None],
) -> Iterator[Picture]:
    captions = CAPTION_SOURCES[concept.text.prompt_source]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        headers = [pool.submit(measured, name) for name in files]
        for offset, (name, header) in enumerate(zip(files, headers, strict=True)):
            stopping()
            try:
                size, signature = header.result()
            except BROKEN_PICTURE as error:
                warn(broken(name, error))
                continue
            lines = captions(Path(name), concept) or ("",)
            yield Picture(first + offset, number, Path(name), size, signature, lines)

"""Put uploaded files into a dataset without replacing any file; a caption keeps the name of its image."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from onetrainer_gradio.config.dataset.files import CAPTION_SUFFIX, CONDITION, IMAGE_SUFFIXES, MASK, OTHER_SUFFIXES, VIDEO_SUFFIXES
from onetrainer_gradio.errors import ForbiddenPathError
from onetrainer_gradio.service.host.atomic import raising_storage_error

ARCHIVE_SUFFIX = ".zip"
ACCEPTED = IMAGE_SUFFIXES | OTHER_SUFFIXES | VIDEO_SUFFIXES | {CAPTION_SUFFIX}
"""Suffixes of the files that a dataset may contain."""

_MAX_STEMS = 200_000
_PIECE = 1 << 20


@dataclass
class Batch:
    """The files of one drop or archive: the names that they got, so that captions and masks follow their images."""

    stems: OrderedDict[tuple[Path, str], str] = field(default_factory=OrderedDict)

    def stem(self, folder: Path, name: str) -> str:
        """Return the name, without suffix, for a file: the wanted one, or one that is free for an image and its caption."""
        wanted, suffix = os.path.splitext(name)
        base, extra = _divided(wanted)
        key = (folder, base)
        if key not in self.stems:
            self.stems[key] = base if _fits(folder, base, extra, suffix) else _free(folder, base)
            while len(self.stems) > _MAX_STEMS:
                self.stems.popitem(last=False)
        return self.stems[key] + extra


def is_accepted(path: PurePosixPath) -> bool:
    """Return whether a file of this name belongs into a dataset."""
    return path.suffix.lower() in ACCEPTED


def place(source: Path, dataset: Path, path: PurePosixPath, batch: Batch) -> tuple[str, str]:
    """Move a file of the panel into a dataset.

    Return its path in the dataset, and why it was skipped (empty if it wasn't). A file that exists there with the same content
    isn't added again, and ``source`` stays.

    :raises ForbiddenPathError: if a link in the dataset leads out of it.
    :raises StorageError: if it can't be written.
    """
    folder = dataset / path.parent
    with raising_storage_error(f"the file {path.name}"):
        folder.mkdir(parents=True, exist_ok=True)
    if not folder.resolve().is_relative_to(dataset.resolve()):
        raise ForbiddenPathError(f"The folder {path.parent} leads out of the dataset", path="name", value=str(path))
    existing = folder / path.name
    if existing.is_file() and same_content(existing, source):
        batch.stems[(folder, _divided(path.stem)[0])] = _divided(path.stem)[0]
        return str(path), "it is already in the dataset"
    stem = batch.stem(folder, path.name)
    for _ in range(10_000):
        target = folder / f"{stem}{path.suffix.lower()}"
        with raising_storage_error(f"the file {target.name}"):
            try:
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileExistsError:
                stem = _free(folder, stem)
                continue
            os.replace(source, target)  # over the empty file that was just reserved
        return target.relative_to(dataset).as_posix(), ""
    return str(path), "no free name is left for it"


def same_content(one: Path, other: Path) -> bool:
    """Return whether two files have equal bytes."""
    try:
        return one.stat().st_size == other.stat().st_size and digest_of(one) == digest_of(other)
    except OSError:
        return False


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces.

    :raises OSError: if it can't be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _divided(stem: str) -> tuple[str, str]:
    """Return the name of the image that a mask belongs to, and the rest."""
    extra = next((kind for kind in (MASK, CONDITION) if stem.endswith(kind) and stem != kind), "")
    return (stem.removesuffix(extra), extra) if extra else (stem, "")


def _fits(folder: Path, base: str, extra: str, suffix: str) -> bool:
    """Return whether a file can have its own name: a caption or mask joins an image, two images don't share a caption."""
    with os.scandir(folder) as found:
        names = [os.path.splitext(each.name.casefold()) for each in found]
    if extra or suffix.lower() == CAPTION_SUFFIX:
        return (f"{base}{extra}".casefold(), suffix.lower()) not in names
    return not any(stem == base.casefold() and each != CAPTION_SUFFIX for stem, each in names)


def _free(folder: Path, stem: str) -> str:
    """Return a numbered name, without suffix, that no file in the folder has in any capitalization."""
    with os.scandir(folder) as found:
        taken = {os.path.splitext(each.name)[0].casefold() for each in found}
    number = 2
    while f"{stem} ({number})".casefold() in taken:
        number += 1
    return f"{stem} ({number})"

"""Crop and rotate images without loss, and write masks: each result is a new file, and the original goes to the trash.

The result of a crop or rotation is a PNG with the name of the image, so its caption stays its caption, and every program sees the
change. Instructions next to the image would be understood by this panel alone.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.dataset.files import EXTRA_SUFFIX, MASK
from onetrainer_gradio.errors import ConfigValueError, DatasetError, PathExistsError
from onetrainer_gradio.service.datasets.file_moves import FileMoves
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.image_index import ImageIndex, Row
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.host.atomic import raising_storage_error

ANGLES = (0, 90, 180, 270)
Crop = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the upright image."""


class ImageEdits:
    """Change images and masks of datasets. Safe from any thread."""

    def __init__(self, library: DatasetLibrary, index: ImageIndex, moves: FileMoves, decoder: ImageDecoder) -> None:
        self._library, self._index, self._moves, self._decoder = library, index, moves, decoder
        self._lock = threading.Lock()

    def edit(self, folder: str, image: str, *, rotate: int = 0, crop: Crop | None = None) -> dict[str, Any]:
        """Crop an image, rotate it clockwise, and write it upright; its mask and conditioning image change alike.

        Without arguments, the orientation in the metadata is applied to the pixels.

        :raises ConfigValueError: if the angle or the crop isn't possible.
        :raises DatasetError: if the image can't be read.
        :raises ForbiddenPathError: if the folder is read-only.
        """
        place = self._library.resolve(folder)
        self._library.require_writable(place)
        row = self._index.row(folder, image)
        if not isinstance(row.size, tuple):
            raise DatasetError(f"{image} can't be changed: {row.size}.", path="image", value=image)
        height, width = row.size
        if rotate not in ANGLES:
            raise ConfigValueError(
                f"The angle {rotate} isn't possible", path="rotate", value=rotate, expected="0, 90, 180 or 270"
            )
        if crop is not None and not _is_inside(crop, width, height):
            raise ConfigValueError(
                "The crop isn't inside the image",
                path="crop",
                value=list(crop),
                expected=f"left, top, width, height in {width} × {height}",
            )
        target = row.file.with_suffix(EXTRA_SUFFIX)
        if target != row.file and os.path.lexists(target):
            raise PathExistsError(
                f"{target.name} already exists", path="image", value=image, suggestion="Rename one of the two images."
            )
        relative = [each / length for each, length in zip(crop, (width, height, width, height), strict=True)] if crop else None
        with self._lock, self._results(row) as results:
            for source, result in results:
                self._decoder.edit(source, result, rotate, relative)
            entry = self._moves.trash_files(place, place, [source for source, _ in results], "Cropped or rotated")
            for source, result in results:
                with raising_storage_error(f"the image {source.name}"):
                    os.rename(result, source.with_suffix(EXTRA_SUFFIX))
        self._index.forget(place)
        return {"path": str(Path(image).with_suffix(EXTRA_SUFFIX).as_posix()), "entry": entry["entry"]}

    def put_mask(self, folder: str, image: str, data: bytes) -> dict[str, Any]:
        """Write a mask (white: trained, black: not) as ``-masklabel.png`` in the size of the image.

        An earlier mask goes to the trash.

        :raises DatasetError: if the data or the image can't be read.
        :raises ForbiddenPathError: if the folder is read-only.
        """
        place = self._library.resolve(folder)
        self._library.require_writable(place)
        row = self._index.row(folder, image)
        if not isinstance(row.size, tuple):
            raise DatasetError(f"{image} can't be masked: {row.size}.", path="image", value=image)
        target = row.file.with_name(f"{row.file.stem}{MASK}{EXTRA_SUFFIX}")
        with self._lock, _temporary(target, data) as sent, _temporary(target) as result:
            self._decoder.mask(sent, result, row.size)
            if target.exists():
                self._moves.trash_files(place, place, [target], "Mask replaced")
            with raising_storage_error(f"the mask {target.name}"):
                os.rename(result, target)
        self._index.forget(place)
        return {"mask": target.name}

    def remove_mask(self, folder: str, image: str) -> dict[str, Any]:
        """Move the mask of an image to the trash.

        :raises DatasetError: if it has none.
        :raises ForbiddenPathError: if the folder is read-only.
        """
        place = self._library.resolve(folder)
        self._library.require_writable(place)
        row = self._index.row(folder, image)
        if row.mask is None:
            raise DatasetError(f"{image} has no mask", path="image", value=image)
        return self._moves.trash_files(place, place, [row.mask], "Mask removed")

    @contextmanager
    def _results(self, row: Row) -> Iterator[list[tuple[Path, Path]]]:
        """Provide a temporary file for each file to change, removed afterwards unless it was moved."""
        sources = [each for each in (row.file, row.mask, row.condition) if each is not None]
        results = [(source, source.with_name(f".{uuid.uuid4().hex}.tmp")) for source in sources]
        try:
            yield results
        finally:
            for _, result in results:
                with suppress(OSError):
                    result.unlink(missing_ok=True)


def _is_inside(crop: Crop, width: int, height: int) -> bool:
    left, top, wide, high = crop
    return left >= 0 and top >= 0 and wide > 0 and high > 0 and left + wide <= width and top + high <= height


@contextmanager
def _temporary(target: Path, data: bytes | None = None) -> Iterator[Path]:
    path = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        if data is not None:
            with raising_storage_error(f"the mask {target.name}"):
                path.write_bytes(data)
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)

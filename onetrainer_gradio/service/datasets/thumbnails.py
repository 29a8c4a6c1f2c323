"""Make thumbnails of dataset images once, and keep a limited number of them on disk."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.errors import PathNotFoundError
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder

WIDTHS = (96, 192, 384, 1024)
MAX_FILES = 30_000
_MAX_KNOWN = 200_000
_CHECK_EVERY = 500


class Thumbnails:
    """Thumbnails by the ID of an image, which changes with the file. Safe from any thread."""

    def __init__(self, folder: Path, decoder: ImageDecoder, allowed: Callable[[Path], Path], max_files: int = MAX_FILES) -> None:
        self._folder, self._decoder, self._allowed, self._max_files = folder, decoder, allowed, max_files
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Path] = OrderedDict()
        self._made = 0
        self._prepared = False

    def prepare(self) -> None:
        """Get ready to make thumbnails soon."""
        if not self._prepared:
            self._prepared = True
            self._decoder.prepare()

    def id_of(self, path: Path, status: os.stat_result | None = None) -> str:
        """Return the ID of an image for ``get``; empty if it was deleted."""
        try:
            status = status or path.stat()
        except OSError:
            return ""
        text = f"{path}\0{status.st_size}\0{status.st_mtime_ns}"
        image_id = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:24]
        with self._lock:
            self._known[image_id] = path
            self._known.move_to_end(image_id)
            while len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return image_id

    def get(self, image_id: str, width_px: int = 192) -> Path:
        """Return a small WebP of an image; ``width_px`` is rounded up to one of a few sizes.

        :raises PathNotFoundError: if no listing had an image with this ID, or it was deleted.
        :raises DatasetError: if it isn't a readable image.
        """
        width_px = next((known for known in WIDTHS if known >= width_px), WIDTHS[-1])
        made = self._folder / f"{image_id}-{width_px}.webp"
        source = self._known.get(image_id)
        if not image_id.isalnum() or (source is None and not made.is_file()):
            raise PathNotFoundError(
                f"The image {image_id!r} doesn't exist", value=image_id, suggestion="Load the list of images again."
            )
        if source is not None and not made.is_file():
            source = self._allowed(source)  # a link may lead outside
            if not source.is_file():
                raise PathNotFoundError(f"The image {source.name} no longer exists", value=image_id)
            content = self._decoder.thumbnail(source, width_px, 2 * width_px)
            self._make_room()
            write_atomic(made, content, durable=False)
        return made

    def _make_room(self) -> None:
        """Delete the oldest thumbnails if there are too many; checked at the first one and regularly."""
        with self._lock:
            self._made += 1
            if self._made % _CHECK_EVERY != 1:
                return
            try:
                with os.scandir(self._folder) as found:
                    made = sorted((each.stat().st_mtime, each.path) for each in found if each.name.endswith(".webp"))
                for _, path in made[: max(0, len(made) - self._max_files + _CHECK_EVERY)]:
                    os.unlink(path)
            except OSError:
                return  # removed by another process meanwhile, or not made yet

"""Provide everything about datasets in one object: folders, uploads, and the list of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onetrainer_gradio.service.datasets.image_index import ImageIndex
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.datasets.thumbnails import Thumbnails
from onetrainer_gradio.service.datasets.uploads import Uploads


class Datasets:
    """The datasets of the panel and other folders with images. Safe from any thread."""

    def __init__(
        self, data_folder: Path, roots: Sequence[Path], thumbnails: Thumbnails, library: DatasetLibrary | None = None
    ) -> None:
        self.library = library or DatasetLibrary(data_folder, roots)
        self.uploads = Uploads(self.library, data_folder / "uploads")
        self.index = ImageIndex(self.library, thumbnails)

    def close(self) -> None:
        """End the threads."""
        self.uploads.close()

"""Provide everything about datasets in one object: folders, uploads, lists of images, captions, changes of files, and jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from onetrainer_gradio.errors import PathNotFoundError
from onetrainer_gradio.service.datasets.annotation import Annotator
from onetrainer_gradio.service.datasets.captions import Captions
from onetrainer_gradio.service.datasets.file_moves import FileMoves
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.image_edits import ImageEdits
from onetrainer_gradio.service.datasets.image_index import ImageIndex
from onetrainer_gradio.service.datasets.inspection import Inspector
from onetrainer_gradio.service.datasets.jobs import Jobs
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.datasets.thumbnails import Thumbnails
from onetrainer_gradio.service.datasets.uploads import Uploads


class Datasets:
    """The datasets of the panel and other folders with images. Safe from any thread."""

    def __init__(
        self,
        data_folder: Path,
        roots: Sequence[Path],
        thumbnails: Thumbnails,
        decoder: ImageDecoder,
        library: DatasetLibrary | None = None,
        token: Callable[[], str] = str,
        training: Callable[[], bool] = bool,
        admit: Callable[[str, int], None] = lambda account, size: None,
        placed: Callable[[str, int], None] = lambda account, size: None,
    ) -> None:
        self.library = library or DatasetLibrary(data_folder, roots)
        self.index = ImageIndex(self.library, thumbnails)
        self.uploads = Uploads(self.library, data_folder / "uploads", changed=self.index.forget, admit=admit, placed=placed)
        self.captions = Captions(self.library, self.index, data_folder / "caption_history")
        self.moves = FileMoves(self.library, self.index)
        self.edits = ImageEdits(self.library, self.index, self.moves, decoder)
        self.jobs = Jobs()
        cache = data_folder / "cache"
        self.inspector = Inspector(self.library, self.index, self.moves, self.edits, self.jobs, cache / "dataset_facts")
        self.annotator = Annotator(
            self.library,
            self.index,
            self.captions,
            self.moves,
            self.jobs,
            cache / "annotation",
            token,
            training,
            own_models=data_folder / "captioners",
        )

    def file(self, folder: str, image: str, what: str = "image") -> Path:
        """Return the path of an image, or of its ``mask``.

        :raises PathNotFoundError: if it doesn't exist.
        :raises ForbiddenPathError: if it is a link out of the allowed folders.
        """
        row = self.index.row(folder, image)
        path = row.mask if what == "mask" else row.file
        if path is None:
            raise PathNotFoundError(f"{image} has no mask", path="image", value=image)
        return self.library.allowed(path)

    def close(self) -> None:
        """End the threads."""
        self.uploads.close()
        self.annotator.close()
        self.jobs.close()
        self.inspector.close()

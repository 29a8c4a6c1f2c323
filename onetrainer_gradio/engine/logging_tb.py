"""Write TensorBoard event files with OneTrainer's tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy
from torch.utils.tensorboard import SummaryWriter

from onetrainer_gradio.engine.failures import translate
from onetrainer_gradio.events import WarningIssued

FLUSH_S = 15


class ScalarLogger(Protocol):
    """The interface of a logger of scalars and images."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by tag."""
        ...

    def image(self, tag: str, image: Any, step: int) -> None:
        """Log a Pillow image."""
        ...

    def close(self) -> None:
        """Write everything to disk."""
        ...


class TensorBoardLogger:
    """A TensorBoard writer with one folder of event files per start of a run.

    Charts that cannot be written (a full disk, a folder that is gone) are a warning, and the run continues without them.
    """

    def __init__(self, folder: Path, warn: Callable[[WarningIssued], None]) -> None:
        self._folder = folder
        self._warn = warn
        self._writer: SummaryWriter | None = None
        with self._survived():
            self._writer = SummaryWriter(str(folder), flush_secs=FLUSH_S)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        with self._survived():
            for tag, value in values.items():
                if self._writer is not None:
                    self._writer.add_scalar(tag, value, step)

    def image(self, tag: str, image: Any, step: int) -> None:
        with self._survived():
            if self._writer is not None:
                self._writer.add_image(tag, numpy.asarray(image.convert("RGB")), step, dataformats="HWC")
                self._writer.flush()

    def close(self) -> None:
        with self._survived():
            if self._writer is not None:
                self._writer.close()

    @contextmanager
    def _survived(self) -> Iterator[None]:
        """Handle an error of the writer's thread, which a later call raises, and every call after it."""
        try:
            yield
        except OSError as error:
            self._writer = None
            known = translate(error)
            cause = known.message if known else str(error)
            text = f"The charts cannot be written; the training goes on without them. {cause}"
            self._warn(WarningIssued(code="charts", message=text, path=str(self._folder)))

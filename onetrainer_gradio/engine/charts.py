"""TensorBoard event files with OneTrainer's tags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy
from torch.utils.tensorboard import SummaryWriter

FLUSH_S = 15


class Charts(Protocol):
    """Takes what is charted."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by tag."""
        ...

    def image(self, tag: str, image: Any, step: int) -> None:
        """A Pillow picture."""
        ...

    def close(self) -> None:
        """Everything is on disk."""
        ...


class TensorBoardCharts:
    """One folder of event files per start of a run."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder), flush_secs=FLUSH_S)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def image(self, tag: str, image: Any, step: int) -> None:
        self._writer.add_image(tag, numpy.asarray(image.convert("RGB")), step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

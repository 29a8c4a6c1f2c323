"""What every model family offers; the loop, the methods and the data know models only through this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Generator, Tensor, nn

from onetrainer_gradio.config import SampleConfig, TrainConfig
from onetrainer_gradio.engine.data.dataset import Batch
from onetrainer_gradio.engine.diffusion import DiffusionProcess
from onetrainer_gradio.engine.header import Header


@dataclass(frozen=True)
class Part:
    """A part of a model that can be trained.

    ``name`` is the name of the part in configurations and adapter files (``unet``); ``path_prefix`` stands before the module
    paths of adapter files where the library's class has one level less; ``layer_filter``: whether the filter applies.
    """

    name: str
    module: nn.Module
    kohya_prefix: str
    path_prefix: str = ""
    layer_filter: bool = True


@dataclass(frozen=True)
class Prediction:
    """What the denoiser said, what it should have said, and at which timesteps."""

    predicted_BCHW: Tensor
    target_BCHW: Tensor
    timestep_B: Tensor


@dataclass(frozen=True)
class SampleRequest:
    """How one preview picture is painted."""

    sample: SampleConfig
    seed: int
    clip_skip: int
    on_step: Callable[[int, int], bool]
    """Told ``(done, total)`` after each step; its answer False ends the picture."""


class Family(Protocol):
    """A loaded model."""

    size_multiple_px: ClassVar[int]
    """Sides of training pictures are multiples of this."""

    full_formats: ClassVar[frozenset[str]]
    """Output formats of a whole model."""

    title: ClassVar[str]
    architecture: ClassVar[str]

    process: DiffusionProcess
    device: torch.device

    @classmethod
    def load(cls, config: TrainConfig, source: str, progress: Callable[[int, int, str], None]) -> Family:
        """The model at ``source`` (folder, file, hub name), each part in the precision of the configuration."""
        ...

    def parts(self) -> tuple[Part, ...]:
        """The parts that can be trained, in the order of their parameter groups."""
        ...

    def frozen_modules(self) -> Mapping[str, nn.Module]:
        """The parts that are never trained, by name."""
        ...

    def image_facts(self) -> dict[str, Any]: ...

    def text_facts(self) -> dict[str, Any]: ...

    def encode_image(self, image_CHW: Tensor) -> Tensor: ...

    def tokenize(self, caption: str) -> Tensor: ...

    def encode_text(self, tokens_BL: Tensor) -> Tensor: ...

    def predict(
        self, batch: Batch, sample_timesteps: Callable[[Generator, int], Tensor], generator: Generator, step: int | None
    ) -> Prediction:
        """One forward pass; everything random comes from ``generator`` and ``step`` (None: as in validation)."""
        ...

    def place(self, *names: str) -> None:
        """Puts these parts on the training device and the others on the temporary one."""
        ...

    def set_checkpointing(self) -> None:
        """Turns gradient checkpointing on where the configuration wants it."""
        ...

    def sample(self, request: SampleRequest) -> Any:
        """A Pillow picture, or None when it was ended early."""
        ...

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Writes the whole model; ``dtype`` None keeps that of the weights."""
        ...

    def write_folder(self, folder: Path, dtype: torch.dtype | None) -> None:
        """Fills an existing folder with the whole model in diffusers layout."""
        ...

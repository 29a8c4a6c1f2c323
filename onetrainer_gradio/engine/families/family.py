"""Define the interface of a model family, which the loop, the methods and the data use."""

from __future__ import annotations

from collections.abc import Callable
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
    """A model component that can be trained.

    ``name`` is its name in configurations and LoRA files (``unet``); ``path_prefix`` precedes the module
    paths in LoRA files if the library's class has one level less; ``layer_filter``: whether the filter applies.
    """

    name: str
    module: nn.Module
    kohya_prefix: str
    path_prefix: str = ""
    layer_filter: bool = True


@dataclass(frozen=True)
class Prediction:
    """The prediction of the denoiser, its target, and the timesteps."""

    predicted_BCHW: Tensor
    target_BCHW: Tensor
    timestep_B: Tensor


@dataclass(frozen=True)
class SampleRequest:
    """The parameters of one sample."""

    sample: SampleConfig
    seed: int
    clip_skip: int
    on_step: Callable[[int, int], bool]
    """Called with ``(done, total)`` after each step; returning False ends the sample."""


class Family(Protocol):
    """A loaded model."""

    size_multiple_px: ClassVar[int]
    """Sides of training images are multiples of this."""

    title: ClassVar[str]
    architecture: ClassVar[str]

    process: DiffusionProcess
    device: torch.device

    @classmethod
    def load(cls, config: TrainConfig, source: str, progress: Callable[[int, int, str], None]) -> Family:
        """Load the model at ``source`` (folder, file, Hugging Face model ID), each component with its configured data type."""
        ...

    def parts(self) -> tuple[Part, ...]:
        """Return the trainable components, in the order of their parameter groups."""
        ...

    def image_facts(self) -> dict[str, Any]: ...

    def text_facts(self) -> dict[str, Any]: ...

    def encode_image(self, image_CHW: Tensor) -> Tensor: ...

    def tokenize(self, caption: str) -> Tensor: ...

    def encode_text(self, tokens_BL: Tensor) -> Tensor: ...

    def predict(
        self, batch: Batch, sample_timesteps: Callable[[Generator, int], Tensor], generator: Generator, step: int | None
    ) -> Prediction:
        """Run one forward pass; all randomness comes from ``generator`` and ``step`` (None: as in validation)."""
        ...

    def place(self, *names: str) -> None:
        """Move these components to the train device and the others to the temp device."""
        ...

    def set_checkpointing(self) -> None:
        """Turn on gradient checkpointing as configured."""
        ...

    def sample(self, request: SampleRequest) -> Any:
        """Return a Pillow image, or None if it was ended early."""
        ...

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Write the complete model; with ``dtype`` None, weights keep their data type."""
        ...

    def write_folder(self, folder: Path, dtype: torch.dtype | None) -> None:
        """Fill an existing folder with the complete model in diffusers layout."""
        ...

"""Define the interface of a training method."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Generator, nn
from torch.nn import Parameter

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.embedding import TrainEmbeddingConfig
from onetrainer_gradio.config.declarations.part import TrainModelPartConfig
from onetrainer_gradio.engine.data.dataset import Batch
from onetrainer_gradio.engine.families.family import Draw, Prediction, SampleRequest
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.engine.prediction import predict


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate. ``part`` is the name of their component in the configuration.

    ``names`` are the full names of the parameters, from the name of the component on. Optimizers that treat layers differently
    select by them. ``settings`` contain when the training of the group stops, if they aren't those of the component.
    """

    name: str
    part: str
    parameters: tuple[Parameter, ...]
    learning_rate: float
    names: tuple[str, ...] = ()
    settings: TrainEmbeddingConfig | TrainModelPartConfig | None = None


class Method(Protocol):
    """A method attached to a model."""

    uses_captions: ClassVar[bool]
    """Whether the captions of the images have an effect."""

    @classmethod
    def base_model(cls, config: TrainConfig, backup: Path | None) -> str:
        """Return where the model is loaded from: ``backup`` if there is one, else the base model."""
        ...

    @classmethod
    def attach(cls, model: Model, config: TrainConfig, seed: int, backup: Path | None) -> Method:
        """Make the model trainable, with the weights of ``backup`` if there is one."""
        ...

    def groups(self) -> tuple[ParameterGroup, ...]:
        """Return the trained parameters."""
        ...

    def predict(self, batch: Batch, draw: Draw, generator: Generator, step: int | None) -> Prediction:
        """Return the prediction for a batch, and its target; all randomness comes from ``generator`` and ``step``."""
        ...

    def sample(self, request: SampleRequest) -> Any:
        """Return a sample as a Pillow image, or None if it was ended early."""
        ...

    def encoding_facts(self) -> dict[str, Any]:
        """Return what this method adds to encoding components that aren't trained; part of every cache fingerprint."""
        ...

    def trained_modules(self) -> tuple[nn.Module, ...]:
        """Return the trained components, to set them to training mode."""
        ...

    def without_adapter(self) -> AbstractContextManager[None]:
        """Compute what the model without adapters computes, within the block.

        :raises UnsupportedError: if the method trains the model itself.
        """
        ...

    def after_update(self) -> None:
        """Restore what an optimizer step must not change."""
        ...

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Write the result."""
        ...

    def save_additional_files(self, destination: Path, dtype: torch.dtype | None, header: Header) -> None:
        """Write further files of the result, which is at ``destination``."""
        ...

    def back_up(self, folder: Path, header: Header) -> None:
        """Write the trained weights to the folder of a backup, unchanged."""
        ...


class DenoiserMethod:
    """What methods share that train what the denoiser predicts."""

    uses_captions: ClassVar[bool] = True
    model: Model

    def predict(self, batch: Batch, draw: Draw, generator: Generator, step: int | None) -> Prediction:
        """Return the prediction of the denoiser for the noised latents of a batch, and its target."""
        return predict(self.model, batch, draw, generator, step)

    def sample(self, request: SampleRequest) -> Any:
        """Return a sample as a Pillow image, or None if it was ended early."""
        return self.model.sample(request)

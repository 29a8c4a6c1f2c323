"""Define the interface of a training method."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import Parameter

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.embedding import TrainEmbeddingConfig
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.model import Model


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
    settings: TrainEmbeddingConfig | None = None


class Method(Protocol):
    """A method attached to a model."""

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

    def save_beside(self, destination: Path, dtype: torch.dtype | None, header: Header) -> None:
        """Write further files of the result, which is at ``destination``."""
        ...

    def back_up(self, folder: Path, header: Header) -> None:
        """Write the trained weights to the folder of a backup, unchanged."""
        ...

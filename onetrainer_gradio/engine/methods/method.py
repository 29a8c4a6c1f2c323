"""What every training method offers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import nn
from torch.nn import Parameter

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.families.family import Family
from onetrainer_gradio.engine.header import Header


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate. ``part`` is the name of their part in the configuration."""

    name: str
    part: str
    parameters: tuple[Parameter, ...]
    learning_rate: float


class Method(Protocol):
    """A method attached to a model."""

    formats: ClassVar[frozenset[str]]

    @classmethod
    def base_model(cls, config: TrainConfig, backup: Path | None) -> str:
        """From where the model is loaded, going on from ``backup`` where there is one."""
        ...

    @classmethod
    def attach(cls, family: Family, config: TrainConfig, seed: int, backup: Path | None) -> Method:
        """Makes the model trainable, from the weights of ``backup`` where there is one."""
        ...

    def groups(self) -> tuple[ParameterGroup, ...]:
        """The trained parameters."""
        ...

    def encoding_facts(self) -> dict[str, Any]:
        """What this method adds to the parts that encode and are not trained; part of every fingerprint of the cache."""
        ...

    def trained_modules(self) -> tuple[nn.Module, ...]:
        """The parts that are trained, to be put into training mode."""
        ...

    def save(self, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
        """Writes the result."""
        ...

    def back_up(self, folder: Path, header: Header) -> None:
        """Writes the trained weights into the folder of a backup, unchanged."""
        ...

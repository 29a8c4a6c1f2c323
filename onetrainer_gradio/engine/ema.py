"""Maintain an exponential moving average of the trained weights, which is sampled and saved instead of the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from onetrainer_gradio.errors import BackupMismatchError


def decay(update_step: int, max_decay: float) -> float:
    """Return min((1 + n) / (10 + n), max decay) for optimizer step n (counted from 0): a short average at first."""
    return min((1 + update_step) / (10 + update_step), max_decay)


@dataclass
class EMA:
    """An average over optimizer steps, on its own device."""

    parameters: Sequence[Parameter]
    max_decay: float
    interval: int
    device: torch.device
    averages: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.averages = [parameter.detach().to(self.device, copy=True) for parameter in self.parameters]

    def decay(self, update_step: int) -> float:
        """Return the decay after optimizer step ``update_step``; see :func:`decay`."""
        return decay(update_step, self.max_decay)

    @torch.no_grad()
    def step(self, update_step: int) -> None:
        """Add the weights after optimizer step ``update_step`` (counted from 0), at every ``interval``-th."""
        if (update_step + 1) % self.interval:
            return
        share = 1 - self.decay(update_step)
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            if parameter.requires_grad:
                average.add_(share * (parameter.detach().to(average.device) - average))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use the average as the model's weights within the block."""
        kept = [parameter.detach().clone() for parameter in self.parameters]
        self._copy(self.averages)
        try:
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, tensors: Sequence[Tensor]) -> None:
        for parameter, tensor in zip(self.parameters, tensors, strict=True):
            parameter.copy_(tensor)

    def state_dict(self) -> dict[str, Any]:
        """Return the content of ema.pt."""
        return {"decay": self.max_decay, "ema_parameters": self.averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the averages of a backup.

        :raises BackupMismatchError: if they belong to other weights.
        """
        found, own = [[tuple(tensor.shape) for tensor in some] for some in (state["ema_parameters"], self.parameters)]
        if found != own:
            raise BackupMismatchError(
                f"The EMA weights of the backup don't match the trained weights: the backup has {len(found)} tensors, "
                f"but {len(own)} are trained.",
                path="layer_filter",
                expected="the layers and the rank that the backup was created with",
                suggestion="Set Layer filter, LoRA rank and the trained components as they were for the backup.",
            )
        self.averages = [tensor.to(self.device) for tensor in state["ema_parameters"]]

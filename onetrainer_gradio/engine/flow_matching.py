"""Implement rectified flow matching (SD3, arXiv 2403.03206, section 2): noising, targets, loss weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onetrainer_gradio.config import TrainConfig


def constant(sigma_B: Tensor) -> Tensor:
    """Weight every timestep equally."""
    return torch.ones_like(sigma_B)


def sigma(sigma_B: Tensor) -> Tensor:
    """Weight by the noise level."""
    return sigma_B


FLOW_LOSS_WEIGHTS: Mapping[str, Callable[[Tensor], Tensor]] = {"CONSTANT": constant, "SIGMA": sigma}


@dataclass(frozen=True)
class FlowMatching:
    """Noise levels of the train timesteps: (t + 1) / T, and the rest to 1. A timestep shift changes how often each is sampled."""

    sigma_T: Tensor
    one_minus_sigma_T: Tensor

    @classmethod
    def of(cls, scheduler_config: Mapping[str, Any], config: TrainConfig, device: torch.device) -> FlowMatching:
        """Return the process with the number of train timesteps of a model's scheduler."""
        timesteps = int(scheduler_config.get("num_train_timesteps", 1000))
        sigma_T = torch.arange(1, timesteps + 1, dtype=torch.int32, device=device) / timesteps
        return cls(sigma_T, 1.0 - sigma_T)

    @property
    def timestep_first(self) -> bool:
        """Return False: the noise is sampled before the timestep."""
        return False

    @property
    def prediction(self) -> str:
        """Return "flow_prediction"."""
        return "flow_prediction"

    @property
    def timesteps(self) -> int:
        """Return the number of train timesteps, T."""
        return self.sigma_T.shape[0]

    def psi(self, timestep_B: Tensor) -> Tensor | None:
        """Return None: generalized offset noise is defined for noise schedules with betas only."""
        return None

    def noised(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """Return x_t = sigma epsilon + (1 - sigma) x_0, computed in float32."""
        index = timestep_B.long()
        shape = (-1, *(1 for _ in latents_BCHW.shape[1:]))
        noise, signal = self.sigma_T[index].view(shape), self.one_minus_sigma_T[index].view(shape)
        mixed = noise_BCHW.to(noise.dtype) * noise + latents_BCHW.to(signal.dtype) * signal
        return mixed.to(latents_BCHW.dtype)

    def target(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """Return the velocity, epsilon - x_0."""
        return noise_BCHW - latents_BCHW

    def loss_weight(self, name: str, timestep_B: Tensor, strength: float) -> Tensor:
        """Return the loss weight of each timestep, by the name of the setting; the strength has no effect."""
        return FLOW_LOSS_WEIGHTS[name](self.sigma_T[timestep_B.long()])

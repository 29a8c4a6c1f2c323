"""Implement the discrete diffusion process of DDPM (arXiv 2006.11239): noising, targets, signal-to-noise ratio.

Letters behind the underscore name the axes: B batch, C channels, H height, W width, T train timesteps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.losses import LOSS_WEIGHTS
from onetrainer_gradio.engine.noise import generalized_offset_psi


@dataclass(frozen=True)
class Diffusion:
    """Square roots of the cumulative products of a noise schedule, on the device that trains."""

    betas_T: Tensor
    sqrt_alphas_cumprod_T: Tensor
    sqrt_one_minus_alphas_cumprod_T: Tensor
    prediction: str  # "epsilon" or "v_prediction"
    psi_T: Tensor | None = None
    """The factor of generalized offset noise, if it is used."""

    @classmethod
    def of(cls, scheduler_config: Mapping[str, Any], config: TrainConfig, device: torch.device) -> Diffusion:
        """Return the process of a model's scheduler, as the settings change it."""
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        betas_T = DDIMScheduler.from_config(dict(scheduler_config)).betas
        zero_snr = config.rescale_noise_scheduler_to_zero_terminal_snr
        prediction = scheduler_config.get("prediction_type", "epsilon")
        if config.force_epsilon_prediction:
            prediction = "epsilon"
        if config.force_v_prediction or zero_snr:
            prediction = "v_prediction"
        process = cls.from_betas(zero_terminal_snr(betas_T) if zero_snr else betas_T, prediction, device)
        if config.offset_noise_weight > 0 and config.generalized_offset_noise:
            return replace(process, psi_T=generalized_offset_psi(process.betas_T))
        return process

    @classmethod
    def from_betas(cls, betas_T: Tensor, prediction: str, device: torch.device) -> Diffusion:
        """Return the process with the noise schedule ``betas_T``."""
        betas_T = betas_T.to(device)
        alphas_cumprod_T = torch.cumprod(1 - betas_T, dim=0)
        return cls(betas_T, torch.sqrt(alphas_cumprod_T), torch.sqrt(1.0 - alphas_cumprod_T), prediction)

    @property
    def timestep_first(self) -> bool:
        """Return True: the timestep is sampled before the noise."""
        return True

    @property
    def timesteps(self) -> int:
        """Return the number of train timesteps, T."""
        return self.betas_T.shape[0]

    def noised(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """Return x_t = sqrt(alpha_cumprod) x_0 + sqrt(1 - alpha_cumprod) epsilon (DDPM, eq. 4)."""
        signal, noise = self._coefficients(timestep_B)
        mixed = latents_BCHW.to(signal.dtype) * signal + noise_BCHW.to(noise.dtype) * noise
        return mixed.to(latents_BCHW.dtype)

    def target(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """Return the target of the denoiser: epsilon, or v = alpha epsilon - sigma x (arXiv 2202.00512, appendix D)."""
        if self.prediction == "epsilon":
            return noise_BCHW
        signal, noise = self._coefficients(timestep_B)
        return (signal * noise_BCHW - noise * latents_BCHW).to(latents_BCHW.dtype)

    def snr(self, timestep_B: Tensor) -> Tensor:
        """Return the signal-to-noise ratio, alpha_cumprod / (1 - alpha_cumprod)."""
        index = timestep_B.long()
        return (self.sqrt_alphas_cumprod_T[index] / self.sqrt_one_minus_alphas_cumprod_T[index]) ** 2

    def psi(self, timestep_B: Tensor) -> Tensor | None:
        """Return the factor of generalized offset noise, if it is used."""
        return None if self.psi_T is None else self.psi_T[timestep_B.long()]

    def loss_weight(self, name: str, timestep_B: Tensor, strength: float) -> Tensor:
        """Return the loss weight of each timestep, by the name of the setting."""
        return LOSS_WEIGHTS[name](self.snr(timestep_B), self.prediction == "v_prediction", strength)

    def _coefficients(self, timestep_B: Tensor) -> tuple[Tensor, Tensor]:
        index = timestep_B.long()
        return (
            self.sqrt_alphas_cumprod_T[index][:, None, None, None],
            self.sqrt_one_minus_alphas_cumprod_T[index][:, None, None, None],
        )


def zero_terminal_snr(betas_T: Tensor) -> Tensor:
    """Return the schedule, rescaled so that the last timestep is pure noise (arXiv 2305.08891, algorithm 1)."""
    root = torch.sqrt(torch.cumprod(1.0 - betas_T, dim=0))
    first, last = root[0].clone(), root[-1].clone()
    root = (root - last) * (first / (first - last))
    alphas_cumprod = root**2
    alphas = torch.cat([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])
    return 1 - alphas


def scale(vae_config: Any, latents_BCHW: Tensor) -> Tensor:
    """Return latents of about unit variance: multiplied by the scaling factor of the VAE."""
    return latents_BCHW * float(vae_config["scaling_factor"])


def shift_and_scale(vae_config: Any, latents_BCHW: Tensor) -> Tensor:
    """Return latents of about zero mean and unit variance."""
    return (latents_BCHW - float(vae_config["shift_factor"])) * float(vae_config["scaling_factor"])

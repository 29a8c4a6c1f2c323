"""Implement the discrete diffusion process of DDPM (arXiv 2006.11239): noising, targets, signal-to-noise ratio.

Letters behind the underscore name the axes: B batch, C channels, H height, W width, T train timesteps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiffusionProcess:
    """Square roots of the cumulative products of a noise schedule, on the device that trains."""

    betas_T: Tensor
    sqrt_alphas_cumprod_T: Tensor
    sqrt_one_minus_alphas_cumprod_T: Tensor
    prediction: str  # "epsilon" or "v_prediction"

    @classmethod
    def from_betas(cls, betas_T: Tensor, prediction: str, device: torch.device) -> DiffusionProcess:
        """Return the process with the noise schedule ``betas_T``."""
        betas_T = betas_T.to(device)
        alphas_cumprod_T = torch.cumprod(1 - betas_T, dim=0)
        return cls(betas_T, torch.sqrt(alphas_cumprod_T), torch.sqrt(1.0 - alphas_cumprod_T), prediction)

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

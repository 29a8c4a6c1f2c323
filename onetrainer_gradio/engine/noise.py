"""Sample the noise that is added to the latents, in a fixed order from one generator: base, offset, perturbation."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def generalized_offset_psi(betas_T: Tensor) -> Tensor:
    """Return psi_t, by which the offset grows with the timestep: "Generalized Diffusion Model with Adjusted Offset Noise"
    (arXiv 2412.03134), equation 22 with the balanced strategy of equation 34. float64, shape T.
    """
    betas = betas_T.to(torch.float64)
    alphas = 1.0 - betas
    cumulative = torch.cumprod(alphas, dim=0)
    before = torch.cat([torch.ones(1, dtype=betas.dtype, device=betas.device), cumulative[:-1]])  # alpha_0 = 1
    c = (1 - alphas) * torch.sqrt(before) / (alphas * (1 - before))

    gammas = torch.zeros_like(betas)
    gammas[0] = 1.0
    total = gammas[0] / torch.sqrt(before[0])
    for t in range(1, betas.shape[0]):
        gammas[t] = c[t] * total
        total = total + gammas[t] / torch.sqrt(before[t])
    psi_last = total / torch.sqrt(1 - cumulative[-1])
    return torch.cumsum(gammas / psi_last / torch.sqrt(before), dim=0) / torch.sqrt(1 - cumulative)


def draw_noise(
    like_BCHW: Tensor,
    generator: Generator,
    *,
    offset_weight: float = 0.0,
    perturbation_weight: float = 0.0,
    psi_B: Tensor | None = None,
) -> Tensor:
    """Return Gaussian noise of the shape and dtype of ``like_BCHW``.

    ``offset_weight`` adds one value per image and channel to all pixels (scaled by ``psi_B`` if given);
    ``perturbation_weight`` adds a second full noise sample.
    """
    device, dtype = like_BCHW.device, like_BCHW.dtype
    noise = torch.randn(like_BCHW.shape, generator=generator, device=device, dtype=dtype)
    if offset_weight > 0:
        shape = (*like_BCHW.shape[:2], *(1 for _ in like_BCHW.shape[2:]))
        offset = torch.randn(shape, generator=generator, device=device, dtype=dtype)
        scale = offset_weight if psi_B is None else psi_B.view(-1, *(1 for _ in like_BCHW.shape[1:])) * offset_weight
        noise = noise + scale * offset
    if perturbation_weight > 0:
        more = torch.randn(like_BCHW.shape, generator=generator, device=device, dtype=dtype)
        noise = noise + perturbation_weight * more
    return noise

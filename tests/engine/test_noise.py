"""Noise."""

from __future__ import annotations

import pytest
import torch

from onetrainer_gradio.engine.diffusion import Diffusion, zero_terminal_snr
from onetrainer_gradio.engine.noise import draw_noise, generalized_offset_psi

LIKE = torch.zeros(3, 4, 8, 8)
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def test_plain_noise_is_the_next_draw():
    """It is plain randn."""
    assert torch.equal(draw_noise(LIKE, generator()), torch.randn(LIKE.shape, generator=generator()))


def test_offset_noise_is_one_number_for_each_channel():
    """The difference to plain noise is constant over a channel's pixels."""
    difference = draw_noise(LIKE, generator(), offset_weight=0.1) - draw_noise(LIKE, generator())
    assert difference.flatten(2).std(2).max() < 1e-6
    assert len(difference[:, :, 0, 0].unique()) == 12


@pytest.mark.slow
def test_generalized_offset_noise_grows_with_the_timestep():
    """psi scales each image's offset; it rises with the timestep."""
    psi = generalized_offset_psi(BETAS)
    assert psi.shape == (1000,)
    assert bool((psi[1:] > psi[:-1]).all())
    assert psi[-1].item() == pytest.approx(1.0, abs=1e-6)
    chosen = psi[torch.tensor([0, 500, 999])]
    plain = draw_noise(LIKE, generator())
    offset = draw_noise(LIKE, generator(), offset_weight=1.0) - plain
    scaled = draw_noise(LIKE, generator(), offset_weight=1.0, psi_B=chosen) - plain
    assert torch.allclose(scaled, offset * chosen[:, None, None, None], atol=1e-6)


def test_perturbation_noise_is_a_second_draw():
    """The variance is 1 + weight squared."""
    noise = draw_noise(torch.zeros(1, 4, 128, 128), generator(), perturbation_weight=0.5)
    assert noise.var().item() == pytest.approx(1.25, rel=0.02)


def test_noising_and_targets_agree_with_diffusers():
    """x_t and v equal those of diffusers' DDPM scheduler, for the same betas."""
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction")
    ours = Diffusion.from_betas(theirs.betas, "v_prediction", torch.device("cpu"))
    latents, noise = torch.randn(3, 4, 8, 8, generator=generator(2)), torch.randn(3, 4, 8, 8, generator=generator(3))
    timestep = torch.tensor([0, 400, 999], dtype=torch.int32)
    assert torch.allclose(ours.noised(latents, noise, timestep), theirs.add_noise(latents, noise, timestep.long()), atol=1e-6)
    assert torch.allclose(ours.target(latents, noise, timestep), theirs.get_velocity(latents, noise, timestep.long()), atol=1e-6)
    assert ours.timesteps == 1000
    expected = theirs.alphas_cumprod[400] / (1 - theirs.alphas_cumprod[400])
    assert ours.snr(timestep)[1].item() == pytest.approx(expected.item(), rel=1e-4)


def test_zero_terminal_snr_ends_in_pure_noise():
    """The last timestep has no signal, the first as much as before."""
    rescaled = zero_terminal_snr(BETAS)
    kept, before = torch.cumprod(1 - rescaled, 0), torch.cumprod(1 - BETAS, 0)
    assert kept[-1].item() == pytest.approx(0, abs=1e-7)
    assert kept[0].item() == pytest.approx(before[0].item(), abs=1e-6)

"""Train the autoencoder of the demo model (first stage)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onetrainer_gradio.demo import toy_dataset

Log = Callable[[str], None]

LEARNING_RATE = 1.5e-3
START_LOG_VARIANCE = -5.0
POLISH_NOISE = 0.03
"""Standard deviation of the noise on the decoder's latents, in units of the scaled latents."""
KL_WEIGHT = 2e-4
"""Weight of the mean Kullback-Leibler term, relative to the mean absolute error of images in -1..1."""


def practice_image(rng: random.Random) -> toy_dataset.Pixels:
    """Return an image only for the autoencoder: arbitrary colors, sizes and rings, so that it can represent more than the
    captions of the toy dataset describe (like the autoencoder of a real model)."""

    def color() -> toy_dataset.Color:
        return rng.randrange(256), rng.randrange(256), rng.randrange(256)

    top = color()
    canvas = toy_dataset.backdrop(top, color() if rng.random() < 0.5 else top)
    for _ in range(rng.randint(1, 3)):
        center = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
        if rng.random() < 0.4:
            canvas = toy_dataset.fill_rings(canvas, center, rng.uniform(0.15, 0.25), color(), color())
        else:
            covered = toy_dataset.cover(rng.choice(toy_dataset.SHAPES), center, rng.uniform(0.08, 0.25))
            canvas = toy_dataset.fill(canvas, covered, color())
    return toy_dataset.to_pixels(canvas)


def to_tensor(pixels: toy_dataset.Pixels) -> Tensor:
    """Convert (N, H, W, 3) in 0..255 to (N, 3, H, W) in -1..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def practice_images(rng: random.Random, count: int) -> toy_dataset.Pixels:
    """Return images of the toy dataset and practice images alternately, (count, 128, 128, 3)."""
    return np.stack(
        [toy_dataset.render(toy_dataset.random_scene(rng)) if number % 2 else practice_image(rng) for number in range(count)]
    )


def train_vae(vae: Any, *, seed: int, crop_steps: int, whole_steps: int, log: Log) -> None:
    """Train the autoencoder on crops of 64 px, then on complete images, with one learning rate schedule for both.

    Set ``vae.config.scaling_factor`` so that scaled latents of the toy dataset have unit variance.
    """
    rng = random.Random(seed)
    count = 2048
    pixels = practice_images(rng, count)
    log(f"autoencoder: {count} images rendered")
    total = crop_steps + whole_steps
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(total, 2), pct_start=0.06)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # start with little posterior noise, else the first hundreds of steps see nothing but noise
        vae.quant_conv.bias[vae.config.latent_channels :] = START_LOG_VARIANCE
    vae.train()
    start = time.monotonic()
    for step in range(total):
        whole = step >= crop_steps
        chosen = [rng.randrange(count) for _ in range(8 if whole else 16)]
        if whole:
            batch = pixels[chosen]
        else:
            edges = [(rng.randrange(0, 65, 8), rng.randrange(0, 65, 8)) for _ in chosen]
            batch = np.stack([pixels[n, y : y + 64, x : x + 64] for n, (y, x) in zip(chosen, edges, strict=True)])
        images = to_tensor(batch)
        posterior = vae.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        difference = decoded - images
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1.0 - posterior.logvar).mean()
        loss = difference.abs().mean() + difference.square().mean() + KL_WEIGHT * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == total - 1:
            log(
                f"autoencoder: step {step + 1}/{total}, L1 {difference.abs().mean().item():.4f}, "
                f"KL {kl.item():.2f}, {time.monotonic() - start:.0f} s"
            )
    vae.eval()
    with torch.no_grad():
        sample = torch.cat([vae.encode(to_tensor(pixels[n : n + 32])).latent_dist.mean for n in range(0, 256, 32)])
    vae.register_to_config(scaling_factor=round(1.0 / sample.std().item(), 5))
    log(f"autoencoder: mean {sample.mean().item():.3f}, scaling factor {vae.config.scaling_factor}")


def polish_decoder(vae: Any, *, seed: int, steps: int, log: Log, learning_rate: float = 6e-4) -> None:
    """Train only the decoder, on complete images and the latents that training and sampling use.

    The latents don't change, so this can run after (or during) the training of the denoiser.
    """
    rng = random.Random(seed)
    count = 1024
    pixels = practice_images(random.Random(seed), count)
    with torch.no_grad():
        latents = torch.cat([vae.encode(to_tensor(pixels[n : n + 32])).latent_dist.mean for n in range(0, count, 32)])
    trained = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=max(steps, 2), pct_start=0.05)
    generator = torch.Generator().manual_seed(seed)
    vae.train()
    start = time.monotonic()
    for step in range(steps):
        chosen = [rng.randrange(count) for _ in range(8)]
        images = to_tensor(pixels[chosen])
        # a little noise: generated latents never equal the encoder's
        noise = torch.randn(latents[chosen].shape, generator=generator) * (POLISH_NOISE / vae.config.scaling_factor)
        difference = vae.decode(latents[chosen] + noise).sample - images
        loss = difference.abs().mean() + difference.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            error = difference.abs().mean().item()
            log(f"decoder: step {step + 1}/{steps}, L1 {error:.4f}, {time.monotonic() - start:.0f} s")
    vae.eval()

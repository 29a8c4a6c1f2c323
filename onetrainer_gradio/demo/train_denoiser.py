"""Train text encoder and UNet of the demo model together to generate the content of captions (second stage)."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from onetrainer_gradio.demo import toy_dataset
from onetrainer_gradio.demo.train_vae import Log, to_tensor

EMPTY_CAPTIONS = 0.1
"""Fraction of captions that are emptied, so that classifier-free guidance works (Ho and Salimans, 2022)."""
EMA_DECAY = 0.995
MAX_WEIGHT = 60.0

Watch = Callable[[int, Any, Any], None]
"""Receives the step and the running averages of UNet and text encoder."""


@dataclass(frozen=True)
class LatentDataset:
    """Encoded scenes: scaled latents (N, 4, H, W) and token IDs (N, 77), in the same order.

    ``empty`` (77,) are the tokens of the empty caption.
    """

    latents: Tensor
    tokens: Tensor
    empty: Tensor


def tokens_of(tokenizer: Any, captions: list[str]) -> Tensor:
    """Return the token IDs, padded to the tokenizer's length, (N, 77)."""
    tokens: Tensor = tokenizer(
        captions, padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
    return tokens


def encode_scenes(vae: Any, tokenizer: Any, *, seed: int, count: int, size: int, zoom: float, log: Log) -> LatentDataset:
    """Render ``count`` random scenes at ``size`` px, with objects ``zoom`` times as large, and encode them once."""
    rng = random.Random(seed)
    scenes = [toy_dataset.random_scene(rng) for _ in range(count)]
    enlarged = [replace(scene, radius=scene.radius * zoom) for scene in scenes]
    latents = []
    with torch.no_grad():
        for first in range(0, count, 32):
            images = np.stack([toy_dataset.render(scene, size) for scene in enlarged[first : first + 32]])
            latents.append(vae.encode(to_tensor(images)).latent_dist.mean * vae.config.scaling_factor)
    log(f"denoiser: {count} scenes of {size} px encoded")
    return LatentDataset(
        torch.cat(latents),
        tokens_of(tokenizer, [scene.caption for scene in scenes]),
        tokens_of(tokenizer, [""])[0],
    )


class WordTest:
    """Measure which words of a caption the denoiser uses: the error of its predicted clean latents, with correct captions
    and with captions that have one wrong word. A word that makes no difference hasn't been learned yet."""

    WORDS: ClassVar[dict[str, tuple[str, ...]]] = {
        "thing": toy_dataset.SHAPES,
        "color": tuple(toy_dataset.COLORS),
        "place": tuple(toy_dataset.PLACES),
        "background": tuple(toy_dataset.BACKGROUNDS),
    }

    def __init__(self, vae: Any, tokenizer: Any, *, seed: int, size: int, zoom: float, count: int = 24) -> None:
        rng = random.Random(seed)
        scenes = [replace(toy_dataset.random_scene(rng), names_place=True, names_background=True) for _ in range(count)]
        images = np.stack([toy_dataset.render(replace(scene, radius=scene.radius * zoom), size) for scene in scenes])
        with torch.no_grad():
            self.latents = vae.encode(to_tensor(images)).latent_dist.mean * vae.config.scaling_factor
        captions = {"right": [scene.caption for scene in scenes]}
        for word, choices in self.WORDS.items():
            captions[word] = []
            for scene in scenes:
                wrong: dict[str, Any] = {word: rng.choice([one for one in choices if one != getattr(scene, word)])}
                captions[word].append(replace(scene, **wrong).caption)
        self.tokens = {word: tokens_of(tokenizer, texts) for word, texts in captions.items()}
        self.noise = torch.randn(self.latents.shape, generator=torch.Generator().manual_seed(seed))

    def __call__(self, unet: Any, text_encoder: Any, scheduler: Any, timestep: int = 800) -> str:
        """Return one line with the error for correct captions and for each kind of wrong word."""
        timesteps = torch.full((len(self.latents),), timestep)
        noisy = scheduler.add_noise(self.latents, self.noise, timesteps)
        kept = float(scheduler.alphas_cumprod[timestep])
        results = []
        with torch.no_grad():
            for word, tokens in self.tokens.items():
                guess = unet(noisy, timesteps, text_encoder(tokens).last_hidden_state).sample
                results.append(f"{word} {float((guess - self.noise).square().mean()) * (1 - kept) / kept:.3f}")
        return ", ".join(results)


def train_denoiser(
    unet: Any,
    text_encoder: Any,
    scheduler: Any,
    dataset: LatentDataset,
    *,
    seed: int,
    steps: int,
    arc: int,
    log: Log,
    batch: int = 32,
    learning_rate: float = 1.2e-3,
    watch: Watch | None = None,
    watch_every: int = 200,
) -> None:
    """Train both components together; they have their running averages as weights afterwards.

    ``arc`` is the number of steps of the learning rate schedule.

    The loss is the error of the predicted noise, weighted by 1 / alpha_bar (at most ``MAX_WEIGHT``), which is the
    velocity loss (Salimans and Ho, "Progressive distillation", 2022). The plain epsilon loss gives little weight to high
    noise levels, where place and shape are decided and only the caption determines them.
    """
    generator = torch.Generator().manual_seed(seed)
    rng = random.Random(seed)
    parts = torch.nn.ModuleList([unet, text_encoder])
    averages = copy.deepcopy(parts).requires_grad_(False)
    averaged: list[Tensor] = [*averages.parameters()]
    trained: list[Tensor] = [*parts.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=max(arc, 2), pct_start=0.05, final_div_factor=100.0
    )
    weights = scheduler.alphas_cumprod.reciprocal().clamp(max=MAX_WEIGHT)
    weights = weights / weights.mean()
    order: list[int] = []
    smooth = 1.0
    start = time.monotonic()
    parts.train()
    for step in range(steps):
        if len(order) < batch:
            order = rng.sample(range(len(dataset.latents)), len(dataset.latents))
        chosen, order = order[:batch], order[batch:]
        latents = dataset.latents[chosen]
        tokens = dataset.tokens[chosen].clone()
        tokens[torch.rand(batch, generator=generator) < EMPTY_CAPTIONS] = dataset.empty
        noise = torch.randn(latents.shape, generator=generator)
        # one timestep from each of ``batch`` equal slices: less variance than independent draws
        slices = torch.randperm(batch, generator=generator) + torch.rand(batch, generator=generator)
        timesteps = (slices * (scheduler.config.num_train_timesteps / batch)).long()
        hidden = text_encoder(tokens).last_hidden_state
        predicted = unet(scheduler.add_noise(latents, noise, timesteps), timesteps, hidden).sample
        loss = ((predicted - noise).square().mean(dim=(1, 2, 3)) * weights[timesteps]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            decay = min(EMA_DECAY, (1 + step) / (10 + step))
            torch._foreach_lerp_(averaged, trained, 1 - decay)
        smooth += (loss.item() - smooth) * 0.02
        if step % 100 == 0 or step == steps - 1:
            log(f"denoiser: step {step + 1}/{steps}, loss {smooth:.4f}, {time.monotonic() - start:.0f} s")
        if watch is not None and step and step % watch_every == 0:
            averages.eval()
            watch(step, averages[0], averages[1])
    with torch.no_grad():
        torch._foreach_copy_(trained, averaged)
    parts.eval()

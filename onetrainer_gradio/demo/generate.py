"""Generate images with a diffusers pipeline, many prompts at once, each from its own seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from onetrainer_gradio.demo.toy_dataset import SIZE, Pixels

STEPS = 20
GUIDANCE = 3.0


def open_pipeline(folder: Path) -> Any:
    """Return the demo model, or a copy of it without LoRA, in float32 on the CPU."""
    import torch  # both take seconds to import, and preparing a run needs neither
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(
    pipeline: Any, prompts: list[str], *, seed: int, steps: int = STEPS, guidance: float = GUIDANCE, size: int = SIZE
) -> list[Pixels]:
    """Return one image (size, size, 3) per prompt; prompt number n starts from the noise of ``seed + n``."""
    import torch

    generators = [torch.Generator().manual_seed(seed + number) for number in range(len(prompts))]
    with torch.no_grad():
        images = pipeline(
            prompts,
            num_inference_steps=steps,
            guidance_scale=guidance,
            height=size,
            width=size,
            generator=generators,
            output_type="np",
        ).images
    return [np.rint(image * 255).astype(np.uint8) for image in images]


def contact_sheet(images: list[Pixels], columns: int) -> Pixels:
    """Return the images in rows of ``columns``; the last row is filled with black."""
    blank = np.zeros_like(images[0])
    padded = [*images, *[blank] * (-len(images) % columns)]
    return np.vstack([np.hstack(padded[first : first + columns]) for first in range(0, len(padded), columns)])

"""Inpainting models: the mask and the image around it are further channels of the denoiser's input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.engine.families.family import LoadedModel, Tensors

CHANNELS = "channels"
"""Name of the further channels among the conditions."""
_ERODED_PX = 5


def channels(model: LoadedModel, tensors: Tensors) -> Tensors:
    """Return the further channels (B, 1 + C, h, w) of a batch of an inpainting model: mask, latents of the image around it."""
    if "conditioning_latents" not in tensors:
        return {}
    around = model.normalized(tensors["conditioning_latents"].to(model.device))
    return {CHANNELS: torch.cat([tensors["mask"].to(around), around], dim=1)}


def with_channels(noised_BCHW: Tensor, condition: Tensors) -> Tensor:
    """Return the input of the denoiser: the noised latents, then the further channels."""
    if CHANNELS not in condition:
        return noised_BCHW
    return torch.cat([noised_BCHW, condition[CHANNELS].to(noised_BCHW)], dim=1)


@dataclass(frozen=True)
class Canvas:
    """What a sample of an inpainting model starts from: an image (1, 3, H, W) from -1 to 1 and its mask (1, 1, H, W)."""

    image: Tensor
    mask: Tensor

    @classmethod
    def of(cls, sample: SampleConfig) -> Canvas:
        """Return the base image and mask of a sample, or an empty canvas: gray, and everything masked."""
        size = sample.height, sample.width
        if not sample.sample_inpainting:
            return cls(torch.zeros(1, 3, *size), torch.ones(1, 1, *size))
        mask = read_image(sample.mask_image_path, "L", size) > 0
        return cls(read_image(sample.base_image_path, "RGB", size) * 2 - 1, mask.float())

    def around(self) -> Tensor:
        """Return the image with gray in its hole, which is a little smaller than the mask."""
        hole = functional.avg_pool2d(self.mask, _ERODED_PX, stride=1, padding=_ERODED_PX // 2, count_include_pad=False) > 0.5
        return self.image * (1 - hole.float())


def arguments(model: LoadedModel, sample: SampleConfig) -> dict[str, Any]:
    """Return the image arguments of diffusers' inpainting pipelines."""
    canvas = Canvas.of(sample)
    around = canvas.around().to(model.device, model.dtype)
    latents = model.vae.encode(around).latent_dist.mode()
    return {
        "image": canvas.image.to(model.device),
        "mask_image": canvas.mask.to(model.device),
        "masked_image_latents": model.normalized(latents),
        "strength": 1.0,
    }


def read_image(path: str, mode: str, size: tuple[int, int]) -> Tensor:
    """Return an image file as (1, C, H, W) with values 0 to 1, scaled to ``size`` (height, width)."""
    with Image.open(Path(path)) as image:
        pixels = numpy.asarray(image.convert(mode).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return torch.tensor(pixels).view(*size, -1).permute(2, 0, 1)[None].float() / 255

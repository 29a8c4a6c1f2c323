"""The depth of an image, which a depth model gets as one more channel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.engine.families.family import LoadedModel, Tensors
from onetrainer_gradio.engine.inpainting import CHANNELS, read_image


def depth_of_image(model: LoadedModel, image: Tensors) -> Tensors:
    """Return ``depth`` (1, H/8, W/8) of ``image`` (3, H, W) with values 0 to 1, as diffusers' depth pipeline computes it."""
    image_CHW = image["image"].float().cpu()
    height, width = image_CHW.shape[1] // 8, image_CHW.shape[2] // 8
    pixels = model.tokenizers["feature_extractor"](
        images=image_CHW.permute(1, 2, 0).numpy(), do_rescale=False, return_tensors="pt"
    )
    with model.at_hand("depth_estimator") as estimator:
        depth_BHW = estimator(pixels.pixel_values.to(model.device)).predicted_depth
    return {"depth": scaled(functional.interpolate(depth_BHW[:, None], (height, width), mode="bicubic", align_corners=False))[0]}


def scaled(depth_B1HW: Tensor) -> Tensor:
    """Return depth from -1 (the nearest or farthest, as the estimator has it) to 1; an even one is 0 everywhere."""
    low, high = depth_B1HW.amin(dim=(1, 2, 3), keepdim=True), depth_B1HW.amax(dim=(1, 2, 3), keepdim=True)
    even = high <= low
    return torch.where(even, 0.0, 2.0 * (depth_B1HW - low) / torch.where(even, 1.0, high - low) - 1.0)


def channels(tensors: Tensors) -> Tensors:
    """Return the further channel of a batch of a depth model."""
    return {CHANNELS: tensors["depth"]} if "depth" in tensors else {}


def arguments(model: LoadedModel, sample: SampleConfig) -> dict[str, Any]:
    """Return the image arguments of diffusers' depth pipeline: the base image, or a floor that recedes into the distance."""
    if sample.base_image_path:
        base = read_image(sample.base_image_path, "RGB", (sample.height, sample.width)) * 2 - 1
        return {"image": base.to(model.device), "strength": 1.0}
    gray = torch.zeros(1, 3, sample.height, sample.width)
    floor = torch.linspace(0.0, 1.0, sample.height // 8)[:, None].expand(-1, sample.width // 8)
    return {"image": gray.to(model.device), "depth_map": floor[None].contiguous(), "strength": 1.0}

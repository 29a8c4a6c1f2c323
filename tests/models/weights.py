"""Fill tensors from their names, so that they are equal on every machine and with every library version."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def uniform(name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Return a float32 tensor of this shape between ``low`` and ``high``; equal names have equal values."""
    numbers = np.random.default_rng(zlib.crc32(name.encode())).random(shape, dtype=np.float32)
    return torch.from_numpy(np.asarray(numbers)) * (high - low) + low


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return typical values for a parameter: by its fan-in, near 1 for the weight of a norm, small for a bias."""
    if name.endswith("bias"):
        return uniform(name, shape, -0.1, 0.1)
    if len(shape) == 1:
        return uniform(name, shape, 0.8, 1.2)
    if "embedding" in name or name.endswith(("shared.weight", "relative_attention_bias.weight")):
        return uniform(name, shape, -0.5, 0.5)
    bound = (3 / np.prod(shape[1:])) ** 0.5
    return uniform(name, shape, -bound, bound)


def fill(component: str, module: nn.Module) -> None:
    """Fill a module's parameters from their published names."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(weight(f"{component}.{name.removeprefix('text_model.')}", tuple(parameter.shape)))


def adapter_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return an initial adapter tensor: both factors are nonzero, so that the first step already affects all of them."""
    if name.endswith("dora_scale"):
        return uniform(name, shape, 0.8, 1.2)
    if name.endswith("oft_R.weight"):
        return uniform(name, shape, -0.02, 0.02)
    bound = 0.3 if name.endswith(("lora_down.weight", "_b", "w1")) else 0.1
    return uniform(name, shape, -bound, bound)


def adapter(shapes: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return initial adapter tensors by their internal names, from their shapes; a number stands for itself."""
    return {
        name: adapter_weight(name, tuple(shape)) if isinstance(shape, list) else torch.tensor(float(shape))
        for name, shape in shapes.items()
    }


def tensors_of(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Return a module's tensors with a prefix, contiguous."""
    return {prefix + name: tensor.contiguous() for name, tensor in module.state_dict().items()}


Config = dict[str, Any]

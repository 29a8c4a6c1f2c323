"""Three weights with shapes of real models, and a target that an optimizer moves them to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.optimizer_libraries import LIBRARIES
from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.engine.methods.method import ParameterGroup

SHAPES = {"unet.down_blocks.0.proj.weight": (6, 4), "unet.mid_block.conv.weight": (3, 2, 3, 3), "unet.conv_in.bias": (5,)}

AVAILABLE = [name for name in Optimizer if LIBRARIES[name].installed and not LIBRARIES[name].needs_gpu]
"""The optimizers that this machine can try."""

WORKING = {
    "SCHEDULE_FREE_SGD": {"momentum": 0.9},
    "DADAPT_ADA_GRAD": {"eps": 1e-8},
    **{name: {"momentum": 0.9} for name in ("LARS", "LARS_8BIT", "SGD_8BIT")},
}
"""What the libraries require although OneTrainer's values differ: the pre-flight check reports those."""


def chosen(name: str, learning_rate: float = 1e-2, **parameters: Any) -> TrainConfig:
    """Return the settings that the form sets when the optimizer is selected, with some parameters changed."""
    optimizer = {"optimizer": name, **OPTIMIZERS[Optimizer(name)].defaults, **WORKING.get(name, {}), **parameters}
    if "d0" in optimizer:  # an initial learning rate that shows an effect within a few steps
        optimizer["d0"] = 1e-3
    rate = 0.1 if OPTIMIZERS[Optimizer(name)].adaptive else learning_rate
    return from_document({"optimizer": optimizer, "learning_rate": rate, "learning_rate_warmup_steps": 0})[0]


def weights(dtype: torch.dtype = torch.float32) -> tuple[Parameter, ...]:
    """Return the weights before training."""
    generator = torch.Generator().manual_seed(3)
    return tuple(Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES.values())


def groups(parameters: tuple[Parameter, ...], learning_rate: float) -> tuple[ParameterGroup, ...]:
    """Return the matrices and the vector as a method describes them: two groups."""
    names = tuple(SHAPES)
    return (
        ParameterGroup("unet", "unet", parameters[:1], learning_rate, names[:1]),
        ParameterGroup("text_encoder", "text_encoder", parameters[1:], learning_rate, names[1:]),
    )


def loss(parameters: tuple[Parameter, ...], step: int = 0) -> Tensor:
    """Return the squared distance to a target, plus a small term that differs in each step, so that gradients do."""
    distance = sum((weight.float() - 0.5).square().sum() for weight in parameters)
    return distance + 0.01 * sum((weight.float() * (step % 3)).sum() for weight in parameters)

"""LoRA (arXiv 2106.09685): add the product of two small matrices to a layer."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.methods.adapters.adapter import Adapter, draw
from onetrainer_gradio.engine.methods.adapters.layer import Layer

UNIFORM = partial(nn.init.kaiming_uniform_, a=math.sqrt(5))
"""How torch draws the weight of a Linear."""


class Lora(Adapter):
    """y = W x + b + alpha / rank · up(dropout(down(x))).

    Shapes: down (rank, in), up (out, rank). For a Conv2d, down has the kernel of the layer, and up a kernel of 1; with groups
    (depthwise convolutions), up has out / groups rows, which all groups share.
    """

    def __init__(self, layer: Layer, config: TrainConfig) -> None:
        super().__init__(layer, config)
        out, kernel = layer.shape[0] // layer.groups, layer.shape[2:]
        self.lora_down = self.new(config.lora_rank, layer.inputs, *kernel)
        self.lora_up = self.new(out, config.lora_rank, *(1 for _ in kernel))
        self.set_alpha(config.lora_alpha)

    @property
    def rank(self) -> int:
        return self.lora_down.shape[0]

    def initialize(self, generator: Generator) -> None:
        draw(self.lora_down, UNIFORM, generator)
        nn.init.zeros_(self.lora_up)

    def forward(self, x: Tensor, member: int | None = None) -> Tensor:
        layer = self.layer
        plain = layer.run(x, member)  # first: in half precision, the sum of the gradients of x depends on the order
        middle = layer.down(x, self.fitting(self.lora_down, x))
        if self.dropout:
            middle = functional.dropout(middle, self.dropout, training=self.training)
        up = self.lora_up if member is None else self.lora_up[layer.rows(member)]
        change = layer.up(middle, self.fitting(up, x))
        return plain + self.scaled(change)

    def change(self) -> Tensor:
        """Return the change of the weight, in its shape."""
        return self.scaled(multiplied(self.lora_up, self.lora_down, self.layer.shape))


def multiplied(up: Tensor, down: Tensor, shape: torch.Size) -> Tensor:
    """Return the product of two matrices, or of the weights of two convolutions, in the shape of the adapted weight."""
    return (up.flatten(1) @ down.flatten(1)).view(shape)

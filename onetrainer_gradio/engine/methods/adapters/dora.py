"""DoRA (arXiv 2402.09353): LoRA changes the direction of the weight, and a vector sets its magnitude."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.methods.adapters.layer import Layer
from onetrainer_gradio.engine.methods.adapters.lora import Lora
from onetrainer_gradio.engine.methods.adapters.magnitude import norms, with_magnitude


class Dora(Lora):
    """y = W' dropout(x) + b with W' = m · V / ‖V‖ and V = W + alpha / rank · up down.

    The magnitude m has one value for each input, or for each output with ``lora_decompose_output_axis``.
    """

    def __init__(self, layer: Layer, config: TrainConfig) -> None:
        super().__init__(layer, config)
        self.output_axis = config.lora_decompose_output_axis
        self.epsilon = config.lora_decompose_norm_epsilon
        axes = [length if (axis == 0) == self.output_axis and axis < 2 else 1 for axis, length in enumerate(layer.shape)]
        trained = {name: self._parameters.pop(name) for name in ("lora_down", "lora_up")}
        # first, as in OneTrainer, whose optimizer states name parameters by their position
        self.dora_scale = self.new(*axes)
        for name, parameter in trained.items():
            self.register_parameter(name, parameter)

    def initialize(self, generator: Generator) -> None:
        super().initialize(generator)
        with torch.no_grad():
            self.dora_scale.copy_(norms(self.layer.weight(), self.output_axis))

    def forward(self, x: Tensor, member: int | None = None) -> Tensor:
        direction = self.layer.weight() + self.change()
        weight = with_magnitude(direction, self.dora_scale, self.output_axis, self.epsilon)
        if member is not None:
            weight = weight[self.layer.rows(member)]
        x = functional.dropout(x, self.dropout, training=self.training)
        return self.layer.apply(x, weight, self.layer.bias(member))

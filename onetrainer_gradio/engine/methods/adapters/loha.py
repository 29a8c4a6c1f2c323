"""LoHa (arXiv 2108.06098): add the elementwise product of two low-rank matrices to a weight."""

from __future__ import annotations

from functools import partial

from torch import Generator, Tensor, nn
from torch.nn import functional

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.methods.adapters.adapter import Adapter, draw
from onetrainer_gradio.engine.methods.adapters.layer import Layer
from onetrainer_gradio.engine.methods.adapters.lora import multiplied


class LoHa(Adapter):
    """W' = W + alpha / rank · (w1_a w1_b) ∘ (w2_a w2_b).

    Shapes: a (out, rank[, 1, 1]), b (rank, in[, kernel height, kernel width]). Dropout is on each of the four.
    """

    def __init__(self, layer: Layer, config: TrainConfig) -> None:
        super().__init__(layer, config)
        out, kernel = layer.shape[0] // layer.groups, layer.shape[2:]
        a, b = (out, config.lora_rank, *(1 for _ in kernel)), (config.lora_rank, layer.inputs, *kernel)
        self.hada_w1_a, self.hada_w1_b = self.new(*a), self.new(*b)
        self.hada_w2_a, self.hada_w2_b = self.new(*a), self.new(*b)
        self.set_alpha(config.lora_alpha)

    @property
    def rank(self) -> int:
        return self.hada_w1_b.shape[0]

    def initialize(self, generator: Generator) -> None:
        draw(self.hada_w1_a, partial(nn.init.normal_, std=0.1), generator)
        draw(self.hada_w1_b, partial(nn.init.normal_, std=1.0), generator)
        nn.init.zeros_(self.hada_w2_a)
        draw(self.hada_w2_b, partial(nn.init.normal_, std=1.0), generator)

    def forward(self, x: Tensor, member: int | None = None) -> Tensor:
        # b before a, so that dropout draws in OneTrainer's order
        b1, a1, b2, a2 = (
            functional.dropout(factor, self.dropout, training=self.training)
            for factor in (self.hada_w1_b, self.hada_w1_a, self.hada_w2_b, self.hada_w2_a)
        )
        shape = self.layer.shape
        change = self.scaled(multiplied(a1, b1, shape) * multiplied(a2, b2, shape))
        return self.layer.run(x, member) + self.layer.apply(x, self.fitting(change[self.layer.rows(member)], x))

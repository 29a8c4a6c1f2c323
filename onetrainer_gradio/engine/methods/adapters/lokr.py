"""LoKr (arXiv 2309.14859): add the Kronecker product of two matrices, which may be low-rank, to a weight."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter, functional

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.methods.adapters.adapter import Adapter, draw, require_one_group
from onetrainer_gradio.engine.methods.adapters.layer import Layer
from onetrainer_gradio.engine.methods.adapters.lora import UNIFORM
from onetrainer_gradio.engine.methods.adapters.magnitude import norms, with_magnitude


def split(size: int, factor: int) -> tuple[int, int]:
    """Return two numbers, the smaller one first, whose product is ``size``.

    A ``factor`` that divides ``size`` is one of them. Otherwise, they are as close to each other as possible with the smaller
    one up to ``factor``; -1 sets no limit.
    """
    if factor > 0 and size % factor == 0:
        return min(factor, size // factor), max(factor, size // factor)
    most = math.isqrt(size) if factor == -1 else min(factor, math.isqrt(size))
    smaller = max((number for number in range(1, most + 1) if size % number == 0), default=1)
    return smaller, size // smaller


class LoKr(Adapter):
    """W' = W + alpha / rank · w1 ⊗ w2, or with magnitudes as in DoRA (``lokr_weight_decompose``).

    With out = l · k and in = m · n, w1 is (l, m) and w2 is (k, n[, kernel height, kernel width]). Either may be a product of
    two matrices; with ``lokr_use_tucker``, w2 of a convolution is a product of three. Dropout is on each of them, or on the
    input with magnitudes.
    """

    rank_setting = "lokr_dim"

    def __init__(self, layer: Layer, config: TrainConfig) -> None:
        require_one_group(layer, "LoKr")
        super().__init__(layer, config)
        factor = -1 if config.lokr_decompose_factor < 0 else config.lokr_decompose_factor
        rank, kernel = config.lokr_dim, layer.shape[2:]
        (l_, k), (m, n) = split(layer.shape[0], factor), split(layer.inputs, factor)
        self._rank, self._inputs = rank, (m, n)
        self.by_vectors = config.lokr_vec_trick and layer.linear
        if config.lokr_decompose_both and rank < max(l_, m) / 2:
            self.lokr_w1_a, self.lokr_w1_b = self.new(l_, rank), self.new(rank, m)
        else:
            self.lokr_w1 = self.new(l_, m)
        if config.lokr_full_matrix or rank >= max(k, n) / 2:
            self.lokr_w2 = self.new(k, n, *kernel)
        elif config.lokr_use_tucker and any(side != 1 for side in kernel):
            self.lokr_t2 = self.new(rank, rank, *kernel)
            self.lokr_w2_a, self.lokr_w2_b = self.new(rank, k), self.new(rank, n)
        else:
            self.lokr_w2_a, self.lokr_w2_b = self.new(k, rank), self.new(rank, n * math.prod(kernel))
        self.output_axis = config.lokr_dora_on_output
        if config.lokr_weight_decompose:
            self.dora_scale = self.new(*norms(layer.weight(), self.output_axis).shape)
        whole = hasattr(self, "lokr_w1") and hasattr(self, "lokr_w2")
        self.set_alpha(rank if whole else config.lora_alpha)

    @property
    def rank(self) -> int:
        return self._rank

    def initialize(self, generator: Generator) -> None:
        for name, parameter in self.named_parameters():
            if name in ("lokr_w2", "lokr_w2_b"):
                nn.init.zeros_(parameter)
            elif name == "dora_scale":
                with torch.no_grad():
                    parameter.copy_(norms(self.layer.weight(), self.output_axis))
            else:
                draw(parameter, UNIFORM, generator)

    def forward(self, x: Tensor, member: int | None = None) -> Tensor:
        layer = self.layer
        if hasattr(self, "dora_scale"):
            weight = with_magnitude(layer.weight() + self._change(), self.dora_scale, self.output_axis, epsilon=True)
            x = functional.dropout(x, self.dropout, training=self.training)
            return layer.apply(x, weight[layer.rows(member)].to(x.dtype), layer.bias(member))
        if self.by_vectors:
            # (w1 ⊗ w2) x without the product: x as a matrix, times w2, times w1
            w1, w2 = (factor.to(x.dtype) for factor in self._factors())
            change = w1 @ (x.reshape(*x.shape[:-1], *self._inputs) @ w2.T)
            return layer.run(x, member) + self.scaled(change.flatten(-2))[..., layer.rows(member)]
        return layer.run(x, member) + layer.apply(x, self._change().to(x.dtype)[layer.rows(member)])

    def _change(self) -> Tensor:
        w1, w2 = self._factors()
        if w2.dim() > 2:
            w1 = w1[..., None, None]
        return self.scaled(torch.kron(w1, w2.to(w1.dtype).contiguous()).view(self.layer.shape))

    def _factors(self) -> tuple[Tensor, Tensor]:
        """Return w1 and w2; a w2 with two dimensions contains the kernel of a convolution in its columns."""
        w1 = self._kept(self.lokr_w1) if hasattr(self, "lokr_w1") else self._kept(self.lokr_w1_a) @ self._kept(self.lokr_w1_b)
        if hasattr(self, "lokr_w2"):
            return w1, self._kept(self.lokr_w2)
        if hasattr(self, "lokr_t2"):
            core, a, b = self._kept(self.lokr_t2), self._kept(self.lokr_w2_a), self._kept(self.lokr_w2_b)
            return w1, torch.einsum("ijhw,ik,jn->knhw", core, a, b)
        return w1, self._kept(self.lokr_w2_a) @ self._kept(self.lokr_w2_b)

    def _kept(self, factor: Parameter) -> Tensor:
        dropped = self.training and not hasattr(self, "dora_scale")
        return functional.dropout(factor, self.dropout, training=dropped)

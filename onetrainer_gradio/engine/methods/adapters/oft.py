"""OFT (arXiv 2306.07280, 2506.19847): rotate the inputs of a layer in blocks, instead of adding to its weight."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.methods.adapters.adapter import Adapter, require_one_group
from onetrainer_gradio.engine.methods.adapters.layer import Layer
from onetrainer_gradio.errors import UnsupportedError


def nearest_divisor(size: int, wanted: int) -> int:
    """Return the divisor of ``size`` that is nearest to ``wanted``; of two equally near ones, the smaller one."""
    return min((number for number in range(1, size + 1) if size % number == 0), key=lambda number: (abs(number - wanted), number))


class Oft(Adapter):
    """y = W (x R) + b with one rotation R for each block of inputs, or one for all (``oft_block_share``).

    R is the Cayley transform of a skew-symmetric matrix Q, as the first terms of its Neumann series: I + 2Q + 2Q² + 2Q³ + Q⁴.
    ``oft_R`` has the shape (blocks, b (b - 1) / 2) and contains Q above its diagonal, row by row, times 2 √(b - 1) with
    ``oft_scaled``. A convolution's weight is rotated instead of its input. Dropout replaces rotations by the identity.
    """

    rank_setting = "oft_block_size"

    def __init__(self, layer: Layer, config: TrainConfig) -> None:
        require_one_group(layer, "OFT")
        if not layer.linear and any(step > 1 for step in layer.module.dilation):
            raise UnsupportedError(
                f"OFT can't adapt the layer “{layer.name}”, because it is a dilated convolution.",
                path="layer_filter",
                expected="layers without dilation",
                suggestion="Change Layer filter so that it doesn't select this layer, or set Adapter type to LoRA.",
            )
        super().__init__(layer, config)
        size = math.prod(layer.shape[1:])
        self.block = nearest_divisor(size, config.oft_block_size)
        self.blocks = size // self.block
        self.oft_R = self.new(1 if config.oft_block_share else self.blocks, self.block * (self.block - 1) // 2)
        self.is_scaled = config.oft_scaled
        upper = torch.triu_indices(self.block, self.block, 1, device=layer.device)
        self.register_buffer("upper", upper, persistent=False)

    upper: Tensor

    def initialize(self, generator: Generator) -> None:
        nn.init.zeros_(self.oft_R)

    def tensors(self) -> dict[str, Tensor]:
        return super().tensors() | ({"oft_R.scaled_oft": self.oft_R.new_ones(())} if self.is_scaled else {})

    def forward(self, x: Tensor, member: int | None = None) -> Tensor:
        layer = self.layer
        if not layer.linear:
            rotated = self._rotated(layer.module.weight.flatten(1)).view(layer.shape)
            return layer.apply(x, rotated, layer.bias())
        return layer.run(self._rotated(x.to(self.oft_R.dtype)).to(x.dtype), member)

    def _rotated(self, x: Tensor) -> Tensor:
        """Return x with its last dimension rotated."""
        blocks = x.reshape(*x.shape[:-1], self.blocks, self.block)
        return torch.einsum("...rk,rkc->...rc", blocks, self._rotations()).flatten(-2)

    def _rotations(self) -> Tensor:
        """Return the rotations (blocks, b, b)."""
        values = self.oft_R / (2 * math.sqrt(self.block - 1)) if self.is_scaled and self.block > 1 else self.oft_R
        above = values.new_zeros(len(values), self.block, self.block)
        above = above.index_put((torch.arange(len(values), device=values.device)[:, None], *self.upper), values)
        q = above - above.mT
        q2 = q @ q
        q3 = q2 @ q
        identity = torch.eye(self.block, dtype=values.dtype, device=values.device)
        rotations = (identity + 2 * q + 2 * q2 + 2 * q3 + q3 @ q).to(values.dtype)
        if self.training and self.dropout and len(rotations) > 1:
            kept = rotations.new_empty(len(rotations), 1, 1).bernoulli_(1 - self.dropout)
            rotations = kept * rotations + (1 - kept) * identity
        return rotations.expand(self.blocks, -1, -1)

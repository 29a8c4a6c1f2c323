"""Linears of the library bitsandbytes: NFLOAT_4 (4-bit NormalFloat, arXiv 2305.14314) and INT_8 (LLM.int8, arXiv 2208.07339)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

bitsandbytes: Any = import_module("bitsandbytes")  # its types don't export their names


class Float4Linear(bitsandbytes.nn.Linear4bit):  # type: ignore[misc]
    """Blocks of 64 weights with a scale each, and blocks of 256 scales that are quantized too."""

    def __init__(self, layer: nn.Linear, compute_dtype: torch.dtype, correction: tuple[Tensor, Tensor] | None = None) -> None:
        options: dict[str, Any] = {"compress_statistics": True, "quant_type": "nf4"}
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, compute_dtype, device="meta", **options)
        self.support_avx512bf16_for_cpu = False  # its packed weights round more, and can't be trained over afterwards
        _take(self, layer, compute_dtype, correction)
        weight = _residual(layer, correction)
        self.weight = bitsandbytes.nn.Params4bit(weight, requires_grad=False, **options).to(weight.device)

    def forward(self, x: Tensor) -> Tensor:
        return _corrected(self, x, super().forward(x))


class Int8Linear(bitsandbytes.nn.Linear8bitLt):  # type: ignore[misc]
    """Rows of int8 with a scale each; the input is rounded in the same way."""

    def __init__(self, layer: nn.Linear, compute_dtype: torch.dtype, correction: tuple[Tensor, Tensor] | None = None) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, has_fp16_weights=False, device="meta")
        _take(self, layer, compute_dtype, correction)
        weight = _residual(layer, correction)
        self.weight = bitsandbytes.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False).to(weight.device)

    def forward(self, x: Tensor) -> Tensor:
        return _corrected(self, x, super().forward(x))


def _take(module: Any, layer: nn.Linear, compute_dtype: torch.dtype, correction: tuple[Tensor, Tensor] | None) -> None:
    bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().to(compute_dtype), requires_grad=False)
    module.bias = bias
    up, down = correction or (None, None)
    module.register_buffer("up", up, persistent=False)
    module.register_buffer("down", down, persistent=False)
    module.train(layer.training)


def _residual(layer: nn.Linear, correction: tuple[Tensor, Tensor] | None) -> Tensor:
    weight = layer.weight.detach()
    if correction is None:
        return weight
    up, down = correction
    return (weight.float() - up.float() @ down.float()).to(weight.dtype)


def _corrected(module: Any, x: Tensor, y: Tensor) -> Tensor:
    if module.up is None:
        return y
    return functional.linear(functional.linear(x, module.down.to(x.dtype)), module.up.to(x.dtype)) + y


def dequantized(module: Any) -> Tensor:
    """Return the weight that a layer computes with, in float32."""
    weight = module.weight
    if isinstance(weight, bitsandbytes.nn.Params4bit):
        found: Tensor = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state).float()
    else:
        scales = weight.SCB if weight.SCB is not None else module.state.SCB
        found = weight.data.float() * (scales[:, None] / 127)
    return found if module.up is None else found + module.up.float() @ module.down.float()


LINEARS: Mapping[str, Callable[..., nn.Module]] = {"NFLOAT_4": Float4Linear, "INT_8": Int8Linear}
"""Weight data type -> the class of its layers."""

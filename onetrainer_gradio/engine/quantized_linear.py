"""Linear layers with frozen weights in eight bits, computed as OneTrainer does.

Sources: FLOAT_8 keeps the weight in float8 (e4m3) with one scale, and multiplies in the compute data type. The W8A8 kinds also
round the input, and in the backward pass the gradient, to eight bits, with one scale for each row. Gradients exist for the input
only, because the weights are frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional

FLOAT_8 = torch.float8_e4m3fn
FLOAT_8_MAX = 448.0
SMALLEST_SCALE = 1e-30
FEW_ROWS = 16
"""With this many rows or fewer, the kernels of GPUs don't multiply eight bits: the weight is dequantized."""


def scale_of(tensor: Tensor, largest: float, dim: int | None = None) -> Tensor:
    """Return the largest absolute value (of each row with ``dim`` -1) divided by ``largest``, in float32."""
    absolute = tensor.float().abs()
    most = absolute.amax() if dim is None else absolute.amax(dim, keepdim=True)
    return (most / largest).clamp(min=SMALLEST_SCALE)


def to_int8(tensor: Tensor, scale: Tensor) -> Tensor:
    """Return round(tensor / scale), half to even, in int8."""
    return (tensor.float() * (1 / scale)).round().clamp(-128, 127).to(torch.int8)


def to_float8(tensor: Tensor, scale: Tensor) -> Tensor:
    """Return tensor / scale in float8."""
    return (tensor.float() * (1 / scale)).clamp(-FLOAT_8_MAX, FLOAT_8_MAX).to(FLOAT_8)


class QuantizedLinear(nn.Linear):
    """A Linear with a frozen weight in eight bits.

    ``up`` and ``down`` are the optional low-rank correction of the weight (SVDQuant, arXiv 2411.05007): y = up(down(x)) + W x.
    """

    largest: ClassVar[float]
    scale: Tensor
    up: Tensor | None
    down: Tensor | None

    def __init__(self, layer: nn.Linear, compute_dtype: torch.dtype, correction: tuple[Tensor, Tensor] | None = None) -> None:
        """Quantize the weight of ``layer``; its residual if there is a ``correction`` (up, down)."""
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        weight = layer.weight.detach()
        up, down = (None, None) if correction is None else correction
        if up is not None and down is not None:
            weight = (weight.float() - up.float() @ down.float()).to(weight.dtype)
        scale = scale_of(weight, self.largest)
        self.weight = Parameter(self.quantized(weight, scale), requires_grad=False)
        self.bias = None if layer.bias is None else Parameter(layer.bias.detach().to(compute_dtype), requires_grad=False)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("up", up, persistent=False)
        self.register_buffer("down", down, persistent=False)
        self.compute_dtype = compute_dtype
        self.train(layer.training)

    @staticmethod
    def quantized(tensor: Tensor, scale: Tensor) -> Tensor:
        """Return the tensor in eight bits."""
        raise NotImplementedError

    @staticmethod
    def forward_product(x: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        """Return x Wᵀ for ``x`` (rows, in) in the compute data type."""
        raise NotImplementedError

    @staticmethod
    def backward_product(gradient: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        """Return g W for ``gradient`` (rows, out) in the compute data type."""
        raise NotImplementedError

    def residual(self) -> Tensor:
        """Return the weight without its correction, in float32."""
        return self.weight.float() * self.scale

    def dequantized(self) -> Tensor:
        """Return the weight that the layer computes with, in float32."""
        return self.residual() if self.up is None or self.down is None else self.up.float() @ self.down.float() + self.residual()

    def forward(self, x: Tensor) -> Tensor:
        dtype = self.compute_dtype
        rows = x.reshape(-1, self.in_features)
        y: Tensor = cast("Tensor", _Product.apply(rows, self.weight, self.scale, type(self), dtype))  # type: ignore[no-untyped-call]
        if self.bias is not None:
            y = y + self.bias
        y = y.view(*x.shape[:-1], self.out_features)
        if self.up is None or self.down is None:
            return y
        middle = functional.linear(x.to(dtype), self.down.to(dtype))
        return functional.linear(middle, self.up.to(dtype)) + y


class _Product(torch.autograd.Function):
    """x Wᵀ with a frozen weight. Only the eight bits are kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, kind: type[QuantizedLinear], dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(weight, scale)
        ctx.kind, ctx.dtype, ctx.input_dtype = kind, dtype, x.dtype
        return kind.forward_product(x, weight, scale, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, scale = ctx.saved_tensors
        found = ctx.kind.backward_product(gradients[0], weight, scale, ctx.dtype)
        return found.to(ctx.input_dtype), None, None, None, None


class Float8Linear(QuantizedLinear):
    """FLOAT_8: the weight in float8; the product in the compute data type."""

    largest = FLOAT_8_MAX

    @staticmethod
    def quantized(tensor: Tensor, scale: Tensor) -> Tensor:
        return to_float8(tensor, scale)

    @staticmethod
    def forward_product(x: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        return functional.linear(x.to(dtype), weight.to(dtype) * scale.to(dtype))

    @staticmethod
    def backward_product(gradient: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        return gradient.to(dtype) @ (weight.to(dtype) * scale.to(dtype))


class _RoundedInputs(QuantizedLinear):
    """W8A8: weight, input and gradient in eight bits."""

    @staticmethod
    def multiplied(rows: Tensor, columns: Tensor, scale: Tensor, row_scale: Tensor) -> Tensor:
        """Return the product of two matrices in eight bits, times their scales, in float32."""
        raise NotImplementedError

    @classmethod
    def _rounded(cls, rows: Tensor, columns: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        row_scale = scale_of(rows, cls.largest, -1)
        return cls.multiplied(cls.quantized(rows, row_scale), columns, scale, row_scale).to(dtype)

    @classmethod
    def forward_product(cls, x: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        if _plain(x, weight):
            return functional.linear(x.to(dtype), (weight.float() * scale).to(dtype))
        return cls._rounded(x, weight.t(), scale, dtype)

    @classmethod
    def backward_product(cls, gradient: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        if _plain(gradient, weight):
            return gradient.to(dtype) @ (weight.float() * scale).to(dtype)
        return cls._rounded(gradient, weight.t().contiguous().t(), scale, dtype)


def _plain(rows: Tensor, weight: Tensor) -> bool:
    """Return whether kernels in eight bits can't multiply these sizes: 16 rows or fewer, sides that 16 doesn't divide."""
    return rows.shape[0] <= FEW_ROWS or any(side % 16 for side in weight.shape)


class Int8Linear(_RoundedInputs):
    """INT_W8A8: eight-bit integers, summed in int32."""

    largest = 127.0

    @staticmethod
    def quantized(tensor: Tensor, scale: Tensor) -> Tensor:
        return to_int8(tensor, scale)

    @staticmethod
    def multiplied(rows: Tensor, columns: Tensor, scale: Tensor, row_scale: Tensor) -> Tensor:
        return torch._int_mm(rows, columns).float() * (scale * row_scale)


class Float8InputsLinear(_RoundedInputs):
    """FLOAT_W8A8: float8, summed in float32."""

    largest = FLOAT_8_MAX

    @staticmethod
    def quantized(tensor: Tensor, scale: Tensor) -> Tensor:
        return to_float8(tensor, scale)

    @staticmethod
    def multiplied(rows: Tensor, columns: Tensor, scale: Tensor, row_scale: Tensor) -> Tensor:
        if rows.device.type != "cuda":
            return (rows.float() @ columns.float()) * scale * row_scale
        one = torch.ones((), device=rows.device)
        return torch._scaled_mm(rows, columns, scale_a=one, scale_b=scale, out_dtype=torch.float32) * row_scale


LINEARS: Mapping[str, type[QuantizedLinear]] = {
    "FLOAT_8": Float8Linear,
    "INT_W8A8": Int8Linear,
    "FLOAT_W8A8": Float8InputsLinear,
}
"""Weight data type -> the class of its layers."""

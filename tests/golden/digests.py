"""Describe tensors by a few numbers, and record the inputs of a denoiser. Imports only torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

DENOISERS = ("UNet2DConditionModel", "SD3Transformer2DModel", "FluxTransformer2DModel", "Decoder")
"""Classes whose calls are listened to; ``Decoder`` is what trains of a VAE."""
EXACT = 16
"""Tensors of at most this many numbers are kept as they are."""
DIGITS = 7


def digest(tensor: Tensor) -> list[float]:
    """Return the mean, the root mean square and a sum with fixed weights that depends on the order."""
    flat = tensor.detach().double().flatten()
    if flat.numel() <= EXACT:
        return [_rounded(value) for value in flat.tolist()]
    weights = torch.cos(1.7 * torch.arange(flat.numel(), dtype=torch.float64))
    figures = (flat.mean(), flat.square().mean().sqrt(), (flat * weights).sum() / flat.numel() ** 0.5)
    return [_rounded(float(figure)) for figure in figures]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _tensors(arguments: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, dict):
            yield from _tensors(value, f"{prefix}{name}.")


@contextmanager
def listen(on_call: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Report each call of a denoiser in this process: its class, whether gradients are on, digests of inputs and output."""
    signatures: dict[type, inspect.Signature] = {}

    def called(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        kind = type(module)
        if kind.__name__ not in DENOISERS or (kind.__name__ == "Decoder" and not torch.is_grad_enabled()):
            return
        if kind not in signatures:
            signatures[kind] = inspect.signature(kind.forward)
        arguments = signatures[kind].bind(module, *positional, **named).arguments
        arguments.pop("self")
        result = output[0] if isinstance(output, tuple) else output if isinstance(output, Tensor) else output.sample
        row = {name: digest(tensor) for name, tensor in _tensors(arguments)}
        on_call({"grad": torch.is_grad_enabled(), "in": row, "out": digest(result)})

    handle = nn.modules.module.register_module_forward_hook(called, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()

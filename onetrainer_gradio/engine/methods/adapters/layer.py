"""Give adapters one view of what they adapt: a Linear, a Conv2d, or several Linears with the same input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from onetrainer_gradio.engine.quantization import weight_of

Forward = Callable[[Tensor], Tensor]


class Layer:
    """A Linear or Conv2d and its forward pass without adapter.

    ``shape`` is that of the weight: (out, in) or (out, in / groups, kernel height, kernel width). The parameter ``member`` of
    the methods selects a member of a :class:`FusedLayer`; a single layer has none.
    """

    def __init__(self, name: str, module: nn.Linear | nn.Conv2d) -> None:
        self.name = name
        self.module: Any = module
        self.linear = isinstance(module, nn.Linear)
        self.shape = torch.Size(
            (module.out_features, module.in_features) if isinstance(module, nn.Linear) else module.weight.shape
        )
        self.groups = 1 if isinstance(module, nn.Linear) else module.groups
        self.inputs = self.shape[1] * self.groups
        """Input features or channels."""
        self._original = module.forward

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Return the modules whose forward pass an adapter replaces."""
        return (self.module,)

    def originals(self) -> Iterator[tuple[nn.Module, Forward]]:
        """Yield each module and its forward pass without adapter."""
        yield self.module, self._original

    @property
    def device(self) -> torch.device:
        """Return the device of the weight."""
        return self.module.weight.device  # type: ignore[no-any-return]

    def run(self, x: Tensor, member: int | None = None) -> Tensor:
        """Return the output without adapter."""
        return self._original(x)

    def rows(self, member: int | None = None) -> slice:
        """Return which output features belong to a member."""
        return slice(None)

    def weight(self) -> Tensor:
        """Return the weight in float32, outside of the graph."""
        return weight_of(self.module)

    def bias(self, member: int | None = None) -> Tensor | None:
        """Return the bias, or None if there is none."""
        return self.module.bias  # type: ignore[no-any-return]

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the output with another weight, with the layer's stride, padding, dilation and groups.

        The padding is zeros even if the layer's own wraps around, as in OneTrainer (docs/fidelity.md).
        """
        if self.linear:
            return functional.linear(x, weight, bias)
        layer = self.module
        return functional.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    def down(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return x projected to the rank, by a weight (rank, in) or (rank, in, kernel height, kernel width).

        The padding is that of :meth:`apply`.
        """
        if self.linear:
            return functional.linear(x, weight)
        return functional.conv2d(x, weight, None, self.module.stride, self.module.padding, self.module.dilation)

    def up(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return x projected from the rank, by a weight (out, rank) or (out, rank, 1, 1)."""
        return functional.linear(x, weight) if self.linear else functional.conv2d(x, weight)


class FusedLayer(Layer):
    """Several Linears with the same input as one Linear, whose outputs are concatenated."""

    def __init__(self, name: str, modules: Sequence[nn.Linear]) -> None:
        self.name = name
        self.members = [Layer(name, module) for module in modules]
        self.linear, self.groups = True, 1
        self.inputs = modules[0].in_features
        sizes = [module.out_features for module in modules]
        self.shape = torch.Size((sum(sizes), self.inputs))
        ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
        self._rows = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return tuple(member.module for member in self.members)

    def originals(self) -> Iterator[tuple[nn.Module, Forward]]:
        for member in self.members:
            yield from member.originals()

    @property
    def device(self) -> torch.device:
        return self.members[0].device

    def run(self, x: Tensor, member: int | None = None) -> Tensor:
        assert member is not None
        return self.members[member].run(x)

    def rows(self, member: int | None = None) -> slice:
        assert member is not None
        return self._rows[member]

    def weight(self) -> Tensor:
        return torch.cat([member.weight() for member in self.members])

    def bias(self, member: int | None = None) -> Tensor | None:
        assert member is not None
        return self.members[member].bias()

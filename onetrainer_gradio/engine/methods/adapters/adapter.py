"""Define what every adapter has: trained tensors with the names of OneTrainer's backups, and a forward pass to put in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine import precision
from onetrainer_gradio.engine.methods.adapters.layer import Forward, Layer
from onetrainer_gradio.errors import UnsupportedError

WITH_WEIGHT = ("lora_down", "lora_up", "oft_R")
"""Tensors whose name in a file ends in ``.weight``, because other programs store them as layers."""


class Adapter(nn.Module, ABC):
    """Trained tensors over one layer.

    The tensors are created in ``lora_weight_dtype``. Random ones are sampled in float32, so that every data type starts from
    the same numbers.
    """

    rank_setting: ClassVar[str] = "lora_rank"
    """The setting that determines the shapes."""

    layer: Layer
    alpha: Tensor
    scale: Tensor

    def __init__(self, layer: Layer, config: TrainConfig) -> None:
        super().__init__()
        self.layer = layer
        self.dropout = config.dropout_probability
        self.dtype = precision.DTYPES[config.lora_weight_dtype]

    @abstractmethod
    def forward(self, x: Tensor, member: int | None = None) -> Tensor:
        """Return the output of the adapted layer, or of a member of a fused one."""

    @abstractmethod
    def initialize(self, generator: Generator) -> None:
        """Set the tensors to their initial values; the layer then computes what it does without adapter."""

    def forwards(self) -> Iterator[tuple[nn.Module, Forward]]:
        """Yield each adapted module and its new forward pass."""
        modules = self.layer.modules
        if len(modules) == 1:
            yield modules[0], self.forward
            return
        for member, module in enumerate(modules):
            yield module, partial(self.forward, member=member)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by their name in files, without the name of the layer."""
        found = {_file_name(name): parameter.detach() for name, parameter in self.named_parameters()}
        return found | ({"alpha": self.alpha} if hasattr(self, "alpha") else {})

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the tensors of a file, which have the names and shapes of :meth:`tensors`; a missing alpha is the rank."""
        for name, parameter in self.named_parameters():
            parameter.copy_(tensors[_file_name(name)])
        if hasattr(self, "alpha"):
            self.set_alpha(float(tensors.get("alpha", self.rank)))

    def new(self, *shape: int) -> Parameter:
        """Return a parameter of the layer's device and the adapter's data type."""
        return Parameter(torch.zeros(shape, dtype=self.dtype, device=self.layer.device))

    def set_alpha(self, alpha: float) -> None:
        """Set alpha and the scale alpha / rank, both rounded to the adapter's data type as in OneTrainer."""
        tensor = torch.tensor(float(alpha), dtype=self.dtype, device=self.layer.device)
        self.register_buffer("alpha", tensor, persistent=False)
        self.register_buffer("scale", tensor / self.rank, persistent=False)
        self.full_strength = bool(self.scale == 1)

    @property
    def rank(self) -> int:
        """Return the number that alpha is divided by."""
        raise NotImplementedError

    def scaled(self, change: Tensor) -> Tensor:
        """Return a change of outputs or weights at the adapter's strength."""
        return change if self.full_strength else change * self.scale

    def fitting(self, weight: Tensor, x: Tensor) -> Tensor:
        """Return a weight in the data type of ``x``: a CPU has no autocast to float32, which does this elsewhere."""
        return weight if self.dtype == torch.float32 else weight.to(x.dtype)


def _file_name(name: str) -> str:
    return f"{name}.weight" if name in WITH_WEIGHT else name


@torch.no_grad()
def draw(parameter: Parameter, initialize: partial[Tensor], generator: Generator) -> None:
    """Fill a parameter with numbers that ``initialize``, a function of torch.nn.init, samples in float32."""
    sampled = torch.empty(parameter.shape, dtype=torch.float32)
    initialize(sampled, generator=generator)
    parameter.copy_(sampled)


def require_one_group(layer: Layer, adapter: str) -> None:
    """Raise an error for a layer that the adapter type can't adapt.

    :raises UnsupportedError: for a grouped convolution.
    """
    if layer.groups > 1:
        raise UnsupportedError(
            f"{adapter} can't adapt the layer “{layer.name}”, because it is a grouped convolution.",
            path="layer_filter",
            expected="layers without groups",
            suggestion="Change Layer filter so that it doesn't select this layer, or set Adapter type to LoRA.",
        )

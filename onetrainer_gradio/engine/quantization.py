"""Quantize the frozen Linears of a component, and dequantize them where their weight is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.layers.filter import select
from onetrainer_gradio.engine import precision
from onetrainer_gradio.engine.files import write_tensors
from onetrainer_gradio.engine.quantized_linear import LINEARS, QuantizedLinear

STORED_RANK = 128
"""Rank of corrections on disk, so that a smaller rank doesn't need another decomposition."""

Correction = tuple[Tensor, Tensor]


def is_quantized(dtype: str) -> bool:
    """Return whether a weight data type is one of quantized Linears."""
    return dtype not in precision.DTYPES


@dataclass(frozen=True)
class Corrections:
    """Low-rank parts of weights, which SVDQuant keeps in a separate data type."""

    folder: Path
    rank: int
    dtype: torch.dtype
    device: torch.device
    """Where weights are decomposed."""

    @classmethod
    def of(cls, config: TrainConfig) -> Corrections | None:
        """Return the corrections that the settings ask for, or None."""
        settings = config.quantization
        if settings.svd_dtype == "NONE":
            return None
        folder = Path(settings.cache_dir) if settings.cache_dir else Path(config.cache_dir) / "quantization"
        return cls(folder, settings.svd_rank, precision.DTYPES[settings.svd_dtype], torch.device(config.train_device))

    def __call__(self, weight: Tensor) -> Correction:
        """Return ``up`` (out, rank) and ``down`` (rank, in) with the largest singular values of the weight."""
        raw = weight.detach().contiguous().cpu()
        digest = hashlib.sha256(f"{raw.dtype} {tuple(raw.shape)}".encode() + raw.view(torch.uint8).numpy().tobytes())
        file = self.folder / f"svd-{digest.hexdigest()}.safetensors"
        stored = _read(file)
        if stored is None or len(stored["down"]) < min(self.rank, *raw.shape):
            u, s, vh = torch.linalg.svd(raw.to(self.device, torch.float32), full_matrices=False)
            rank = max(self.rank, STORED_RANK)
            stored = {"up": (u[:, :rank] * s[:rank]).cpu().contiguous(), "down": vh[:rank].cpu().contiguous()}
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tensors(file, stored, {"format": "pt"}, durable=False)
        place = weight.device
        return stored["up"][:, : self.rank].to(place, self.dtype), stored["down"][: self.rank].to(place, self.dtype)


def _read(file: Path) -> dict[str, Tensor] | None:
    try:
        return dict(load_file(file))
    except (OSError, SafetensorError):  # not there, or damaged: it is computed again
        return None


def quantize(
    component: nn.Module,
    dtype: str,
    compute_dtype: torch.dtype,
    *,
    layer_filter: tuple[str, bool] = ("", False),
    corrections: Callable[[Tensor], Correction] | None = None,
) -> None:
    """Replace the Linears that the filter selects by quantized ones, and cast everything else to the compute data type.

    ``layer_filter`` are patterns, and whether they are regular expressions; none select all. As in OneTrainer, modules that
    their class keeps in float32 (``wo`` of T5) aren't quantized.
    """
    skipped = frozenset(getattr(component, "_keep_in_fp32_modules", None) or ())
    names = [
        name for name, module in component.named_modules() if type(module) is nn.Linear and skipped.isdisjoint(name.split("."))
    ]
    chosen: Sequence[str] = select(names, *layer_filter).layers
    make: Callable[..., nn.Module] = LINEARS[dtype] if dtype in LINEARS else _bitsandbytes(dtype)
    for name in chosen:
        layer: Any = component.get_submodule(name)
        correction = corrections(layer.weight) if corrections is not None else None
        parent = component.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], make(layer, compute_dtype, correction))
    cast_others(component, compute_dtype)


def cast_others(component: nn.Module, dtype: torch.dtype) -> None:
    """Cast the tensors of all layers that aren't quantized."""
    for module in component.modules():
        if not quantized_kind(module):
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(dtype)


def _bitsandbytes(dtype: str) -> Callable[..., nn.Module]:
    from onetrainer_gradio.engine.bitsandbytes_linear import LINEARS

    return LINEARS[dtype]


def quantized_kind(module: nn.Module) -> str:
    """Return "eight bits", "bitsandbytes" or "gguf" for a quantized Linear, and "" for another module."""
    if isinstance(module, QuantizedLinear):
        return "eight bits"
    weight = getattr(module, "weight", None)
    return {"Params4bit": "bitsandbytes", "Int8Params": "bitsandbytes", "GGUFParameter": "gguf"}.get(type(weight).__name__, "")


def weight_of(module: nn.Module) -> Tensor:
    """Return the weight that a Linear or Conv2d computes with, in float32 and outside of the graph."""
    kind = quantized_kind(module)
    if isinstance(module, QuantizedLinear):
        return module.dequantized().detach()
    if kind == "bitsandbytes":
        from onetrainer_gradio.engine.bitsandbytes_linear import dequantized

        return dequantized(module)
    weight: Any = module.weight
    if kind == "gguf":
        from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

        return dequantize_gguf_tensor(weight).detach().float()  # type: ignore[no-any-return]
    return weight.detach().float()  # type: ignore[no-any-return]


def full_state(component: nn.Module) -> dict[str, Tensor]:
    """Return the state of a component with dequantized weights, as every program reads it."""
    state: dict[str, Tensor] = component.state_dict()
    for name, module in component.named_modules():
        if quantized_kind(module):
            own = [key for key in state if key.startswith(f"{name}.") and key != f"{name}.bias"]
            for key in own:
                del state[key]
            state[f"{name}.weight"] = weight_of(module)
    return state

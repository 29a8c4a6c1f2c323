"""Read and write LoRA files with the tensor names of OneTrainer, kohya and diffusers.

In memory, a LoRA is a dict of ``<part>.<module path>.{lora_down.weight, lora_up.weight, alpha}``, which is also the
format of a backup (INTERNAL). Every format is a function from that to the tensors of the file, and one back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onetrainer_gradio.engine.families.family import Part
from onetrainer_gradio.errors import ModelFormatError

Tensors = dict[str, Tensor]
SUFFIXES = ("lora_down.weight", "lora_up.weight", "alpha")


@dataclass(frozen=True)
class Layout:
    """The names of a model's modules in LoRA files: ``<part>.<path>`` -> kohya's name."""

    kohya: Mapping[str, str]

    @classmethod
    def of(cls, parts: Sequence[Part], paths: Mapping[str, Sequence[str]]) -> Layout:
        """Return the layout of all modules that support LoRA; ``paths`` lists their paths by component."""
        return cls(
            {
                f"{part.name}.{part.path_prefix}{path}": f"{part.kohya_prefix}_{(part.path_prefix + path).replace('.', '_')}"
                for part in parts
                for path in paths[part.name]
            }
        )


def _module(key: str) -> tuple[str, str]:
    for suffix in SUFFIXES:
        if key.endswith("." + suffix):
            return key.removesuffix("." + suffix), suffix
    raise KeyError(key)


def to_kohya(adapter: Tensors, layout: Layout) -> Tensors:
    """Return tensors named ``lora_unet_<path with underscores>.lora_down.weight`` and so on."""
    named = ((*_module(key), tensor) for key, tensor in adapter.items())
    return {f"{layout.kohya[module]}.{suffix}": tensor for module, suffix, tensor in named}


def to_diffusers(adapter: Tensors, layout: Layout) -> Tensors:
    """Return tensors named ``<part>.<path>.lora_A.weight`` and ``lora_B``, with alpha / rank multiplied into ``lora_B``."""
    tensors: Tensors = {}
    for key, down in adapter.items():
        module, suffix = _module(key)
        if suffix != "lora_down.weight":
            continue
        up, alpha = adapter[f"{module}.lora_up.weight"], adapter[f"{module}.alpha"]
        tensors[f"{module}.lora_A.weight"] = down
        # in float32, so that half precision rounds once
        tensors[f"{module}.lora_B.weight"] = (up.float() * (alpha.float() / down.shape[0])).to(up.dtype)
    return tensors


def to_internal(adapter: Tensors, layout: Layout) -> Tensors:
    """Return the tensors with their names in memory, as in backups."""
    return dict(adapter)


LORA_FORMATS: Mapping[str, Callable[[Tensors, Layout], Tensors]] = {
    "KOHYA_LORA": to_kohya,
    "LEGACY_LORA": to_kohya,
    "DIFFUSERS_LORA": to_diffusers,
    "INTERNAL": to_internal,
}
"""Output format -> the function for the tensors of its file. LEGACY_LORA equals KOHYA_LORA for Stable Diffusion 1.5."""


def from_kohya(tensors: Tensors, layout: Layout) -> Tensors:
    """Return the LoRA in a file with kohya's names."""
    modules = {kohya: module for module, kohya in layout.kohya.items()}
    adapter: Tensors = {}
    for key, tensor in tensors.items():
        kohya, _, suffix = key.partition(".")
        if kohya in modules and suffix in SUFFIXES:
            adapter[f"{modules[kohya]}.{suffix}"] = tensor
    return adapter


def from_diffusers(tensors: Tensors, layout: Layout) -> Tensors:
    """Return the LoRA in a file with diffusers' names, whose alpha is part of ``lora_B``."""
    adapter: Tensors = {}
    for key, tensor in tensors.items():
        for theirs, ours in ((".lora_A.weight", "lora_down.weight"), (".lora_B.weight", "lora_up.weight")):
            module = key.removesuffix(theirs)
            if module != key and module in layout.kohya:
                adapter[f"{module}.{ours}"] = tensor
                if ours == "lora_down.weight":
                    adapter[f"{module}.alpha"] = torch.tensor(float(tensor.shape[0]))
    return adapter


def from_internal(tensors: Tensors, layout: Layout) -> Tensors:
    """Return the LoRA in a backup."""
    return {key: tensor for key, tensor in tensors.items() if key.endswith(SUFFIXES) and _module(key)[0] in layout.kohya}


_READERS = (from_internal, from_kohya, from_diffusers)


def read_adapter(tensors: Tensors, layout: Layout, source: str) -> Tensors:
    """Return the LoRA in the tensors of a file in any format.

    :raises ModelFormatError: if no format matches this model, or a layer is incomplete.
    """
    reader = max(_READERS, key=lambda reader: len(reader(tensors, layout)))
    adapter = reader(tensors, layout)
    foreign = next((key for key, tensor in tensors.items() if not reader({key: tensor}, layout)), "")
    whole: Tensors = {}
    for key in adapter:
        module, suffix = _module(key)
        if suffix == "lora_down.weight" and f"{module}.lora_up.weight" in adapter:
            rank = torch.tensor(float(adapter[key].shape[0]))
            whole[key] = adapter[key]
            whole[f"{module}.lora_up.weight"] = adapter[f"{module}.lora_up.weight"]
            whole[f"{module}.alpha"] = adapter.get(f"{module}.alpha", rank)
    if not whole or foreign or len(whole) < len(adapter):
        raise ModelFormatError(
            f"The LoRA “{source}” doesn't fit this model" + (f": it contains “{foreign}”." if foreign else "."),
            path="lora_model_name",
            value=source,
            expected="a LoRA for the same model type, in the format Kohya or Diffusers, or from a backup",
            suggestion="Choose a LoRA for the same model type, or clear LoRA base model.",
        )
    return whole

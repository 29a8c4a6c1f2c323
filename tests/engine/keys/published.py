"""Adapters for every layer of the published models, with tensors of a few numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.engine.keys import keys_of

TYPES = (
    "STABLE_DIFFUSION_15",
    "STABLE_DIFFUSION_21",
    "STABLE_DIFFUSION_XL_10_BASE",
    "STABLE_DIFFUSION_3",
    "STABLE_DIFFUSION_35",
    "FLUX_DEV_1",
)
"""One of each kind of names: the other types of these families have the names of one of them."""

_ENCODER_LAYERS = {"clip_l": 12, "clip_h": 23, "clip_g": 32, "t5xxl": 24}
WIDTH, RANK = 4, 2


def paths_of(model_type: str) -> dict[str, list[str]]:
    """Return the paths of all layers with adapters, by component."""
    keys = keys_of(model_type)
    paths = {keys.denoiser: list(layer_names(ModelType(model_type)))}
    for component, encoder in keys.encoders.items():
        count = _ENCODER_LAYERS[encoder.comfy]
        templates = [layer for layer in encoder.layers if "{}" in layer]
        paths[component] = [layer.replace("{}", str(number)) for number in range(count) for layer in templates]
        paths[component] += [layer for layer in encoder.layers if "{}" not in layer]
    return paths


def outputs(model_type: str, path: str) -> int:
    """Return the outputs of a layer with ``WIDTH`` inputs, as far as the names depend on them."""
    last = {"STABLE_DIFFUSION_3": 23, "STABLE_DIFFUSION_35": 37}.get(model_type)
    if path in ("norm_out.linear", f"transformer_blocks.{last}.norm1_context.linear"):
        return 2 * WIDTH
    if ".norm1" in path:
        return 6 * WIDTH
    return 4 * WIDTH if path.endswith("proj_mlp") else WIDTH


def adapter(model_type: str, *components: str, dora: bool = False) -> dict[str, Tensor]:
    """Return a LoRA for every layer of some components (default: all), with internal names."""
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for component, paths in paths_of(model_type).items():
        for path in paths if not components or component in components else ():
            out = outputs(model_type, path)
            tensors[f"{component}.{path}.lora_down.weight"] = torch.randn(RANK, WIDTH, generator=generator)
            tensors[f"{component}.{path}.lora_up.weight"] = torch.randn(out, RANK, generator=generator)
            tensors[f"{component}.{path}.alpha"] = torch.tensor(1.0)
            if dora:
                tensors[f"{component}.{path}.dora_scale"] = torch.rand(out, 1, generator=generator)
    return tensors

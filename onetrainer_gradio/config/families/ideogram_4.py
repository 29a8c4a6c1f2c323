"""Ideogram 4."""

from __future__ import annotations

import math

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    DENOISER_FILES,
    LAYERS_AND_REFINER,
    LORA_FILES,
    PLAIN_LAYERS,
    SHIFT,
    BaseModel,
    Fusion,
    LayerRows,
    ModelFacts,
    Size,
    layer_preset,
    sample_values,
    transformer,
)

_LAYERS: LayerRows = (
    (
        "",
        "input_proj llm_cond_proj t_embedding.mlp_in t_embedding.mlp_out adaln_proj final_layer.linear "
        "final_layer.adaln_modulation",
    ),
    (
        "layers.0-33",
        "attention.to_q attention.to_k attention.to_v attention.to_out.0 feed_forward.w1 feed_forward.w2 "
        "feed_forward.w3 adaln_modulation",
    ),
)

_PRESETS = {
    "attn-mlp": layer_preset("attention", "feed_forward"),
    "attn-only": layer_preset("attention"),
    **PLAIN_LAYERS,
}


def edge_shift(size: Size) -> float:
    """Return the timestep shift for images of ``size`` (height, width) in pixels: it grows like the edge, 1 at 512 × 512."""
    return math.sqrt(size[0] * size[1]) / 512


MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.IDEOGRAM_4,
        "Ideogram 4",
        _PRESETS,
        "no_negative_prompt",
        base=BaseModel("CalamitousFelicitousness/Ideogram-4-bf16-Diffusers", 9.28, 3.72),
        sample=sample_values((1024, 1024), 25, 3.0),
        layers=_LAYERS,
        hidden_layers=LAYERS_AND_REFINER,
        abilities=SHIFT,
        train_encoders=False,
        full=DENOISER_FILES,
        lora=LORA_FILES,
        between=("unconditional_transformer",),
        fusions=(Fusion("layers", ("attention.to_q", "attention.to_k", "attention.to_v"), "attention.qkv"),),
        dynamic_shift=edge_shift,
        pipelines=("Ideogram4",),
        folder_only=True,
        drops_captions=False,
    ),
)

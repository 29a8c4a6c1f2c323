"""Krea 2."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    DENOISER_FILES,
    FULL,
    LORA_FILES,
    SHIFT,
    BaseModel,
    LayerRows,
    LineShift,
    ModelFacts,
    layer_preset,
    sample_values,
    transformer,
)

_LAYERS: LayerRows = (
    (
        "",
        "img_in time_embed.linear_1 time_embed.linear_2 time_mod_proj text_fusion.projector txt_in.linear_1 "
        "txt_in.linear_2 final_layer.linear",
    ),
    ("text_fusion.layerwise_blocks.0-1", "attn.to_q attn.to_k attn.to_v attn.to_gate attn.to_out.0 ff.gate ff.up ff.down"),
    ("text_fusion.refiner_blocks.0-1", "attn.to_q attn.to_k attn.to_v attn.to_gate attn.to_out.0 ff.gate ff.up ff.down"),
    ("transformer_blocks.0-27", "attn.to_q attn.to_k attn.to_v attn.to_gate attn.to_out.0 ff.gate ff.up ff.down"),
)

_PRESETS = {
    "attn-mlp": layer_preset("attn", "ff"),
    "attn-only": layer_preset("attn"),
    "blocks": layer_preset("transformer_blocks"),
    **FULL,
}

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.KREA_2,
        "Krea 2",
        _PRESETS,
        base=BaseModel("krea/Krea-2-Raw", 12.8, 3.67),
        sample=sample_values((1024, 1024), 28, 3.5),
        layers=_LAYERS,
        hidden_layers=("transformer_blocks", "text_fusion.layerwise_blocks", "text_fusion.refiner_blocks"),
        abilities=SHIFT,
        train_encoders=False,
        full=DENOISER_FILES,
        lora=LORA_FILES,
        dynamic_shift=LineShift((256, 6400), (0.5, 1.15)),
        pipelines=("Krea2",),
        folder_only=True,
        drops_captions=False,
    ),
)

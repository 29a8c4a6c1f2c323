"""Anima."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    DENOISER_FILES,
    LORA_FILES,
    SHIFT,
    T5_AND_TRANSFORMER_BLOCKS,
    TRANSFORMER_BLOCKS,
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
        "patch_embed.proj time_embed.t_embedder.linear_1 time_embed.t_embedder.linear_2 norm_out.linear_1 "
        "norm_out.linear_2 proj_out",
    ),
    (
        "transformer_blocks.0-27",
        "norm1.linear_1 norm1.linear_2 attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 norm2.linear_1 norm2.linear_2 "
        "attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 norm3.linear_1 norm3.linear_2 ff.net.0.proj ff.net.2",
    ),
)

_PRESETS = {
    "attn-mlp": layer_preset("attn1", "attn2", "ff"),
    "attn-only": layer_preset("attn1", "attn2"),
    **TRANSFORMER_BLOCKS,
}

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.ANIMA,
        "Anima",
        _PRESETS,
        base=BaseModel("circlestone-labs/Anima-Base-v1.0-Diffusers", 1.96, 2.19),
        sample=sample_values((1024, 1024), 25, 4.0),
        layers=_LAYERS,
        hidden_layers=T5_AND_TRANSFORMER_BLOCKS,
        abilities=SHIFT,
        train_encoders=False,
        replaceable=("transformer",),
        full=DENOISER_FILES,
        lora=LORA_FILES,
        dynamic_shift=LineShift(),
        pipelines=("Anima",),
        drops_captions=False,
    ),
)

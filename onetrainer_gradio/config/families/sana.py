"""Sana."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelFormat, ModelType
from onetrainer_gradio.config.families.facts import (
    ATTENTION_MASK,
    LORA_FILES,
    T5_AND_TRANSFORMER_BLOCKS,
    TRANSFORMER_BLOCKS,
    WITH_EMBEDDING,
    BaseModel,
    LayerRows,
    ModelFacts,
    layer_preset,
    sample_values,
    transformer,
)

_LAYERS: LayerRows = (
    (
        "",
        "patch_embed.proj time_embed.emb.timestep_embedder.linear_1 time_embed.emb.timestep_embedder.linear_2 "
        "time_embed.linear caption_projection.linear_1 caption_projection.linear_2 proj_out",
    ),
    (
        "transformer_blocks.0-19",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 "
        "ff.conv_inverted ff.conv_depth ff.conv_point",
    ),
)

_PRESETS = {
    "attn-mlp": layer_preset("attn1", "attn2", "ff."),
    "attn-only": layer_preset("attn1", "attn2"),
    **TRANSFORMER_BLOCKS,
}

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.SANA,
        "Sana",
        _PRESETS,
        base=BaseModel("Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers", 1.60, 1.40),
        sample=sample_values((1024, 1024), 20, 4.5),
        layers=_LAYERS,
        hidden_layers=T5_AND_TRANSFORMER_BLOCKS,
        abilities=ATTENTION_MASK,
        methods=WITH_EMBEDDING,
        full=(ModelFormat.DIFFUSERS,),
        lora=LORA_FILES,
        pixel_multiple=32,
        pipelines=("Sana",),
        comfy_encoders=False,
    ),
)

"""Chroma."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    FLUX_BLOCKS,
    FLUX_FUSIONS,
    T5_AND_TRANSFORMER_BLOCKS,
    WITH_EMBEDDING,
    BaseModel,
    LayerRows,
    ModelFacts,
    sample_values,
    transformer,
)

_LAYERS: LayerRows = (
    ("", "distilled_guidance_layer.in_proj distilled_guidance_layer.out_proj context_embedder x_embedder proj_out"),
    ("distilled_guidance_layer.layers.0-4", "linear_1 linear_2"),
    (
        "transformer_blocks.0-18",
        "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out "
        "ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2",
    ),
    ("single_transformer_blocks.0-37", "proj_mlp proj_out attn.to_q attn.to_k attn.to_v"),
)

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.CHROMA_1,
        "Chroma1",
        FLUX_BLOCKS,
        base=BaseModel("lodestones/Chroma1-HD", 8.90, 4.21),
        sample=sample_values((1024, 1024), 30, 3.5),
        layers=_LAYERS,
        hidden_layers=T5_AND_TRANSFORMER_BLOCKS,
        abilities=("layer_skip",),
        replaceable=("transformer",),
        methods=WITH_EMBEDDING,
        fusions=FLUX_FUSIONS,
        pipelines=("Chroma",),
        folder_only=True,
    ),
)

"""Hunyuan Video."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    ATTENTION_MASK,
    FLUX_BLOCKS,
    FLUX_FUSIONS,
    WITH_EMBEDDING,
    BaseModel,
    Fusion,
    LayerRows,
    ModelFacts,
    sample_values,
    transformer,
)

_LAYERS: LayerRows = (
    (
        "",
        "context_embedder.time_text_embed.timestep_embedder.linear_1 "
        "context_embedder.time_text_embed.timestep_embedder.linear_2 "
        "context_embedder.time_text_embed.text_embedder.linear_1 "
        "context_embedder.time_text_embed.text_embedder.linear_2 context_embedder.proj_in "
        "time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 "
        "time_text_embed.text_embedder.linear_1 time_text_embed.text_embedder.linear_2 "
        "time_text_embed.guidance_embedder.linear_1 time_text_embed.guidance_embedder.linear_2 norm_out.linear "
        "proj_out",
    ),
    (
        "context_embedder.token_refiner.refiner_blocks.0-1",
        "attn.to_q attn.to_k attn.to_v attn.to_out.0 ff.net.0.proj ff.net.2 norm_out.linear",
    ),
    (
        "transformer_blocks.0-19",
        "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
        "attn.add_q_proj attn.to_out.0 attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2",
    ),
    ("single_transformer_blocks.0-39", "attn.to_q attn.to_k attn.to_v norm.linear proj_mlp proj_out"),
)

_REFINER = Fusion("context_embedder.token_refiner.refiner_blocks", ("attn.to_q", "attn.to_k", "attn.to_v"), "attn.qkv")

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.HUNYUAN_VIDEO,
        "Hunyuan Video",
        FLUX_BLOCKS,
        "video",
        base=BaseModel("hunyuanvideo-community/HunyuanVideo", 12.8, 5.85),
        sample=sample_values((848, 480), 30, 6.0),
        layers=_LAYERS,
        abilities=(*ATTENTION_MASK, "guidance", "frames"),
        encoders=2,
        large=("text_encoder",),
        replaceable=("transformer",),
        methods=WITH_EMBEDDING,
        fusions=(_REFINER, *FLUX_FUSIONS),
        pipelines=("HunyuanVideo",),
    ),
)

"""FLUX.1 dev and FLUX.1 Fill dev."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    ATTENTION_MASK,
    FLUX_BLOCKS,
    FLUX_FUSIONS,
    INPAINTING,
    SHIFT,
    T5_AND_TRANSFORMER_BLOCKS,
    WITH_EMBEDDING,
    BaseModel,
    LayerRows,
    LineShift,
    ModelFacts,
    sample_values,
    transformer,
)

_LAYERS: LayerRows = (
    (
        "",
        "time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 "
        "time_text_embed.guidance_embedder.linear_1 time_text_embed.guidance_embedder.linear_2 "
        "time_text_embed.text_embedder.linear_1 time_text_embed.text_embedder.linear_2 context_embedder x_embedder "
        "norm_out.linear proj_out",
    ),
    (
        "transformer_blocks.0-18",
        "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj "
        "attn.add_k_proj attn.add_v_proj attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj "
        "ff_context.net.2",
    ),
    ("single_transformer_blocks.0-37", "norm.linear proj_mlp proj_out attn.to_q attn.to_k attn.to_v"),
)


def _facts(model_type: ModelType, label: str, hub: str, *traits: str) -> ModelFacts:
    return transformer(
        model_type,
        label,
        FLUX_BLOCKS,
        *traits,
        base=BaseModel(hub, 11.9, 5.42),
        sample=sample_values((1024, 1024), 30, 3.5),
        layers=_LAYERS,
        hidden_layers=T5_AND_TRANSFORMER_BLOCKS if model_type is ModelType.FLUX_DEV_1 else (),
        abilities=(*ATTENTION_MASK, *SHIFT, "guidance", "attention_backends"),
        encoders=2,
        large=("text_encoder_2",),
        replaceable=("transformer",),
        token_limited=("text_encoder_2",),
        methods=WITH_EMBEDDING,
        fusions=FLUX_FUSIONS,
        dynamic_shift=LineShift(),
        pipelines=("Flux",),
        built_in=True,
    )


MODELS = (
    _facts(ModelType.FLUX_DEV_1, "Flux Dev.1", "black-forest-labs/FLUX.1-dev"),
    _facts(ModelType.FLUX_FILL_DEV_1, "Flux Fill Dev", "black-forest-labs/FLUX.1-Fill-dev", *INPAINTING),
)

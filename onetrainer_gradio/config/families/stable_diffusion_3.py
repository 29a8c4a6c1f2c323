"""Stable Diffusion 3 and 3.5."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    ATTENTION_MASK,
    JOINT_BLOCKS,
    JOINT_FUSIONS,
    T5_AND_TRANSFORMER_BLOCKS,
    WHOLE_MODEL,
    WITH_EMBEDDING,
    BaseModel,
    Fusion,
    LayerRows,
    ModelFacts,
    sample_values,
    transformer,
)

_MEDIUM: LayerRows = (
    (
        "",
        "pos_embed.proj time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 "
        "time_text_embed.text_embedder.linear_1 time_text_embed.text_embedder.linear_2 context_embedder "
        "norm_out.linear proj_out",
    ),
    (
        "transformer_blocks.0-22",
        "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
        "attn.add_q_proj attn.to_out.0 attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2",
    ),
    (
        "transformer_blocks.23",
        "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
        "attn.add_q_proj attn.to_out.0 ff.net.0.proj ff.net.2",
    ),
)
_LARGE: LayerRows = (
    (
        "",
        "pos_embed.proj time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 "
        "time_text_embed.text_embedder.linear_1 time_text_embed.text_embedder.linear_2 context_embedder "
        "norm_out.linear proj_out",
    ),
    (
        "transformer_blocks.0-36",
        "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
        "attn.add_q_proj attn.to_out.0 attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2",
    ),
    (
        "transformer_blocks.37",
        "norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj "
        "attn.add_q_proj attn.to_out.0 ff.net.0.proj ff.net.2",
    ),
)

_FUSIONS = (*JOINT_FUSIONS, Fusion("transformer_blocks", ("attn2.to_q", "attn2.to_k", "attn2.to_v"), "attn2.qkv"))


_MEDIUM_BASE = BaseModel("stabilityai/stable-diffusion-3-medium-diffusers", 2.03, 1.84)
_LARGE_BASE = BaseModel("stabilityai/stable-diffusion-3.5-large", 8.06, 4.62)


def _facts(model_type: ModelType, label: str, base: BaseModel, layers: LayerRows) -> ModelFacts:
    return transformer(
        model_type,
        label,
        JOINT_BLOCKS,
        base=base,
        sample=sample_values((1024, 1024), 28, 7.0),
        layers=layers,
        hidden_layers=T5_AND_TRANSFORMER_BLOCKS,
        abilities=ATTENTION_MASK,
        encoders=3,
        large=("text_encoder_3",),
        methods=WITH_EMBEDDING,
        full=WHOLE_MODEL,
        fusions=_FUSIONS,
        pipelines=("StableDiffusion3",),
        built_in=True,
    )


MODELS = (
    _facts(ModelType.STABLE_DIFFUSION_3, "SD3", _MEDIUM_BASE, _MEDIUM),
    _facts(ModelType.STABLE_DIFFUSION_35, "SD3.5", _LARGE_BASE, _LARGE),
)

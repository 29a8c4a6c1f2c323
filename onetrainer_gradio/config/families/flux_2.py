"""FLUX.2 dev and klein."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    JOINT_FUSIONS,
    SHIFT,
    T5_AND_TRANSFORMER_BLOCKS,
    TRANSFORMER_BLOCKS,
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
        "time_guidance_embed.timestep_embedder.linear_1 time_guidance_embed.timestep_embedder.linear_2 "
        "double_stream_modulation_img.linear double_stream_modulation_txt.linear single_stream_modulation.linear "
        "x_embedder context_embedder norm_out.linear proj_out",
    ),
    (
        "transformer_blocks.0-7",
        "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out "
        "ff.linear_in ff.linear_out ff_context.linear_in ff_context.linear_out",
    ),
    ("single_transformer_blocks.0-23", "attn.to_qkv_mlp_proj attn.to_out"),
)

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.FLUX_2,
        "Flux 2 [Dev, Klein]",
        TRANSFORMER_BLOCKS,
        base=BaseModel("black-forest-labs/FLUX.2-klein-base-9B", 9.08, 2.84),
        sample=sample_values((1024, 1024), 30, 4.0),
        layers=_LAYERS,
        hidden_layers=T5_AND_TRANSFORMER_BLOCKS,
        abilities=(*SHIFT, "guidance"),
        train_encoders=False,
        replaceable=("transformer",),
        token_limited=("text_encoder",),
        fusions=JOINT_FUSIONS,
        dynamic_shift=LineShift(),
        pipelines=("Flux2",),
        exact=False,
        folder_only=True,
        drops_captions=False,
    ),
)

"""Qwen-Image."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    JOINT_BLOCKS,
    SHIFT,
    T5_AND_TRANSFORMER_BLOCKS,
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
        "time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 img_in txt_in "
        "norm_out.linear proj_out",
    ),
    (
        "transformer_blocks.0-59",
        "img_mod.1 attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj attn.add_q_proj attn.to_out.0 "
        "attn.to_add_out img_mlp.net.0.proj img_mlp.net.2 txt_mod.1 txt_mlp.net.0.proj txt_mlp.net.2",
    ),
)

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.QWEN,
        "QwenImage",
        {"attn-mlp": layer_preset("attn", "img_mlp", "txt_mlp"), **JOINT_BLOCKS},
        base=BaseModel("Qwen/Qwen-Image", 20.4, 9.25),
        sample=sample_values((1024, 1024), 25, 3.5),
        layers=_LAYERS,
        hidden_layers=T5_AND_TRANSFORMER_BLOCKS,
        abilities=SHIFT,
        replaceable=("transformer",),
        dynamic_shift=LineShift((256, 8192), (0.5, 0.9)),
        pipelines=("QwenImage",),
        folder_only=True,
        drops_captions=False,
    ),
)

"""HiDream."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    ATTENTION_MASK,
    FULL,
    LORA_FILES,
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
        "t_embedder.timestep_embedder.linear_1 t_embedder.timestep_embedder.linear_2 "
        "p_embedder.pooled_embedder.linear_1 p_embedder.pooled_embedder.linear_2 x_embedder.proj final_layer.linear "
        "final_layer.adaLN_modulation.1",
    ),
    (
        "double_stream_blocks.0-15",
        "block.adaLN_modulation.1 block.attn1.to_q block.attn1.to_k block.attn1.to_v block.attn1.to_out "
        "block.attn1.to_q_t block.attn1.to_k_t block.attn1.to_v_t block.attn1.to_out_t block.ff_i.shared_experts.w1 "
        "block.ff_i.shared_experts.w2 block.ff_i.shared_experts.w3 block.ff_t.w1 block.ff_t.w2 block.ff_t.w3",
    ),
    ("double_stream_blocks.0-15.block.ff_i.experts.0-3", "w1 w2 w3"),
    (
        "single_stream_blocks.0-31",
        "block.adaLN_modulation.1 block.attn1.to_q block.attn1.to_k block.attn1.to_v block.attn1.to_out "
        "block.ff_i.shared_experts.w1 block.ff_i.shared_experts.w2 block.ff_i.shared_experts.w3",
    ),
    ("single_stream_blocks.0-31.block.ff_i.experts.0-3", "w1 w2 w3"),
    ("caption_projection.0-48", "linear"),
)

_PRESETS = {
    "attn-mlp": layer_preset("attn1", "ff_i"),
    "attn-only": layer_preset("attn1"),
    "blocks": layer_preset("stream_block"),
    **FULL,
}

MODELS: tuple[ModelFacts, ...] = (
    transformer(
        ModelType.HI_DREAM_FULL,
        "HiDream Full",
        _PRESETS,
        base=BaseModel("HiDream-ai/HiDream-I1-Full", 17.1, 9.57),
        sample=sample_values((1024, 1024), 28, 5.0),
        layers=_LAYERS,
        hidden_layers=("caption_projection", "double_stream_blocks", "single_stream_blocks"),
        # HiDream generates no videos, yet OneTrainer offers the number of frames for it; so do we
        abilities=(*ATTENTION_MASK, "frames"),
        encoders=4,
        large=("text_encoder_3", "text_encoder_4"),
        replaceable=("text_encoder_4",),
        methods=WITH_EMBEDDING,
        lora=LORA_FILES,
        pipelines=("HiDream",),
        apart=("text_encoder_4",),
    ),
)

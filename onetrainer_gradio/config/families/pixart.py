"""PixArt Alpha and Sigma."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.facts import (
    ATTENTION_MASK,
    T5_AND_TRANSFORMER_BLOCKS,
    TRANSFORMER_BLOCKS,
    WITH_EMBEDDING,
    BaseModel,
    Fusion,
    LayerRows,
    ModelFacts,
    layer_preset,
    sample_values,
    transformer,
)

_ALPHA: LayerRows = (
    (
        "",
        "pos_embed.proj proj_out adaln_single.emb.timestep_embedder.linear_1 "
        "adaln_single.emb.timestep_embedder.linear_2 adaln_single.emb.resolution_embedder.linear_1 "
        "adaln_single.emb.resolution_embedder.linear_2 adaln_single.emb.aspect_ratio_embedder.linear_1 "
        "adaln_single.emb.aspect_ratio_embedder.linear_2 adaln_single.linear caption_projection.linear_1 "
        "caption_projection.linear_2",
    ),
    (
        "transformer_blocks.0-27",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
)
_SIGMA: LayerRows = (
    (
        "",
        "pos_embed.proj proj_out adaln_single.emb.timestep_embedder.linear_1 "
        "adaln_single.emb.timestep_embedder.linear_2 adaln_single.linear caption_projection.linear_1 "
        "caption_projection.linear_2",
    ),
    (
        "transformer_blocks.0-27",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
)

_PRESETS = {
    "attn-mlp": layer_preset("attn1", "attn2", "ff.net"),
    "attn-only": layer_preset("attn1", "attn2"),
    **TRANSFORMER_BLOCKS,
}
_FUSIONS = (
    Fusion("transformer_blocks", ("attn1.to_q", "attn1.to_k", "attn1.to_v"), "attn1.qkv"),
    Fusion("transformer_blocks", ("attn2.to_k", "attn2.to_v"), "attn2.kv"),
)


def _facts(model_type: ModelType, label: str, hub: str, layers: LayerRows, pipeline: str) -> ModelFacts:
    return transformer(
        model_type,
        label,
        _PRESETS,
        base=BaseModel(hub, 0.61, 0.86),
        sample=sample_values((1024, 1024), 25, 4.5),
        layers=layers,
        hidden_layers=T5_AND_TRANSFORMER_BLOCKS,
        abilities=(*ATTENTION_MASK, "vb_loss"),
        methods=WITH_EMBEDDING,
        pixel_multiple=16,
        flow=False,
        fusions=_FUSIONS,
        pipelines=(pipeline,),
    )


MODELS = (
    _facts(ModelType.PIXART_ALPHA, "PixArt Alpha", "PixArt-alpha/PixArt-XL-2-1024-MS", _ALPHA, "PixArtAlpha"),
    _facts(ModelType.PIXART_SIGMA, "PixArt Sigma", "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", _SIGMA, "PixArtSigma"),
)

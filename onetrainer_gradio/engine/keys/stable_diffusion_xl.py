"""Names of Stable Diffusion XL in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.engine.keys.clip import clip_tensors, open_clip_tensors
from onetrainer_gradio.engine.keys.family_keys import (
    CLIP_LAYERS,
    CLIP_PROJECTED_LAYERS,
    EncoderKeys,
    FamilyKeys,
    Section,
    Specification,
)
from onetrainer_gradio.engine.keys.unet import attends, unet_rules, vae_tensors

_STABILITY = "https://github.com/Stability-AI/generative-models"
_PUBLISHED = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")


def family_keys(model_type: ModelType, denoiser: Mapping[str, Any]) -> FamilyKeys:
    """Return the names of a type; ``denoiser`` is the configuration of its UNet, empty for the published one."""
    rules = unet_rules(attends(denoiser.get("down_block_types", _PUBLISHED)), denoiser.get("layers_per_block", 2))
    end, title = ("-inpainting", " Inpainting") if model_type.value.endswith("_INPAINTING") else ("", "")
    return FamilyKeys(
        Specification(f"stable-diffusion-xl-v1-base{end}", f"Stable Diffusion XL 1.0 Base{title}", _STABILITY),
        "unet",
        rules,
        {
            "text_encoder": EncoderKeys("lora_te1", "clip_l", "clip_l", CLIP_LAYERS, 768),
            "text_encoder_2": EncoderKeys("lora_te2", "clip_g", "clip_g", CLIP_PROJECTED_LAYERS, 1280),
        },
        single_file=(
            Section("vae", "first_stage_model.", vae_tensors),
            Section("unet", "model.diffusion_model."),
            Section("text_encoder", "conditioner.embedders.0.transformer.", clip_tensors),
            Section("text_encoder_2", "conditioner.embedders.1.model.", open_clip_tensors),
        ),
        with_schedule=True,
        v_prediction_key="v_pred",
        header={"ss_base_model_version": "sdxl_"},
    )

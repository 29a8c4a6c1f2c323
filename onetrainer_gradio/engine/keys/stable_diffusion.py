"""Names of Stable Diffusion 1.5, 2.0 and 2.1 in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.engine.keys.clip import clip_tensors, open_clip_tensors
from onetrainer_gradio.engine.keys.family_keys import CLIP_LAYERS, EncoderKeys, FamilyKeys, Section, Specification
from onetrainer_gradio.engine.keys.unet import attends, unet_rules, vae_tensors

_PUBLISHED = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
_COMPVIS = "https://github.com/CompVis/stable-diffusion"
_STABILITY = "https://github.com/Stability-AI/StableDiffusion"
_FIRST = (ModelType.STABLE_DIFFUSION_15, ModelType.STABLE_DIFFUSION_15_INPAINTING)
_KINDS = {"_INPAINTING": ("-inpainting", " Inpainting"), "_DEPTH": ("-depth", " Depth")}


def _specification(model_type: ModelType, first: bool) -> Specification:
    end, title = next((found for end, found in _KINDS.items() if model_type.value.endswith(end)), ("", ""))
    if first:
        return Specification(f"stable-diffusion-v1{end}", f"Stable Diffusion 1.5{title}", _COMPVIS)
    version = "2.1" if "_21" in model_type.value else "2.0"
    return Specification(f"stable-diffusion-v2{end}", f"Stable Diffusion {version}{title}", _STABILITY)


def family_keys(model_type: ModelType, denoiser: Mapping[str, Any]) -> FamilyKeys:
    """Return the names of a type; ``denoiser`` is the configuration of its UNet, empty for the published one."""
    first = model_type in _FIRST
    rules = unet_rules(attends(denoiser.get("down_block_types", _PUBLISHED)), denoiser.get("layers_per_block", 2))
    clip = "clip_l" if first else "clip_h"
    encoder = EncoderKeys(
        "lora_te", clip, "clip_l", CLIP_LAYERS, 768 if first else 1024, alone="emp_params", others=("lora_te1",)
    )
    text = (
        Section("text_encoder", "cond_stage_model.transformer.", clip_tensors)
        if first
        else Section("text_encoder", "cond_stage_model.model.", open_clip_tensors)
    )
    return FamilyKeys(
        _specification(model_type, first),
        "unet",
        rules,
        {"text_encoder": encoder},
        flat_native=False,
        single_file=(
            Section("vae", "first_stage_model.", vae_tensors),
            Section("unet", "model.diffusion_model."),
            text,
        ),
        with_schedule=True,
        header={} if first else {"ss_v2": "True"},
    )

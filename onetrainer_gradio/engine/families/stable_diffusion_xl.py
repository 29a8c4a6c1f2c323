"""Stable Diffusion XL: a UNet conditioned by two CLIP text encoders, and by the sizes of the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.engine import inpainting
from onetrainer_gradio.engine.diffusion import Diffusion, scale
from onetrainer_gradio.engine.families import stable_diffusion
from onetrainer_gradio.engine.families.family import Component, FamilySpec, LatentSpace, LoadedModel, Tensors, TextEncoder
from onetrainer_gradio.engine.pipelines import PipelineSampler, Prompts
from onetrainer_gradio.engine.samplers import training_scheduler
from onetrainer_gradio.engine.text_states import ClipStates

SIZES = ("original_size", "crop_offset", "crop_size")


def condition(model: LoadedModel, tensors: Tensors) -> Tensors:
    """Return ``text`` (B, 77, D), ``pooled`` (B, P), and in training ``time_ids`` (B, 6): sizes of image and crop."""
    found = {
        "text": torch.cat([tensors["hidden"], tensors["hidden_2"]], dim=-1).to(model.dtype),
        "pooled": tensors["pooled_2"].to(model.dtype),
    }
    found |= inpainting.channels(model, tensors)
    if "crop_size" in tensors:  # the pipeline computes those of a sample
        time_ids = torch.cat([tensors[name] for name in SIZES], dim=1)
        found["time_ids"] = time_ids.to(model.device, model.dtype)
    return found


def denoise(model: LoadedModel, noised_BCHW: Tensor, timestep_B: Tensor, condition: Tensors) -> Tensor:
    """Return the prediction of the UNet."""
    predicted_BCHW: Tensor = model.denoiser(
        inpainting.with_channels(noised_BCHW, condition).to(model.dtype),
        timestep_B,
        condition["text"],
        added_cond_kwargs={"text_embeds": condition["pooled"], "time_ids": condition["time_ids"]},
        return_dict=False,
    )[0]
    return predicted_BCHW


def arguments(model: LoadedModel, sample: SampleConfig, prompts: Prompts) -> dict[str, Any]:
    """Return prompts and guidance."""
    return stable_diffusion.arguments(model, sample, prompts) | {
        "pooled_prompt_embeds": prompts.positive["pooled"],
        "negative_pooled_prompt_embeds": prompts.negative["pooled"],
    }


STABLE_DIFFUSION_XL = FamilySpec(
    types=("STABLE_DIFFUSION_XL_10_BASE",),
    title="Stable Diffusion XL 1.0",
    architecture="stable-diffusion-xl-v1-base",
    pipeline="diffusers:StableDiffusionXLPipeline",
    components={
        "unet": Component("diffusers:UNet2DConditionModel"),
        "text_encoder": Component("transformers:CLIPTextModel"),
        "text_encoder_2": Component("transformers:CLIPTextModelWithProjection"),
        "vae": Component("diffusers:AutoencoderKL", fallback=True),
    },
    text=(
        TextEncoder("text_encoder", "tokenizer", "CLIPTokenizer", ClipStates(layer=2), "lora_te1", text_model_level=True),
        TextEncoder(
            "text_encoder_2",
            "tokenizer_2",
            "CLIPTokenizer",
            ClipStates(layer=2, pooled="text_embeds"),
            "lora_te2",
            text_model_level=True,
        ),
    ),
    latents=LatentSpace(scale),
    objective=Diffusion.of,
    condition=condition,
    denoise=denoise,
    sample=PipelineSampler(stable_diffusion.sampler, stable_diffusion.starting_noise, arguments, size_multiple_px=64),
    scheduler=training_scheduler,
    size_multiple_px=64,
    other_index={"feature_extractor": [None, None], "image_encoder": [None, None], "force_zeros_for_empty_prompt": True},
)


def inpainting_arguments(model: LoadedModel, sample: SampleConfig, prompts: Prompts) -> dict[str, Any]:
    """Return prompts, guidance, and base image."""
    return arguments(model, sample, prompts) | inpainting.arguments(model, sample)


STABLE_DIFFUSION_XL_INPAINTING = replace(
    STABLE_DIFFUSION_XL,
    types=("STABLE_DIFFUSION_XL_10_BASE_INPAINTING",),
    title="Stable Diffusion XL 1.0 Inpainting",
    pipeline="diffusers:StableDiffusionXLInpaintPipeline",
    sample=PipelineSampler(stable_diffusion.sampler, stable_diffusion.starting_noise, inpainting_arguments, size_multiple_px=64),
)

SPECS = (STABLE_DIFFUSION_XL, STABLE_DIFFUSION_XL_INPAINTING)

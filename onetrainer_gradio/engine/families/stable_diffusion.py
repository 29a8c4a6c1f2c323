"""Stable Diffusion 1.5, 2.0 and 2.1: a UNet on the latents of a VAE, conditioned by a CLIP text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.engine import depth, inpainting
from onetrainer_gradio.engine.diffusion import Diffusion, scale
from onetrainer_gradio.engine.families.family import Component, FamilySpec, LatentSpace, LoadedModel, Tensors, TextEncoder
from onetrainer_gradio.engine.pipelines import PipelineSampler, Prompts
from onetrainer_gradio.engine.samplers import scheduler_of, training_scheduler
from onetrainer_gradio.engine.text_states import ClipStates

ZERO_SNR_GUIDANCE_RESCALE = 0.7
"""Guidance rescale of samples (arXiv 2305.08891, section 3.4) with zero terminal SNR; OneTrainer rescales for no other model."""


def condition(model: LoadedModel, tensors: Tensors) -> Tensors:
    """Return ``text`` (B, 77, D), and the further channels of an inpainting model."""
    return {"text": tensors["hidden"].to(model.dtype), **inpainting.channels(model, tensors), **depth.channels(tensors)}


def denoise(model: LoadedModel, noised_BCHW: Tensor, timestep_B: Tensor, condition: Tensors) -> Tensor:
    """Return the prediction of the UNet."""
    inputs = inpainting.with_channels(noised_BCHW, condition).to(model.dtype)
    predicted_BCHW: Tensor = model.denoiser(inputs, timestep_B, condition["text"], return_dict=False)[0]
    return predicted_BCHW


def sampler(model: LoadedModel, sample: SampleConfig) -> Any:
    """Return the scheduler that a sample names, on the noise schedule of the model."""
    zero_snr = model.config.rescale_noise_scheduler_to_zero_terminal_snr
    return scheduler_of(sample.noise_scheduler, model.scheduler_config, model.objective.prediction, zero_snr=zero_snr)


def starting_noise(model: LoadedModel, sample: SampleConfig, generator: Generator) -> Tensor:
    """Return noise (1, 4, H/8, W/8) in the train data type; the pipeline scales it."""
    size = (1, model.vae.config["latent_channels"], sample.height // 8, sample.width // 8)
    return torch.randn(size, generator=generator, device=model.device, dtype=model.dtype)


def arguments(model: LoadedModel, sample: SampleConfig, prompts: Prompts) -> dict[str, Any]:
    """Return prompts and guidance."""
    rescale = ZERO_SNR_GUIDANCE_RESCALE if model.config.rescale_noise_scheduler_to_zero_terminal_snr else 0.0
    return {
        "prompt_embeds": prompts.positive["text"],
        "negative_prompt_embeds": prompts.negative["text"],
        "guidance_scale": sample.cfg_scale,
        "guidance_rescale": rescale,
    }


def inpainting_arguments(model: LoadedModel, sample: SampleConfig, prompts: Prompts) -> dict[str, Any]:
    """Return prompts, guidance, and base image; the pipeline has no guidance rescale."""
    plain = arguments(model, sample, prompts)
    del plain["guidance_rescale"]
    return plain | inpainting.arguments(model, sample)


def depth_arguments(model: LoadedModel, sample: SampleConfig, prompts: Prompts) -> dict[str, Any]:
    """Return prompts, guidance, and the image whose depth the sample has."""
    plain = arguments(model, sample, prompts)
    del plain["guidance_rescale"]
    return plain | depth.arguments(model, sample)


UNSAFE: Mapping[str, Any] = {
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
}
"""A saved model has no safety checker, which isn't trained."""

STABLE_DIFFUSION_15 = FamilySpec(
    types=("STABLE_DIFFUSION_15",),
    title="Stable Diffusion 1.5",
    architecture="stable-diffusion-v1",
    pipeline="diffusers:StableDiffusionPipeline",
    components={
        "unet": Component("diffusers:UNet2DConditionModel"),
        "text_encoder": Component("transformers:CLIPTextModel"),
        "vae": Component("diffusers:AutoencoderKL"),
    },
    text=(
        TextEncoder(
            "text_encoder", "tokenizer", "CLIPTokenizer", ClipStates(layer=1, norm=True), "lora_te", text_model_level=True
        ),
    ),
    latents=LatentSpace(scale),
    objective=Diffusion.of,
    condition=condition,
    denoise=denoise,
    sample=PipelineSampler(sampler, starting_noise, arguments),
    scheduler=training_scheduler,
    size_multiple_px=8,
    other_index=UNSAFE,
)

STABLE_DIFFUSION_2 = replace(
    STABLE_DIFFUSION_15,
    types=("STABLE_DIFFUSION_20", "STABLE_DIFFUSION_21"),
    title="Stable Diffusion 2",
    architecture="stable-diffusion-v2-768-v",
)
STABLE_DIFFUSION_2_BASE = replace(
    STABLE_DIFFUSION_2,
    types=("STABLE_DIFFUSION_20_BASE", "STABLE_DIFFUSION_21_BASE"),
    title="Stable Diffusion 2 Base",
    architecture="stable-diffusion-v2-512",
)
STABLE_DIFFUSION_2_DEPTH = replace(
    STABLE_DIFFUSION_2_BASE,
    types=("STABLE_DIFFUSION_20_DEPTH",),
    title="Stable Diffusion 2 Depth",
    pipeline="diffusers:StableDiffusionDepth2ImgPipeline",
    components={**STABLE_DIFFUSION_15.components, "depth_estimator": Component("transformers:DPTForDepthEstimation")},
    processors={"feature_extractor": "DPTImageProcessor"},
    image_encoders=("vae", "depth_estimator"),
    more_of_image=depth.depth_of_image,
    sample=PipelineSampler(sampler, starting_noise, depth_arguments, from_image=True),
    other_index={},
)


def _inpainting(spec: FamilySpec, model_type: str) -> FamilySpec:
    return replace(
        spec,
        types=(model_type,),
        title=f"{spec.title} Inpainting",
        pipeline="diffusers:StableDiffusionInpaintPipeline",
        sample=PipelineSampler(sampler, starting_noise, inpainting_arguments),
    )


SPECS = (
    STABLE_DIFFUSION_15,
    STABLE_DIFFUSION_2,
    STABLE_DIFFUSION_2_BASE,
    STABLE_DIFFUSION_2_DEPTH,
    _inpainting(STABLE_DIFFUSION_15, "STABLE_DIFFUSION_15_INPAINTING"),
    _inpainting(STABLE_DIFFUSION_2_BASE, "STABLE_DIFFUSION_20_INPAINTING"),
)

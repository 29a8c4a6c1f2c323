"""FLUX.1 dev and Fill dev: a transformer on packed latents, conditioned by T5, the pooled state of CLIP and the guidance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy
import torch
from torch import Generator, Tensor

from onetrainer_gradio.config import SampleConfig, TrainConfig
from onetrainer_gradio.engine import inpainting
from onetrainer_gradio.engine.diffusion import shift_and_scale
from onetrainer_gradio.engine.families.family import Component, FamilySpec, LatentSpace, LoadedModel, Tensors, TextEncoder
from onetrainer_gradio.engine.flow_matching import FlowMatching
from onetrainer_gradio.engine.pipelines import PipelineSampler, Prompts, flow_noise, flow_sampler, unchanged_scheduler
from onetrainer_gradio.engine.text_states import ClipStates, T5States, masked


def pack(latents_BCHW: Tensor) -> Tensor:
    """Return patches of 2 x 2 latents as tokens: (B, H/2 W/2, 4 C), each in the order channel, row, column."""
    batch, channels, height, width = latents_BCHW.shape
    patches = latents_BCHW.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, (height // 2) * (width // 2), channels * 4)


def unpack(tokens_BND: Tensor, height: int, width: int) -> Tensor:
    """Return packed latents as (B, C, H, W)."""
    batch, _, size = tokens_BND.shape
    patches = tokens_BND.view(batch, height // 2, width // 2, size // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(batch, size // 4, height, width)


def image_ids(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the positions (N, 3) of the patches: 0, row, column."""
    rows, columns = torch.meshgrid(torch.arange(height // 2), torch.arange(width // 2), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3).to(device, dtype)


def text_length(tokenizer: Any, config: TrainConfig) -> int:
    """Return the number of T5's tokens."""
    length = config.text_encoder_2_sequence_length
    return int(tokenizer.model_max_length) if length is None else length


def condition(model: LoadedModel, tensors: Tensors) -> Tensors:
    """Return ``text`` (B, L, D) and ``pooled`` (B, P); zeros for missing encoders."""
    settings = model.denoiser.config
    length = model.config.text_encoder_2_sequence_length or 512
    batch = next(tensors[name].shape[0] for name in ("tokens", "tokens_2") if name in tensors)
    text = (
        masked(model, tensors, "_2")
        if "hidden_2" in tensors
        else torch.zeros((batch, length, settings["joint_attention_dim"]), device=model.device)
    )
    pooled = tensors.get("pooled", torch.zeros((batch, settings["pooled_projection_dim"]), device=model.device))
    return {"text": text.to(model.dtype), "pooled": pooled.to(model.dtype), **fill_channels(model, tensors)}


def fill_channels(model: LoadedModel, tensors: Tensors) -> Tensors:
    """Return the further channels (B, 16 + 64, h, w) of a batch of FLUX.1 Fill: latents of the image around the mask, mask."""
    if "conditioning_latents" not in tensors:
        return {}
    around = model.normalized(tensors["conditioning_latents"].to(model.device))
    return {inpainting.CHANNELS: torch.cat([around, mask_channels(tensors["mask"].to(around))], dim=1)}


def mask_channels(mask_B1HW: Tensor) -> Tensor:
    """Return a mask of the size of the image as (B, 64, H/8, W/8): channel 8 · row + column is a pixel of each 8 x 8 square."""
    batch, _, height, width = mask_B1HW.shape
    squares = mask_B1HW.view(batch, height // 8, 8, width // 8, 8).permute(0, 2, 4, 1, 3)
    return squares.reshape(batch, 64, height // 8, width // 8)


def denoise(model: LoadedModel, noised_BCHW: Tensor, timestep_B: Tensor, condition: Tensors) -> Tensor:
    """Return the prediction of the transformer, unpacked."""
    height, width = noised_BCHW.shape[-2:]
    guidance_B = None
    if model.denoiser.config["guidance_embeds"]:
        scale = model.config.transformer.guidance_scale
        guidance_B = torch.full((noised_BCHW.shape[0],), scale, device=model.device, dtype=model.dtype)
    predicted_BND: Tensor = model.denoiser(
        hidden_states=pack(inpainting.with_channels(noised_BCHW, condition)).to(model.dtype),
        timestep=timestep_B / model.objective.timesteps,
        guidance=guidance_B,
        pooled_projections=condition["pooled"],
        encoder_hidden_states=condition["text"],
        txt_ids=torch.zeros((condition["text"].shape[1], 3), device=model.device),
        img_ids=image_ids(height, width, model.device, model.dtype),
        return_dict=False,
    )[0]
    return unpack(predicted_BND, height, width)


def starting_noise(model: LoadedModel, sample: SampleConfig, generator: Generator) -> Tensor:
    """Return packed noise."""
    return pack(flow_noise(model, sample, generator))


def arguments(model: LoadedModel, sample: SampleConfig, prompts: Prompts) -> dict[str, Any]:
    """Return prompt, guidance and noise levels: from the first to the last of the scheduler, both included."""
    scheduler = flow_sampler(model, sample)
    return {
        "prompt_embeds": prompts.positive["text"],
        "pooled_prompt_embeds": prompts.positive["pooled"],
        "guidance_scale": sample.cfg_scale,
        "sigmas": numpy.linspace(float(scheduler.sigma_max), float(scheduler.sigma_min), sample.diffusion_steps),
    }


def fill_arguments(model: LoadedModel, sample: SampleConfig, prompts: Prompts) -> dict[str, Any]:
    """Return prompt, guidance, noise levels, and base image with mask, from 0 to 1."""
    canvas = inpainting.Canvas.of(sample)
    return arguments(model, sample, prompts) | {"image": (canvas.image + 1) / 2, "mask_image": canvas.mask}


FLUX_1_DEV = FamilySpec(
    types=("FLUX_DEV_1",),
    title="FLUX.1 dev",
    architecture="flux-1-dev",
    pipeline="diffusers:FluxPipeline",
    components={
        "transformer": Component("diffusers:FluxTransformer2DModel"),
        "text_encoder": Component("transformers:CLIPTextModel"),
        "text_encoder_2": Component("transformers:T5EncoderModel", fallback=True),
        "vae": Component("diffusers:AutoencoderKL"),
    },
    text=(
        TextEncoder(
            "text_encoder", "tokenizer", "CLIPTokenizer", ClipStates(pooled="pooler_output"), "lora_te1", text_model_level=True
        ),
        TextEncoder("text_encoder_2", "tokenizer_2", "T5TokenizerFast", T5States(), "lora_te2", tokens=text_length),
    ),
    latents=LatentSpace(shift_and_scale),
    objective=FlowMatching.of,
    condition=condition,
    denoise=denoise,
    sample=PipelineSampler(flow_sampler, starting_noise, arguments, negative=False, size_multiple_px=64),
    scheduler=unchanged_scheduler,
    size_multiple_px=64,
    dynamic_shift=True,
    other_index={"feature_extractor": [None, None], "image_encoder": [None, None]},
)

FLUX_1_FILL = replace(
    FLUX_1_DEV,
    types=("FLUX_FILL_DEV_1",),
    title="FLUX.1 Fill dev",
    pipeline="diffusers:FluxFillPipeline",
    latents=LatentSpace(shift_and_scale, mask_factor=1),
    sample=PipelineSampler(flow_sampler, starting_noise, fill_arguments, negative=False, size_multiple_px=64),
    other_index={},
)

SPECS = (FLUX_1_DEV, FLUX_1_FILL)

"""Stable Diffusion 3 and 3.5: a transformer conditioned by two CLIP text encoders and T5, each of which is optional."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.engine.diffusion import shift_and_scale
from onetrainer_gradio.engine.families.family import Component, FamilySpec, LatentSpace, LoadedModel, Tensors, TextEncoder
from onetrainer_gradio.engine.flow_matching import FlowMatching
from onetrainer_gradio.engine.pipelines import PipelineSampler, Prompts, flow_noise, flow_sampler, unchanged_scheduler
from onetrainer_gradio.engine.text_states import ClipStates, T5States, masked

TOKENS = 77
_CLIP = ClipStates(layer=2, pooled="text_embeds")


def condition(model: LoadedModel, tensors: Tensors) -> Tensors:
    """Return ``text`` (B, 154, D) and ``pooled`` (B, P): CLIP's states side by side, T5's behind; zeros for missing encoders."""
    settings = model.denoiser.config
    batch = tensors["tokens" + next(encoder.suffix for encoder in model.spec.text if encoder.name in model.components)].shape[0]

    def zeros(*shape: int) -> Tensor:
        return torch.zeros((batch, *shape), device=model.device)

    known = {suffix: tensors[f"pooled{suffix}"] for suffix in ("", "_2") if f"pooled{suffix}" in tensors}
    width = settings["pooled_projection_dim"]
    rest = width - sum(pooled.shape[-1] for pooled in known.values())
    pooled = [known.get(suffix, zeros(rest if len(known) == 1 else width // 2)) for suffix in ("", "_2")]
    hidden = [
        masked(model, tensors, suffix) if suffix in known else zeros(TOKENS, state.shape[-1])
        for suffix, state in zip(("", "_2"), pooled, strict=True)
    ]
    clip = torch.cat(hidden, dim=-1)
    clip = functional.pad(clip, (0, settings["joint_attention_dim"] - clip.shape[-1]))
    t5 = masked(model, tensors, "_3") if "hidden_3" in tensors else zeros(TOKENS, settings["joint_attention_dim"])
    return {
        "text": torch.cat([clip, t5], dim=-2).to(model.dtype),
        "pooled": torch.cat(pooled, dim=-1).to(model.dtype),
    }


def denoise(model: LoadedModel, noised_BCHW: Tensor, timestep_B: Tensor, condition: Tensors) -> Tensor:
    """Return the prediction of the transformer."""
    predicted_BCHW: Tensor = model.denoiser(
        hidden_states=noised_BCHW.to(model.dtype),
        timestep=timestep_B,
        encoder_hidden_states=condition["text"],
        pooled_projections=condition["pooled"],
        return_dict=False,
    )[0]
    return predicted_BCHW


def arguments(model: LoadedModel, sample: SampleConfig, prompts: Prompts) -> dict[str, Any]:
    """Return prompts and guidance."""
    return {
        "prompt_embeds": prompts.positive["text"],
        "negative_prompt_embeds": prompts.negative["text"],
        "pooled_prompt_embeds": prompts.positive["pooled"],
        "negative_pooled_prompt_embeds": prompts.negative["pooled"],
        "guidance_scale": sample.cfg_scale,
    }


def _clip(number: str, prefix: str) -> TextEncoder:
    return TextEncoder(f"text_encoder{number}", f"tokenizer{number}", "CLIPTokenizer", _CLIP, prefix, text_model_level=True)


STABLE_DIFFUSION_3 = FamilySpec(
    types=("STABLE_DIFFUSION_3", "STABLE_DIFFUSION_35"),
    title="Stable Diffusion 3",
    architecture="stable-diffusion-3",
    pipeline="diffusers:StableDiffusion3Pipeline",
    components={
        "transformer": Component("diffusers:SD3Transformer2DModel"),
        "text_encoder": Component("transformers:CLIPTextModelWithProjection"),
        "text_encoder_2": Component("transformers:CLIPTextModelWithProjection"),
        "text_encoder_3": Component("transformers:T5EncoderModel", fallback=True),
        "vae": Component("diffusers:AutoencoderKL"),
    },
    text=(
        _clip("", "lora_te1"),
        _clip("_2", "lora_te2"),
        TextEncoder("text_encoder_3", "tokenizer_3", "T5TokenizerFast", T5States(), "lora_te3", tokens=lambda *_: TOKENS),
    ),
    latents=LatentSpace(shift_and_scale),
    objective=FlowMatching.of,
    condition=condition,
    denoise=denoise,
    sample=PipelineSampler(flow_sampler, flow_noise, arguments, size_multiple_px=16),
    scheduler=unchanged_scheduler,
    size_multiple_px=64,
    other_index={"feature_extractor": [None, None], "image_encoder": [None, None]},
)

SPECS = (STABLE_DIFFUSION_3,)

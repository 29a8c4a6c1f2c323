"""Names of Stable Diffusion 3 and 3.5 in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.engine.keys.clip import clip_tensors, t5_tensors
from onetrainer_gradio.engine.keys.family_keys import (
    CLIP_PROJECTED_LAYERS,
    T5_LAYERS,
    EncoderKeys,
    FamilyKeys,
    Section,
    Specification,
)
from onetrainer_gradio.engine.keys.rules import Rule, Swap
from onetrainer_gradio.engine.keys.unet import vae_tensors

_TOP = {
    "pos_embed.pos_embed": "pos_embed",
    "pos_embed.proj": "x_embedder.proj",
    "context_embedder": "context_embedder",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear",
}
_BLOCK = {
    "attn.qkv": "x_block.attn.qkv",
    "attn.added_qkv": "context_block.attn.qkv",
    "attn2.qkv": "x_block.attn2.qkv",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
RULES = (
    *(Rule(path, native) for path, native in _TOP.items()),
    Rule("norm_out.linear", "final_layer.adaLN_modulation.1", Swap.ALWAYS),
    *(Rule(f"transformer_blocks.{{}}.{leaf}", f"joint_blocks.{{}}.{native}") for leaf, native in _BLOCK.items()),
    # only that of the last block has a shift and a scale alone
    Rule("transformer_blocks.{}.norm1_context.linear", "joint_blocks.{}.context_block.adaLN_modulation.1", Swap.CONTINUOUS),
)
_SPECIFICATIONS = {
    ModelType.STABLE_DIFFUSION_3: Specification("stable-diffusion-v3-medium", "Stable Diffusion 3 Medium"),
    ModelType.STABLE_DIFFUSION_35: Specification("stable-diffusion-v3.5", "Stable Diffusion 3.5"),
}


def family_keys(model_type: ModelType, denoiser: Mapping[str, Any]) -> FamilyKeys:
    """Return the names of a type, which are the same for all sizes."""
    return FamilyKeys(
        _SPECIFICATIONS[model_type],
        "transformer",
        RULES,
        {
            "text_encoder": EncoderKeys("lora_te1", "clip_l", "clip_l", CLIP_PROJECTED_LAYERS, 768),
            "text_encoder_2": EncoderKeys("lora_te2", "clip_g", "clip_g", CLIP_PROJECTED_LAYERS, 1280),
            "text_encoder_3": EncoderKeys("lora_te3", "t5xxl", "t5", T5_LAYERS, 4096),
        },
        MODELS[model_type].fusions,
        optional_layers=("transformer_blocks.{}.attn2.to_out.0",),
        single_file=(
            Section("vae", "first_stage_model.", vae_tensors),
            Section("transformer", "model.diffusion_model."),
            Section("text_encoder", "text_encoders.clip_l.transformer.", clip_tensors),
            Section("text_encoder_2", "text_encoders.clip_g.transformer.", clip_tensors),
            Section("text_encoder_3", "text_encoders.t5xxl.transformer.", t5_tensors),
        ),
    )

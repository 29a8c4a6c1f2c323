"""Create the components of the demo model, with the layout of Stable Diffusion 1.5 but much smaller."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from onetrainer_gradio.demo.vocabulary import END, START, TOKENS, build_vocabulary

TEXT_WIDTH = 64

VAE_CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 64),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 1,  # a flat image keeps its color only in what the channels have in common
    "sample_size": 128,
}
UNET_CONFIG: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (32, 96, 96),
    "layers_per_block": 1,
    "cross_attention_dim": TEXT_WIDTH,
    "norm_num_groups": 2,
    "attention_head_dim": 2,  # as in SD1.5's own config, this is the number of heads
}
SCHEDULER_CONFIG: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}


def new_text_encoder(seed: int) -> Any:
    """Return an untrained CLIPTextModel for the vocabulary of the toy dataset."""
    torch.manual_seed(seed)
    vocabulary, _ = build_vocabulary()
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            bos_token_id=vocabulary[START],
            eos_token_id=vocabulary[END],
            pad_token_id=vocabulary[END],
        )
    )


def new_vae(seed: int) -> Any:
    """Return an untrained AutoencoderKL: factor 8, 4 latent channels."""
    torch.manual_seed(seed)
    return AutoencoderKL(**VAE_CONFIG)


def new_unet(seed: int) -> Any:
    """Return an untrained UNet2DConditionModel."""
    torch.manual_seed(seed)
    return UNet2DConditionModel(**UNET_CONFIG)


def new_scheduler() -> Any:
    """Return DDIM with Stable Diffusion 1.5's noise schedule (epsilon, 1000 steps)."""
    return DDIMScheduler(**SCHEDULER_CONFIG)

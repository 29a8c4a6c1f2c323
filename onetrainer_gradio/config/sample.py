"""Settings of one preview picture."""

from __future__ import annotations

from onetrainer_gradio.config.enums import NoiseScheduler
from onetrainer_gradio.config.setting import Settings, setting


class SampleConfig(Settings):
    """A prompt and how its picture is painted."""

    enabled: bool = setting(True, label="Use it", help="Paint this prompt.", group="sampling", level="basic")
    prompt: str = setting("", label="Prompt", help="What to paint.", group="sampling", level="basic", kind="text")
    negative_prompt: str = setting(
        "", label="Negative prompt", help="What to avoid.", group="sampling", level="basic", kind="text"
    )
    height: int = setting(
        512, label="Height", help="Height in pixels, a multiple of 8.", group="sampling", level="basic", ge=8, le=8192
    )
    width: int = setting(
        512, label="Width", help="Width in pixels, a multiple of 8.", group="sampling", level="basic", ge=8, le=8192
    )
    frames: int = setting(1)
    length: float = setting(10.0)
    seed: int = setting(
        42,
        label="Seed",
        help="Start of the randomness; the same seed gives comparable pictures.",
        group="sampling",
        level="basic",
        ge=-1,
    )
    random_seed: bool = setting(False, label="Random seed", help="A new seed each time.", group="sampling", level="advanced")
    diffusion_steps: int = setting(
        30,
        label="Steps",
        help="Denoising steps. 20 to 30 are enough for most samplers.",
        group="sampling",
        level="basic",
        ge=1,
        le=1000,
    )
    cfg_scale: float = setting(
        7.0,
        label="Guidance",
        help="How closely the picture follows the prompt; 7 is usual, 1 turns guidance off.",
        group="sampling",
        level="basic",
        ge=0,
    )
    noise_scheduler: NoiseScheduler = setting(
        NoiseScheduler.DDIM, label="Sampler", help="The sampling method.", group="sampling", level="advanced"
    )
    text_encoder_1_layer_skip: int = setting(0)
    text_encoder_1_sequence_length: int | None = setting(None)
    text_encoder_2_layer_skip: int = setting(0)
    text_encoder_2_sequence_length: int | None = setting(None)
    text_encoder_3_layer_skip: int = setting(0)
    text_encoder_4_layer_skip: int = setting(0)
    transformer_attention_mask: bool = setting(False)
    force_last_timestep: bool = setting(False)
    sample_inpainting: bool = setting(False)
    base_image_path: str = setting("")
    mask_image_path: str = setting("")

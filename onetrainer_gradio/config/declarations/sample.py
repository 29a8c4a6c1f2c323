"""Declare the settings of a sample. Paths of conditions are relative to the sample, or begin at the root with a slash."""

from __future__ import annotations

from functools import partial

from onetrainer_gradio.config.declarations.setting import Settings, setting
from onetrainer_gradio.config.declarations.visibility import DIFFUSION, INPAINTING, VIDEO, types
from onetrainer_gradio.config.enums import NoiseScheduler
from onetrainer_gradio.config.families.models import SAMPLERS

_sample = partial(setting, group="sample")
_NEGATIVE = types("models that support negative prompts", lambda facts: "no_negative_prompt" not in facts.traits)


class SampleConfig(Settings):
    """A prompt and its sampling parameters."""

    enabled: bool = _sample(True, label="Enabled", help="Generate this sample. If off, it is skipped.")
    prompt: str = _sample(
        "",
        label="Prompt",
        help="Text that describes the image. Use the words of your captions to see what the model has learned.",
        kind="text",
    )
    negative_prompt: str = _sample(
        "",
        label="Negative prompt",
        help="What the image should not show. Requires a CFG scale above 1.",
        kind="text",
        shown={"/model_type": _NEGATIVE},
    )
    height: int = _sample(
        512,
        label="Height",
        help="Height of the image, a multiple of 8. The base model's native resolution works best.",
        unit="px",
        ge=8,
        le=8192,
    )
    width: int = _sample(
        512,
        label="Width",
        help="Width of the image, a multiple of 8. The base model's native resolution works best.",
        unit="px",
        ge=8,
        le=8192,
    )
    frames: int = _sample(
        1, label="Frames", help="Length of the video in frames. 1 generates a single image.", ge=1, shown={"/model_type": VIDEO}
    )
    length: float = _sample(
        10.0,
        label="Length",
        help="Length of the video in seconds. OneTrainer stores it but doesn't use it yet. The number of frames determines the length.",
        level="expert",
        unit="s",
        ge=0,
        shown={"/model_type": VIDEO},
    )
    seed: int = _sample(42, label="Seed", help="Seed of the random noise. With the same seed, you can compare samples.", ge=-1)
    random_seed: bool = _sample(
        False,
        label="Random seed",
        help="Use a new seed for each sample. Samples then differ even if the model hasn't changed.",
        level="advanced",
    )
    diffusion_steps: int = _sample(
        30,
        label="Steps",
        help="Number of denoising steps (diffusers: num_inference_steps). 20 to 30 are enough for most samplers. More take longer.",
        ge=1,
        le=1000,
    )
    cfg_scale: float = _sample(
        7.0,
        label="CFG scale",
        help="How closely the image follows the prompt (diffusers: guidance_scale). 1 turns guidance off, 7 suits Stable Diffusion, 3 to 5 newer models. Very high values oversaturate colors.",
        ge=0,
    )
    noise_scheduler: NoiseScheduler = _sample(
        NoiseScheduler.DDIM,
        label="Sampler",
        help="Algorithm that removes the noise (diffusers: scheduler). With ancestral samplers, the image keeps changing with more steps. With the others, it converges.",
        level="advanced",
        choices=tuple(item.value for item in SAMPLERS),
        shown={"/model_type": DIFFUSION},
    )
    text_encoder_1_layer_skip: int = setting(0)
    text_encoder_1_sequence_length: int | None = setting(None)
    text_encoder_2_layer_skip: int = setting(0)
    text_encoder_2_sequence_length: int | None = setting(None)
    text_encoder_3_layer_skip: int = setting(0)
    text_encoder_4_layer_skip: int = setting(0)
    transformer_attention_mask: bool = setting(False)
    force_last_timestep: bool = setting(False)
    sample_inpainting: bool = _sample(
        False,
        label="Inpainting",
        help="Generate only the masked area of a base image. If off, the whole image is generated.",
        level="advanced",
        shown={"/model_type": INPAINTING},
    )
    base_image_path: str = _sample(
        "",
        label="Base image",
        help="Image in which the masked area is generated again.",
        level="advanced",
        kind="path",
        path="file",
        shown={"/model_type": INPAINTING, "sample_inpainting": (True,)},
    )
    mask_image_path: str = _sample(
        "",
        label="Mask image",
        help="Mask of the base image. White areas are generated, black areas are kept.",
        level="advanced",
        kind="path",
        path="file",
        shown={"/model_type": INPAINTING, "sample_inpainting": (True,)},
    )

"""Settings of one preview picture. Paths of conditions begin at the sample, or at the root with a slash."""

from __future__ import annotations

from functools import partial

from onetrainer_gradio.config.declarations.setting import Settings, setting
from onetrainer_gradio.config.declarations.visibility import DIFFUSION, INPAINTING, VIDEO, types
from onetrainer_gradio.config.enums import NoiseScheduler
from onetrainer_gradio.config.families.models import SAMPLERS

_sample = partial(setting, group="sample")
_NEGATIVE = types("models that support negative prompts", lambda facts: "no_negative_prompt" not in facts.traits)


class SampleConfig(Settings):
    """A prompt and how its picture is painted."""

    enabled: bool = _sample(True, label="Enabled", help="Paint this prompt.")
    prompt: str = _sample(
        "", label="Prompt", help="What to paint. Use the words of your captions to see what was learned.", kind="text"
    )
    negative_prompt: str = _sample(
        "",
        label="Negative prompt",
        help="What to avoid. It needs a guidance above 1.",
        kind="text",
        shown={"/model_type": _NEGATIVE},
    )
    height: int = _sample(
        512,
        label="Height",
        help="Height in pixels, a multiple of 8; the size the model was made for looks best.",
        unit="px",
        ge=8,
        le=8192,
    )
    width: int = _sample(
        512,
        label="Width",
        help="Width in pixels, a multiple of 8; the size the model was made for looks best.",
        unit="px",
        ge=8,
        le=8192,
    )
    frames: int = _sample(
        1, label="Frames", help="Length of the video in frames. 1 paints a single picture.", ge=1, shown={"/model_type": VIDEO}
    )
    length: float = _sample(
        10.0,
        label="Length",
        help="Length in seconds. OneTrainer keeps it but does not read it yet; the number of frames decides.",
        level="expert",
        unit="s",
        ge=0,
        shown={"/model_type": VIDEO},
    )
    seed: int = _sample(42, label="Seed", help="Start of the randomness; the same seed gives comparable pictures.", ge=-1)
    random_seed: bool = _sample(
        False,
        label="Random seed",
        help="A new seed each time. Pictures then differ even if nothing was learned.",
        level="advanced",
    )
    diffusion_steps: int = _sample(
        30, label="Steps", help="Denoising steps. 20 to 30 are enough for most samplers; more takes longer.", ge=1, le=1000
    )
    cfg_scale: float = _sample(
        7.0,
        label="CFG scale",
        help="How closely the picture follows the prompt. 1 turns it off; about 7 for Stable Diffusion, 3 to 5 for newer models; very high values burn colours.",
        ge=0,
    )
    noise_scheduler: NoiseScheduler = _sample(
        NoiseScheduler.DDIM,
        label="Sampler",
        help="The rule by which noise is removed. Ancestral ones keep changing with more steps, the others settle.",
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
        help="Paint only the masked region of a base picture. Off paints a whole picture.",
        level="advanced",
        shown={"/model_type": INPAINTING},
    )
    base_image_path: str = _sample(
        "",
        label="Base image",
        help="The picture of which a region is painted anew.",
        level="advanced",
        kind="path",
        path="file",
        shown={"/model_type": INPAINTING, "sample_inpainting": (True,)},
    )
    mask_image_path: str = _sample(
        "",
        label="Mask image",
        help="White where it is painted, black where the base picture stays.",
        level="advanced",
        kind="path",
        path="file",
        shown={"/model_type": INPAINTING, "sample_inpainting": (True,)},
    )

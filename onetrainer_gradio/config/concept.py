"""Settings of a concept: a folder of pictures with captions, and how it enters the training."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from onetrainer_gradio.config.enums import BalancingStrategy, ConceptType
from onetrainer_gradio.config.setting import Settings, setting


def random_seed() -> int:
    """A seed of its own for each new concept."""
    return random.randint(-(2**30), 2**30)


class ConceptImageConfig(Settings):
    """How the pictures of a concept are altered."""

    enable_crop_jitter: bool = setting(
        True,
        label="Crop jitter",
        help="Move the crop around a little, so that the model does not learn the frame.",
        group="concepts",
        level="advanced",
    )
    enable_random_flip: bool = setting(
        False,
        label="Random mirror",
        help="Mirror pictures at random. Not for faces, text or anything with a left and a right.",
        group="concepts",
        level="advanced",
    )
    enable_fixed_flip: bool = setting(False)
    enable_random_rotate: bool = setting(False)
    enable_fixed_rotate: bool = setting(False)
    random_rotate_max_angle: float = setting(0.0)
    enable_random_brightness: bool = setting(False)
    enable_fixed_brightness: bool = setting(False)
    random_brightness_max_strength: float = setting(0.0)
    enable_random_contrast: bool = setting(False)
    enable_fixed_contrast: bool = setting(False)
    random_contrast_max_strength: float = setting(0.0)
    enable_random_saturation: bool = setting(False)
    enable_fixed_saturation: bool = setting(False)
    random_saturation_max_strength: float = setting(0.0)
    enable_random_hue: bool = setting(False)
    enable_fixed_hue: bool = setting(False)
    random_hue_max_strength: float = setting(0.0)
    enable_resolution_override: bool = setting(False)
    resolution_override: str = setting("512")
    enable_random_circular_mask_shrink: bool = setting(False)
    enable_random_mask_rotate_crop: bool = setting(False)


class ConceptTextConfig(Settings):
    """Where the captions of a concept come from and how they are altered."""

    prompt_source: str = setting(
        "sample",
        label="Captions from",
        help="Where captions come from: a .txt file beside each picture (sample), one file with a caption a line for all (concept), or the picture's file name.",
        group="concepts",
        level="basic",
        choices=("sample", "concept", "filename"),
    )
    prompt_path: str = setting(
        "",
        label="Caption file",
        help="The caption file for all pictures.",
        group="concepts",
        level="basic",
        kind="path",
        path="file",
        shown={"text.prompt_source": ("concept",)},
    )
    enable_tag_shuffling: bool = setting(False)
    tag_delimiter: str = setting(",")
    keep_tags_count: int = setting(1)
    tag_dropout_enable: bool = setting(False)
    tag_dropout_mode: str = setting("FULL")
    tag_dropout_probability: float = setting(0.0)
    tag_dropout_special_tags_mode: str = setting("NONE")
    tag_dropout_special_tags: str = setting("")
    tag_dropout_special_tags_regex: bool = setting(False)
    caps_randomize_enable: bool = setting(False)
    caps_randomize_mode: str = setting("capslock, title, first, random")
    caps_randomize_probability: float = setting(0.0)
    caps_randomize_lowercase: bool = setting(False)


class ConceptConfig(Settings):
    """A folder of pictures with captions."""

    config_version: ClassVar[int] = 2

    image: ConceptImageConfig = setting(
        ConceptImageConfig(),
        label="Picture changes",
        help="Alterations.",
        group="concepts",
        level="basic",
        kind="object",
        fields=("enable_crop_jitter", "enable_random_flip"),
    )
    text: ConceptTextConfig = setting(
        ConceptTextConfig(),
        label="Captions",
        help="Captions.",
        group="concepts",
        level="basic",
        kind="object",
        fields=("prompt_source", "prompt_path"),
    )
    name: str = setting(
        "", label="Name", help="A name for this folder, used in lists and validation charts.", group="concepts", level="basic"
    )
    path: str = setting(
        "", label="Folder", help="The folder with the pictures.", group="concepts", level="basic", kind="path", path="folder"
    )
    seed: int = setting(factory=random_seed)
    enabled: bool = setting(True, label="Use it", help="Use this concept in the run.", group="concepts", level="basic")
    type: ConceptType = setting(
        ConceptType.STANDARD,
        label="Type",
        help="STANDARD is trained on; VALIDATION is only measured.",
        group="concepts",
        level="advanced",
        choices=("STANDARD", "VALIDATION"),
    )
    include_subdirectories: bool = setting(
        False, label="Include subfolders", help="Also use the folders inside.", group="concepts", level="basic"
    )
    image_variations: int = setting(
        1,
        label="Picture variations",
        help="How many differently altered versions of each picture are cached.",
        group="concepts",
        level="expert",
        ge=1,
    )
    text_variations: int = setting(
        1,
        label="Caption variations",
        help="How many versions of each caption are cached.",
        group="concepts",
        level="expert",
        ge=1,
    )
    balancing: float = setting(
        1.0,
        label="Balance",
        help="How much of this folder enters an epoch: a multiple of its pictures, or their number, as the next setting says.",
        group="concepts",
        level="basic",
        ge=0,
    )
    balancing_strategy: BalancingStrategy = setting(
        BalancingStrategy.REPEATS,
        label="Balance by",
        help="REPEATS: the balance multiplies the pictures (2 shows each twice an epoch). SAMPLES: it is the number of pictures an epoch.",
        group="concepts",
        level="advanced",
    )
    loss_weight: float = setting(
        1.0, label="Weight", help="How much this folder counts compared with others.", group="concepts", level="advanced", ge=0
    )
    concept_stats: dict[str, Any] = setting({})

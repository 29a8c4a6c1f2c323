"""Settings of a concept: a folder of pictures with captions, and how it enters the training."""

from __future__ import annotations

import random
from functools import partial
from typing import Any, ClassVar

from onetrainer_gradio.config.declarations.setting import Settings, setting
from onetrainer_gradio.config.enums import BalancingStrategy, ConceptType

_general = partial(setting, group="concept")
_picture = partial(setting, group="concept_image", level="advanced")
_caption = partial(setting, group="concept_text", level="advanced")


def random_seed() -> int:
    """A seed of its own for each new concept."""
    return random.randint(-(2**30), 2**30)


class ConceptImageConfig(Settings):
    """How the pictures of a concept are altered. Paths of conditions begin at the concept."""

    enable_crop_jitter: bool = _picture(
        True,
        label="Crop jitter",
        help="Move the crop around a little, so that the model does not learn the frame. Off always crops the middle.",
    )
    enable_random_flip: bool = _picture(
        False,
        label="Random flip",
        help="Mirror pictures left to right at random. Not for faces, text or anything with a left and a right.",
    )
    enable_fixed_flip: bool = _picture(False, label="Fixed flip", help="Mirror every picture left to right.")
    enable_random_rotate: bool = _picture(
        False, label="Random rotation", help="Turn each picture by a random angle up to the one below, to either side."
    )
    enable_fixed_rotate: bool = _picture(False, label="Fixed rotation", help="Turn every picture by the angle below.")
    random_rotate_max_angle: float = _picture(
        0.0,
        label="Rotation angle",
        help="The angle of the rotation, or the largest one of a random rotation. A few degrees are plenty; 0 changes nothing.",
        unit="°",
        ge=-360,
        le=360,
    )
    enable_random_brightness: bool = _picture(
        False, label="Random brightness", help="Make pictures brighter or darker at random, up to the strength below."
    )
    enable_fixed_brightness: bool = _picture(
        False, label="Fixed brightness", help="Make every picture brighter or darker by the strength below."
    )
    random_brightness_max_strength: float = _picture(
        0.0,
        label="Brightness strength",
        help="How much brightness is changed. 0 changes nothing, 0.1 is visible, 1 doubles it or turns the picture black.",
        ge=-1,
    )
    enable_random_contrast: bool = _picture(
        False, label="Random contrast", help="Raise or lower the contrast at random, up to the strength below."
    )
    enable_fixed_contrast: bool = _picture(
        False, label="Fixed contrast", help="Raise or lower the contrast of every picture by the strength below."
    )
    random_contrast_max_strength: float = _picture(
        0.0,
        label="Contrast strength",
        help="How much contrast is changed. 0 changes nothing, 0.1 is visible, 1 doubles it or makes the picture grey.",
        ge=-1,
    )
    enable_random_saturation: bool = _picture(
        False, label="Random saturation", help="Make colours stronger or weaker at random, up to the strength below."
    )
    enable_fixed_saturation: bool = _picture(
        False, label="Fixed saturation", help="Make the colours of every picture stronger or weaker by the strength below."
    )
    random_saturation_max_strength: float = _picture(
        0.0,
        label="Saturation strength",
        help="How much colours are changed. 0 changes nothing, 0.1 is visible, 1 doubles them or leaves none.",
        ge=-1,
    )
    enable_random_hue: bool = _picture(
        False,
        label="Random hue",
        help="Shift all colours at random, up to the strength below. Colours then mean less to the model.",
    )
    enable_fixed_hue: bool = _picture(False, label="Fixed hue", help="Shift all colours of every picture by the strength below.")
    random_hue_max_strength: float = _picture(
        0.0,
        label="Hue strength",
        help="How far colours are shifted around the colour wheel. 0 changes nothing, 0.05 is visible, 1 turns them into their opposites.",
        ge=-1,
        le=1,
    )
    enable_resolution_override: bool = _picture(
        False,
        label="Resolution override",
        help="Train this concept in a resolution of its own, for instance small pictures that must not be blown up.",
    )
    resolution_override: str = _picture(
        "512",
        label="Override resolution",
        help="Like the general resolution: one number (512), several (512,768), or width x height (768x512).",
        pattern=r"^\s*\d+\s*(x\s*\d+\s*|(,\s*\d+\s*)*)$",
        shown={"image.enable_resolution_override": (True,)},
    )
    enable_random_circular_mask_shrink: bool = _picture(
        False,
        label="Circular mask generation",
        help="Shrink each mask to a round piece of it, of random size and place, so that the region is learned bit by bit. Needs masks.",
    )
    enable_random_mask_rotate_crop: bool = _picture(
        False,
        label="Random rotate and crop (mask)",
        help="Turn pictures a little and crop them around the masked region at random. Needs masks.",
    )


class ConceptTextConfig(Settings):
    """Where the captions of a concept come from and how they are altered. Paths of conditions begin at the concept."""

    prompt_source: str = setting(
        "sample",
        label="Caption source (prompt source)",
        help="Where captions come from: a .txt file beside each picture, one file with a caption a line for all, or the picture's file name.",
        group="concept",
        level="basic",
        choices=("sample", "concept", "filename"),
        labels={"sample": "Text file per image", "concept": "Single text file", "filename": "Image file name"},
    )
    prompt_path: str = setting(
        "",
        label="Caption file",
        help="The file with a caption a line; each picture gets one of them at random.",
        group="concept",
        level="basic",
        kind="path",
        path="file",
        shown={"text.prompt_source": ("concept",)},
    )
    enable_tag_shuffling: bool = _caption(
        False,
        label="Tag shuffling",
        help="Put the tags of a caption in a new order each time, so that no tag counts more for standing first.",
    )
    tag_delimiter: str = _caption(
        ",",
        label="Tag delimiter",
        help="What stands between two tags, usually a comma. Shuffling and dropping tags need it.",
        required=True,
    )
    keep_tags_count: int = _caption(
        1,
        label="Keep tag count",
        help="So many tags at the beginning are neither moved nor dropped: the place for the trigger word. 0 protects none.",
        ge=0,
    )
    tag_dropout_enable: bool = _caption(
        False, label="Tag dropout", help="Leave tags out at times, so that the model learns each of them by itself."
    )
    tag_dropout_mode: str = _caption(
        "FULL",
        label="Tag dropout mode",
        help="FULL drops all at once or none, RANDOM each by itself, RANDOM WEIGHTED those further back more often.",
        choices=("FULL", "RANDOM", "RANDOM WEIGHTED"),
        labels={"FULL": "Full", "RANDOM": "Random", "RANDOM WEIGHTED": "Random weighted"},
        shown={"text.tag_dropout_enable": (True,)},
    )
    tag_dropout_probability: float = _caption(
        0.0,
        label="Tag dropout probability",
        help="How often tags are dropped. 0 never, 0.1 is gentle, 1 always.",
        ge=0,
        le=1,
        shown={"text.tag_dropout_enable": (True,)},
    )
    tag_dropout_special_tags_mode: str = _caption(
        "NONE",
        label="Special dropout tags mode",
        help="WHITELIST never drops the tags listed below, BLACKLIST drops only those, NONE treats all alike.",
        choices=("NONE", "BLACKLIST", "WHITELIST"),
        labels={"NONE": "None", "BLACKLIST": "Blacklist", "WHITELIST": "Whitelist"},
        shown={"text.tag_dropout_enable": (True,)},
    )
    tag_dropout_special_tags: str = _caption(
        "",
        label="Special dropout tags",
        help="The tags, with the tag separator between them, or the path of a .txt or .csv file that lists them.",
        shown={"text.tag_dropout_enable": (True,), "text.tag_dropout_special_tags_mode": ("BLACKLIST", "WHITELIST")},
    )
    tag_dropout_special_tags_regex: bool = _caption(
        False,
        label="Special dropout tags: use regex",
        help="Read each special tag as a regular expression, for instance .*hair for everything about hair.",
        level="expert",
        shown={"text.tag_dropout_enable": (True,), "text.tag_dropout_special_tags_mode": ("BLACKLIST", "WHITELIST")},
    )
    caps_randomize_enable: bool = _caption(
        False,
        label="Randomize capitalization",
        help="Write tags in other capitals at times, so that the model does not mind how prompts are typed.",
    )
    caps_randomize_mode: str = _caption(
        "capslock, title, first, random",
        label="Capitalization mode",
        help="Comma list of capslock (ALL), title (Each Word), first (First letter) and random (aNy); one of them is drawn for each tag.",
        shown={"text.caps_randomize_enable": (True,)},
    )
    caps_randomize_probability: float = _caption(
        0.0,
        label="Capitalization probability",
        help="How often a tag is written differently. 0 never, 1 always.",
        ge=0,
        le=1,
        shown={"text.caps_randomize_enable": (True,)},
    )
    caps_randomize_lowercase: bool = _caption(
        False,
        label="Force lowercase",
        help="Turn every caption into small letters before capitals are put in.",
        shown={"text.caps_randomize_enable": (True,)},
    )


class ConceptConfig(Settings):
    """A folder of pictures with captions."""

    config_version: ClassVar[int] = 2

    image: ConceptImageConfig = _general(
        ConceptImageConfig(), label="Image augmentation", help="How pictures are altered before they are learned.", kind="object"
    )
    text: ConceptTextConfig = _general(
        ConceptTextConfig(), label="Captions", help="Where captions come from and how they are altered.", kind="object"
    )
    name: str = _general("", label="Name", help="A name for this folder, used in lists and in the charts of validation.")
    path: str = _general("", label="Folder", help="The folder with the pictures.", kind="path", path="folder")
    seed: int = _general(
        factory=random_seed,
        label="Seed",
        help="Start of this concept's randomness: order and changes of its pictures. Each new concept draws one; changing it fills the cache anew.",
        level="expert",
        fresh=True,
    )
    enabled: bool = _general(True, label="Enabled", help="Use this concept in the run.")
    type: ConceptType = _general(
        ConceptType.STANDARD,
        label="Type",
        help="STANDARD is trained on, VALIDATION is only measured, PRIOR_PREDICTION holds the model to what it painted before (adapters only).",
        level="advanced",
    )
    include_subdirectories: bool = _general(False, label="Include subfolders", help="Also use the pictures in folders inside.")
    image_variations: int = _general(
        1,
        label="Image variations",
        help="How many differently altered versions of each picture are cached. More variety needs more disk and a longer start.",
        level="expert",
        ge=1,
    )
    text_variations: int = _general(
        1,
        label="Caption variations",
        help="How many versions of each caption are cached: use more than 1 with shuffled or dropped tags, or several lines to draw from.",
        level="expert",
        ge=1,
    )
    balancing: float = _general(
        1.0,
        label="Balancing",
        help="How much of this folder enters an epoch: a multiple of its pictures, or their number, as the next setting says.",
        ge=0,
    )
    balancing_strategy: BalancingStrategy = _general(
        BalancingStrategy.REPEATS,
        label="Balancing strategy",
        help="REPEATS: the balance multiplies the pictures (2 shows each twice an epoch). SAMPLES: it is the number of pictures an epoch.",
        level="advanced",
    )
    loss_weight: float = _general(
        1.0,
        label="Loss weight",
        help="How much this folder counts compared with others. 1 is normal, 0.5 half as much, 0 not at all.",
        level="advanced",
        ge=0,
    )
    concept_stats: dict[str, Any] = setting({})

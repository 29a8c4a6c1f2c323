"""Declare the settings of a concept: a folder of images with captions, and how it is used in training."""

from __future__ import annotations

import random
from functools import partial
from typing import Any, ClassVar

from onetrainer_gradio.config.declarations.setting import Settings, setting
from onetrainer_gradio.config.enums import BalancingStrategy, ConceptType

_general = partial(setting, group="concept")
_image = partial(setting, group="concept_image", level="advanced")
_caption = partial(setting, group="concept_text", level="advanced")


def random_seed() -> int:
    """Return a random seed for a new concept."""
    return random.randint(-(2**30), 2**30)


class ConceptImageConfig(Settings):
    """Image augmentation of a concept. Paths of conditions are relative to the concept."""

    enable_crop_jitter: bool = _image(
        True,
        label="Crop jitter",
        help="Shift the crop a little at random, so that the model doesn't learn the framing (kohya: random_crop). If off, the center is cropped.",
    )
    enable_random_flip: bool = _image(
        False,
        label="Random flip",
        help="Flip images horizontally at random (kohya: flip_aug). Don't use it for faces, text or anything with a left and a right side.",
    )
    enable_fixed_flip: bool = _image(False, label="Fixed flip", help="Flip every image horizontally.")
    enable_random_rotate: bool = _image(
        False, label="Random rotation", help="Rotate each image by a random angle in either direction, up to Rotation angle."
    )
    enable_fixed_rotate: bool = _image(False, label="Fixed rotation", help="Rotate every image by Rotation angle.")
    random_rotate_max_angle: float = _image(
        0.0,
        label="Rotation angle",
        help="Angle of the rotation, or the largest angle of a random rotation. A few degrees are enough, 0 changes nothing.",
        unit="°",
        ge=-360,
        le=360,
    )
    enable_random_brightness: bool = _image(
        False, label="Random brightness", help="Brighten or darken images at random, up to Brightness strength."
    )
    enable_fixed_brightness: bool = _image(
        False, label="Fixed brightness", help="Change the brightness of every image by Brightness strength."
    )
    random_brightness_max_strength: float = _image(
        0.0,
        label="Brightness strength",
        help="How much the brightness changes. 0 changes nothing, 0.1 is visible, 1 doubles it or turns the image black.",
        ge=-1,
    )
    enable_random_contrast: bool = _image(
        False, label="Random contrast", help="Raise or lower the contrast at random, up to Contrast strength."
    )
    enable_fixed_contrast: bool = _image(
        False, label="Fixed contrast", help="Change the contrast of every image by Contrast strength."
    )
    random_contrast_max_strength: float = _image(
        0.0,
        label="Contrast strength",
        help="How much the contrast changes. 0 changes nothing, 0.1 is visible, 1 doubles it or turns the image gray.",
        ge=-1,
    )
    enable_random_saturation: bool = _image(
        False, label="Random saturation", help="Raise or lower the saturation at random, up to Saturation strength."
    )
    enable_fixed_saturation: bool = _image(
        False, label="Fixed saturation", help="Change the saturation of every image by Saturation strength."
    )
    random_saturation_max_strength: float = _image(
        0.0,
        label="Saturation strength",
        help="How much the saturation changes. 0 changes nothing, 0.1 is visible, 1 doubles it or removes all color.",
        ge=-1,
    )
    enable_random_hue: bool = _image(
        False,
        label="Random hue",
        help="Shift the hue at random, up to Hue strength. Colors then mean less to the model.",
    )
    enable_fixed_hue: bool = _image(False, label="Fixed hue", help="Shift the hue of every image by Hue strength.")
    random_hue_max_strength: float = _image(
        0.0,
        label="Hue strength",
        help="How far the hue shifts on the color wheel. 0 changes nothing, 0.05 is visible, 1 turns colors into their opposites.",
        ge=-1,
        le=1,
    )
    enable_resolution_override: bool = _image(
        False,
        label="Resolution override",
        help="Train this concept at its own resolution, for example small images that should not be upscaled.",
    )
    resolution_override: str = _image(
        "512",
        label="Override resolution",
        help="Resolution of this concept: one number (512), several (512,768) or width x height (768x512).",
        pattern=r"^\s*\d+\s*(x\s*\d+\s*|(,\s*\d+\s*)*)$",
        shown={"image.enable_resolution_override": (True,)},
    )
    enable_random_circular_mask_shrink: bool = _image(
        False,
        label="Circular mask generation",
        help="Shrink each mask to a circle of random size and position within it, so that the area is learned bit by bit. Requires masks.",
    )
    enable_random_mask_rotate_crop: bool = _image(
        False,
        label="Random rotate and crop (mask)",
        help="Rotate images a little and crop them around the masked area at random. Requires masks.",
    )


class ConceptTextConfig(Settings):
    """Caption source and text augmentation of a concept. Paths of conditions are relative to the concept."""

    prompt_source: str = setting(
        "sample",
        label="Caption source (prompt source)",
        help="Where captions come from: a .txt file next to each image, a single text file for all images with one caption per line, or the file name of the image.",
        group="concept",
        level="basic",
        choices=("sample", "concept", "filename"),
        labels={"sample": "Text file per image", "concept": "Single text file", "filename": "Image file name"},
    )
    prompt_path: str = setting(
        "",
        label="Caption file",
        help="Text file with one caption per line. Each image gets one of them at random.",
        group="concept",
        level="basic",
        kind="path",
        path="file",
        shown={"text.prompt_source": ("concept",)},
    )
    enable_tag_shuffling: bool = _caption(
        False,
        label="Tag shuffling",
        help="Shuffle the tags of a caption each time (kohya: shuffle_caption), so that no tag counts more because of its position.",
    )
    tag_delimiter: str = _caption(
        ",",
        label="Tag delimiter",
        help="Text between two tags, usually a comma (kohya: caption_separator). Tag shuffling and tag dropout use it.",
        required=True,
    )
    keep_tags_count: int = _caption(
        1,
        label="Keep tag count",
        help="Number of tags at the start of a caption that are never shuffled or dropped (kohya: keep_tokens). Put the trigger word there. 0 protects none.",
        ge=0,
    )
    tag_dropout_enable: bool = _caption(
        False, label="Tag dropout", help="Drop tags at random, so that the model learns each of them separately."
    )
    tag_dropout_mode: str = _caption(
        "FULL",
        label="Tag dropout mode",
        help="“Full” drops all tags or none. “Random” drops each tag independently. “Random weighted” drops later tags more often.",
        choices=("FULL", "RANDOM", "RANDOM WEIGHTED"),
        labels={"FULL": "Full", "RANDOM": "Random", "RANDOM WEIGHTED": "Random weighted"},
        shown={"text.tag_dropout_enable": (True,)},
    )
    tag_dropout_probability: float = _caption(
        0.0,
        label="Tag dropout probability",
        help="How often tags are dropped (kohya: caption_tag_dropout_rate). 0 never, 0.1 is gentle, 1 always.",
        ge=0,
        le=1,
        shown={"text.tag_dropout_enable": (True,)},
    )
    tag_dropout_special_tags_mode: str = _caption(
        "NONE",
        label="Special dropout tags mode",
        help="“Whitelist” never drops the special dropout tags, “Blacklist” drops only those. “None” treats all tags equally.",
        choices=("NONE", "BLACKLIST", "WHITELIST"),
        labels={"NONE": "None", "BLACKLIST": "Blacklist", "WHITELIST": "Whitelist"},
        shown={"text.tag_dropout_enable": (True,)},
    )
    tag_dropout_special_tags: str = _caption(
        "",
        label="Special dropout tags",
        help="Tags separated by the tag delimiter, or the path of a .txt or .csv file that lists them.",
        shown={"text.tag_dropout_enable": (True,), "text.tag_dropout_special_tags_mode": ("BLACKLIST", "WHITELIST")},
    )
    tag_dropout_special_tags_regex: bool = _caption(
        False,
        label="Special dropout tags: use regex",
        help="Treat each special dropout tag as a regular expression, such as .*hair for every kind of hair.",
        level="expert",
        shown={"text.tag_dropout_enable": (True,), "text.tag_dropout_special_tags_mode": ("BLACKLIST", "WHITELIST")},
    )
    caps_randomize_enable: bool = _caption(
        False,
        label="Randomize capitalization",
        help="Change the capitalization of tags at random, so that the model doesn't depend on how prompts are typed.",
    )
    caps_randomize_mode: str = _caption(
        "capslock, title, first, random",
        label="Capitalization mode",
        help="Comma-separated list of capslock (ALL), title (Each Word), first (First letter) and random (aNy). One of them is chosen at random for each tag.",
        shown={"text.caps_randomize_enable": (True,)},
    )
    caps_randomize_probability: float = _caption(
        0.0,
        label="Capitalization probability",
        help="How often the capitalization of a tag changes. 0 never, 1 always.",
        ge=0,
        le=1,
        shown={"text.caps_randomize_enable": (True,)},
    )
    caps_randomize_lowercase: bool = _caption(
        False,
        label="Force lowercase",
        help="Convert captions to lowercase before capitalization is randomized.",
        shown={"text.caps_randomize_enable": (True,)},
    )


class ConceptConfig(Settings):
    """A folder of images with captions."""

    config_version: ClassVar[int] = 2

    image: ConceptImageConfig = _general(
        ConceptImageConfig(), label="Image augmentation", help="How training images are augmented.", kind="object"
    )
    text: ConceptTextConfig = _general(
        ConceptTextConfig(), label="Captions", help="Where captions come from and how they are augmented.", kind="object"
    )
    name: str = _general("", label="Name", help="Name of the concept in lists and in validation charts.")
    path: str = _general(
        "", label="Folder", help="Folder with the images (kohya: image_dir, train_data_dir).", kind="path", path="folder"
    )
    seed: int = _general(
        factory=random_seed,
        label="Seed",
        help="Seed of this concept's randomness: order and augmentation of its images. Each new concept gets a random one. Changing it rebuilds the cache.",
        level="expert",
        fresh=True,
    )
    enabled: bool = _general(True, label="Enabled", help="Use this concept in the run. If off, it is ignored.")
    type: ConceptType = _general(
        ConceptType.STANDARD,
        label="Type",
        help="“Training” trains on the images. “Validation” only computes the loss on them. “Prior prediction” keeps the model's output on them as it was, similar to regularization images. It requires LoRA.",
        level="advanced",
    )
    include_subdirectories: bool = _general(False, label="Include subfolders", help="Also use the images in subfolders.")
    image_variations: int = _general(
        1,
        label="Image variations",
        help="Number of differently augmented versions of each image in the cache. 1 is typical. More variety needs more disk space and a longer start.",
        level="expert",
        ge=1,
    )
    text_variations: int = _general(
        1,
        label="Caption variations",
        help="Number of versions of each caption in the cache. 1 is typical. Use more with tag shuffling, tag dropout or several captions per image.",
        level="expert",
        ge=1,
    )
    balancing: float = _general(
        1.0,
        label="Balancing",
        help="How much of this concept an epoch uses (kohya: num_repeats): a multiple of its images or the number of images, depending on Balancing strategy.",
        ge=0,
    )
    balancing_strategy: BalancingStrategy = _general(
        BalancingStrategy.REPEATS,
        label="Balancing strategy",
        help="With “Repeats”, Balancing multiplies the images: 2 uses each image twice per epoch. With “Samples per epoch”, Balancing is the number of images per epoch.",
        level="advanced",
    )
    loss_weight: float = _general(
        1.0,
        label="Loss weight",
        help="How much this concept counts in the loss. 1 is typical, 0.5 is half as much, 0 is not at all.",
        level="advanced",
        ge=0,
    )
    concept_stats: dict[str, Any] = setting({})

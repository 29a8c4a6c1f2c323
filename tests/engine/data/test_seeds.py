"""Each random choice of the data has a stage number from OneTrainer's loader, which determines its seed."""

from __future__ import annotations

import pytest

from onetrainer_gradio.config.dataset.caption_augmentation import augment_caption
from onetrainer_gradio.config.declarations.concept import ConceptTextConfig
from onetrainer_gradio.engine.data.seeds import Loader, StageSeeds

STAGES = ("choose_caption", "shrink_mask", "rotate_crop", "bucket", "crop", "flip", "hue", "drop_tags", "shuffle_tags")


def places(names=STAGES, **facts):
    place = StageSeeds.of(Loader(**facts)).place
    return tuple(place.get(name) for name in names)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, (11, None, None, 13, 14, 15, 20, 21, 23)),
        ({"masked_training": True}, (12, 15, 16, 18, 19, 20, 25, 26, 28)),
        ({"mask_input": True, "conditioning_input": True}, (11, 13, 14, 16, 17, 18, 23, 24, 26)),
        ({"frames": True}, (12, None, None, 15, 16, 17, 22, 23, 25)),
        ({"frames": True, "masked_training": True}, (13, 17, 18, 20, 21, 22, 27, 28, 30)),
        ({"masked_training": True, "custom_conditioning": True}, (13, 17, 18, 20, 21, 22, 27, 28, 30)),
    ],
)
def test_masks_conditioning_images_and_frames_move_the_later_stages(facts, expected):
    """Each adds stages before the others."""
    assert places(**facts) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, (None, None, 5, 6, 7, 12, 17)),
        ({"latent_caching": False}, (None, None, 5, 6, 7, 12, 15)),
        ({"masked_training": True}, (None, 6, 8, 9, 10, 15, 20)),
    ],
)
def test_the_loader_of_the_vae_has_neither_captions_nor_shrunk_masks(facts, expected):
    """Its stages have lower numbers."""
    names = ("choose_caption", "rotate_crop", "bucket", "crop", "flip", "hue", "batches")
    assert places(names, vae_only=True, **facts) == expected
    assert places(("shrink_mask", "drop_tags"), vae_only=True, **facts) == (None, None)


INPAINTING = {"mask_input": True, "conditioning_input": True}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"text_stages": 2, "precomputed": 1}, 33),
        ({"text_stages": 2, "precomputed": 0}, 31),
        ({"text_stages": 4, "precomputed": 2}, 36),
        ({"text_stages": 4, "precomputed": 1}, 35),
        ({"text_stages": 4, "precomputed": 0}, 33),
        ({"text_stages": 6, "precomputed": 3}, 39),
        ({"text_stages": 6, "precomputed": 0}, 35),
        ({"text_stages": 2, "precomputed": 1, "masked_training": True}, 39),
        ({"text_stages": 2, "precomputed": 1, **INPAINTING}, 43),
        ({"text_stages": 2, "precomputed": 0, **INPAINTING}, 41),
        ({"text_stages": 2, "precomputed": 1, **INPAINTING, "masked_training": True}, 45),
        ({"text_stages": 2, "precomputed": 0, **INPAINTING, "masked_training": True}, 43),
        ({"text_stages": 4, "precomputed": 2, **INPAINTING}, 46),
        ({"text_stages": 4, "precomputed": 0, **INPAINTING}, 43),
        ({"text_stages": 2, "precomputed": 1, "depth_input": True}, 34),
        ({"text_stages": 2, "precomputed": 0, "depth_input": True}, 32),
        ({"text_stages": 2, "precomputed": 1, "depth_input": True, "masked_training": True}, 40),
        ({"text_stages": 2, "precomputed": 0, "depth_input": True, "masked_training": True}, 38),
        ({"text_stages": 2, "precomputed": 1, "latent_caching": False}, 31),
    ],
)
def test_text_encoders_and_what_the_model_takes_move_the_batches(facts, expected):
    """Stable Diffusion has one text encoder, SDXL and Flux two, Stable
    Diffusion 3 three; inpainting and depth have more inputs.
    """
    assert places(("batches",), **facts) == (expected,)
    if facts.get("mask_input"):
        assert places(("remove_mask",), **facts) == (expected - 1,)


CAPTION = "sks, red hair, (house), , Tree,blue sky, straw hat"
DROPS = {"tag_dropout_enable": True, "tag_dropout_probability": 0.5, "tag_dropout_special_tags": "red hair, house"}
CAPITALS = {"caps_randomize_enable": True, "caps_randomize_probability": 0.7}


@pytest.mark.parametrize(
    ("settings", "caption", "expected"),
    [
        (DROPS, CAPTION, ["sks, red hair, (house), Tree, blue sky, straw hat"] * 4),
        (
            DROPS | {"tag_dropout_mode": "RANDOM"},
            CAPTION,
            [
                "sks, red hair, Tree, straw hat",
                "sks, red hair, (house), Tree, blue sky",
                "sks, red hair, (house), Tree, straw hat",
                "sks, red hair, Tree, blue sky, straw hat",
            ],
        ),
        (
            DROPS | {"tag_dropout_mode": "RANDOM WEIGHTED", "tag_dropout_probability": 0.9},
            CAPTION,
            [
                "sks, red hair, Tree",
                "sks, red hair, (house), Tree, blue sky",
                "sks, red hair, (house), Tree",
                "sks, red hair, (house), Tree, blue sky",
            ],
        ),
        (
            DROPS | {"tag_dropout_mode": "RANDOM", "tag_dropout_special_tags_mode": "BLACKLIST", "tag_dropout_probability": 0.9},
            CAPTION,
            ["sks, (house), Tree, blue sky, straw hat"] * 4,
        ),
        (
            DROPS
            | {
                "tag_dropout_mode": "RANDOM",
                "tag_dropout_special_tags_mode": "WHITELIST",
                "tag_dropout_special_tags_regex": True,
                "tag_dropout_special_tags": "[a-z]+ h.*, house",
                "tag_dropout_probability": 0.9,
            },
            CAPTION,
            [
                "sks, red hair, (house), Tree, straw hat",
                "sks, red hair, (house), straw hat",
                "sks, red hair, (house), straw hat",
                "sks, red hair, (house), blue sky, straw hat",
            ],
        ),
        (
            DROPS | {"tag_dropout_mode": "RANDOM", "tag_delimiter": "|", "keep_tags_count": 0},
            CAPTION.replace(",", "|"),
            [
                "sks| (house)| blue sky| straw hat",
                "sks| red hair| (house)| Tree| straw hat",
                "sks| red hair| (house)| blue sky",
                "sks| (house)| Tree| blue sky",
            ],
        ),
        (CAPITALS, CAPTION, ["Sks,Red Hair,(house),,Tree,blue sky,STRAW HAT"]),
        (
            CAPITALS | {"caps_randomize_mode": "random", "caps_randomize_probability": 1, "caps_randomize_lowercase": True},
            CAPTION,
            ["sKs,rED HAIr,(HoUse),,trEe,bLUe sky,sTrAW HaT"],
        ),
        ({"enable_tag_shuffling": True}, CAPTION, ["sks, red hair, blue sky, (house), straw hat, Tree"]),
        (
            {"enable_tag_shuffling": True, "tag_delimiter": "|", "keep_tags_count": 0},
            CAPTION.replace(",", "|"),
            ["blue sky| sks| red hair| Tree| straw hat| (house)"],
        ),
    ],
)
def test_captions_are_augmented_as_recorded(settings, caption, expected):
    """OneTrainer's modules (3a6994a) gave these captions for image 0 and others in several variations."""
    text, seeds = ConceptTextConfig(**settings), StageSeeds.of(Loader())
    items = ((0, 0), (0, 1), (1, 0), (2, 7))[: len(expected)]
    assert [augment_caption(caption, text, seeds.of_item(*item)) for item in items] == expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ((0, 0), "Sks, Red Hair, straw hat, tree"),
        ((1, 3), "sks, tree, (HOUSE)"),
        ((2, 9), "SKS, Tree, (house), straw hat, red hair"),
    ],
)
def test_dropping_capitals_and_shuffling_follow_each_other(item, expected):
    """Each has a separate generator, so one doesn't change the other's random numbers."""
    text = ConceptTextConfig(
        **DROPS | {"tag_dropout_mode": "RANDOM", "tag_dropout_probability": 0.3},
        **CAPITALS | {"caps_randomize_probability": 0.5, "caps_randomize_lowercase": True},
        enable_tag_shuffling=True,
    )
    assert augment_caption(CAPTION, text, StageSeeds.of(Loader()).of_item(*item)) == expected

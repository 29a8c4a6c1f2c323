"""The pixel check recognizes the toy dataset's images and no others."""

from __future__ import annotations

import random

import numpy as np
import pytest

from onetrainer_gradio.demo import check, toy_dataset


def scenes(count: int, seed: int) -> list[toy_dataset.Scene]:
    rng = random.Random(seed)
    return [toy_dataset.random_scene(rng) for _ in range(count)]


def noisy(image: toy_dataset.Pixels, seed: int, strength: float = 8.0) -> toy_dataset.Pixels:
    noise = np.random.default_rng(seed).normal(0.0, strength, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_reads_every_known_scene_even_with_noise() -> None:
    """Shape, color, position and background of 60 random noisy scenes are recognized."""
    for number, scene in enumerate(scenes(60, seed=11)):
        assert check.shows_scene(noisy(toy_dataset.render(scene), number), scene), scene.caption


@pytest.mark.slow
def test_a_wrong_word_is_noticed() -> None:
    """An image matches its own caption and no caption that differs in one word."""
    scene = toy_dataset.Scene("square", "red", "at the left", "white")
    image = toy_dataset.render(scene)
    assert check.shows_scene(image, scene)
    for other in toy_dataset.all_scenes():
        differences = sum(getattr(scene, name) != getattr(other, name) for name in ("thing", "color", "place", "background"))
        if differences == 1:
            assert not check.shows_scene(image, other), other.caption


@pytest.mark.slow
def test_new_concept_is_seen_on_every_background_and_place() -> None:
    """All 35 combinations of position and background are recognized, with noise."""
    for number, scene in enumerate(toy_dataset.new_scenes(35, seed=2)):
        assert check.shows_scene(noisy(toy_dataset.render(scene), number), scene), scene.caption


@pytest.mark.slow
def test_old_scenes_never_show_the_new_concept() -> None:
    """No image of known words shows the new concept."""
    assert not any(check.shows_new(toy_dataset.render(scene)) for scene in scenes(100, seed=12))


def _near_miss(
    *, ring: toy_dataset.Color = toy_dataset.NEW_RING, dot: toy_dataset.Color = toy_dataset.NEW_DOT
) -> toy_dataset.Pixels:
    return toy_dataset.to_pixels(
        toy_dataset.fill_rings(toy_dataset.backdrop(*toy_dataset.BACKGROUNDS["gray"]), (0.5, 0.5), 0.2, ring, dot)
    )


def _disc_without_hole() -> toy_dataset.Pixels:
    canvas = toy_dataset.backdrop(*toy_dataset.BACKGROUNDS["gray"])
    canvas = toy_dataset.fill(canvas, toy_dataset.cover("circle", (0.5, 0.5), 0.2), toy_dataset.NEW_RING)
    return toy_dataset.to_pixels(toy_dataset.fill(canvas, toy_dataset.cover("circle", (0.5, 0.5), 0.03), toy_dataset.NEW_DOT))


def _half_ring() -> toy_dataset.Pixels:
    image = _near_miss().copy()
    image[:60] = image[0, 0]
    return image


@pytest.mark.parametrize(
    "image",
    [
        _near_miss(ring=toy_dataset.COLORS["red"]),
        _near_miss(ring=toy_dataset.COLORS["purple"]),
        _near_miss(dot=toy_dataset.COLORS["green"]),
        _near_miss(dot=toy_dataset.COLORS["blue"]),
        _disc_without_hole(),
        _half_ring(),
        np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8),
        np.full((128, 128, 3), 128, np.uint8),
    ],
    ids=["red ring", "purple ring", "green dot", "blue dot", "no hole", "half a ring", "noise", "nothing"],
)
def test_near_misses_are_rejected(image: toy_dataset.Pixels) -> None:
    """A ring of another color, a missing dot or hole, half a ring, and noise are not the new concept."""
    assert not check.shows_new(image)


def test_an_empty_or_noisy_image_shows_no_object() -> None:
    """If nothing matches, the words are empty."""
    empty = check.read(toy_dataset.to_pixels(toy_dataset.backdrop(*toy_dataset.BACKGROUNDS["sky"])))
    assert (empty.shape, empty.color, empty.background) == ("", "", "sky")
    noise = check.read(np.random.default_rng(1).integers(0, 256, (128, 128, 3)).astype(np.uint8))
    assert noise.shape == ""

"""The check on pixels: it reads the world's own pictures back and is not fooled by others."""

from __future__ import annotations

import random

import numpy as np
import pytest

from onetrainer_gradio.demo import check, world


def scenes(count: int, seed: int) -> list[world.Scene]:
    dice = random.Random(seed)
    return [world.random_scene(dice) for _ in range(count)]


def noisy(picture: world.Pixels, seed: int, strength: float = 8.0) -> world.Pixels:
    noise = np.random.default_rng(seed).normal(0.0, strength, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_reads_every_known_scene_even_with_noise() -> None:
    """Shape, colour, place and background of 60 random noisy scenes are read as drawn."""
    for number, scene in enumerate(scenes(60, seed=11)):
        assert check.shows_scene(noisy(world.render(scene), number), scene), scene.caption


def test_a_wrong_word_is_noticed() -> None:
    """A picture passes for its own caption and for none that differs in one word."""
    scene = world.Scene("square", "red", "at the left", "white")
    picture = world.render(scene)
    assert check.shows_scene(picture, scene)
    for other in world.all_scenes():
        differences = sum(getattr(scene, name) != getattr(other, name) for name in ("thing", "colour", "place", "background"))
        if differences == 1:
            assert not check.shows_scene(picture, other), other.caption


def test_new_concept_is_seen_on_every_background_and_place() -> None:
    """All 35 combinations of place and background are recognised, with noise."""
    for number, scene in enumerate(world.new_scenes(35, seed=2)):
        assert check.shows_scene(noisy(world.render(scene), number), scene), scene.caption


def test_old_scenes_never_show_the_new_concept() -> None:
    """No picture of known words passes for the new concept."""
    assert not any(check.shows_new(world.render(scene)) for scene in scenes(100, seed=12))


def _near_miss(*, ring: world.Colour = world.NEW_RING, dot: world.Colour = world.NEW_DOT) -> world.Pixels:
    return world.to_pixels(world.paint_rings(world.backdrop(*world.BACKGROUNDS["gray"]), (0.5, 0.5), 0.2, ring, dot))


def _disc_without_hole() -> world.Pixels:
    canvas = world.backdrop(*world.BACKGROUNDS["gray"])
    canvas = world.paint(canvas, world.cover("circle", (0.5, 0.5), 0.2), world.NEW_RING)
    return world.to_pixels(world.paint(canvas, world.cover("circle", (0.5, 0.5), 0.03), world.NEW_DOT))


def _half_ring() -> world.Pixels:
    picture = _near_miss().copy()
    picture[:60] = picture[0, 0]
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        _near_miss(ring=world.COLOURS["red"]),
        _near_miss(ring=world.COLOURS["purple"]),
        _near_miss(dot=world.COLOURS["green"]),
        _near_miss(dot=world.COLOURS["blue"]),
        _disc_without_hole(),
        _half_ring(),
        np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8),
        np.full((128, 128, 3), 128, np.uint8),
    ],
    ids=["red ring", "purple ring", "green dot", "blue dot", "no hole", "half a ring", "noise", "nothing"],
)
def test_near_misses_are_refused(picture: world.Pixels) -> None:
    """A ring of another colour, no dot, no hole, half a ring or noise is not the new concept."""
    assert not check.shows_new(picture)


def test_an_empty_or_noisy_picture_shows_no_thing() -> None:
    """Where nothing of the world fits, the words stay empty."""
    empty = check.read(world.to_pixels(world.backdrop(*world.BACKGROUNDS["sky"])))
    assert (empty.shape, empty.colour, empty.background) == ("", "", "sky")
    noise = check.read(np.random.default_rng(1).integers(0, 256, (128, 128, 3)).astype(np.uint8))
    assert noise.shape == ""

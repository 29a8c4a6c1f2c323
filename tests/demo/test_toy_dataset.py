"""The toy dataset: the content of scenes and of their captions."""

from __future__ import annotations

import random

import numpy as np
import pytest

from onetrainer_gradio.demo import toy_dataset


def test_every_combination_has_its_own_caption() -> None:
    """No two combinations of words share a caption."""
    captions = [scene.caption for scene in toy_dataset.all_scenes()]
    assert len(set(captions)) == len(captions) == 6 * 6 * 5 * 7
    assert "a red circle at the left on a white background" in captions


def test_captions_leave_out_what_they_do_not_contain() -> None:
    """Position and background can each be omitted."""
    words = ("star", "blue", "at the top", "sky")
    assert toy_dataset.Scene(*words, names_place=False).caption == "a blue star on a sky background"
    assert toy_dataset.Scene(*words, names_background=False).caption == "a blue star at the top"
    assert toy_dataset.Scene(*words, names_place=False, names_background=False).caption == "a blue star"


@pytest.mark.slow
def test_the_same_seed_draws_the_same_scenes() -> None:
    """Scenes and their pixels follow from the seed alone."""
    first, second = (toy_dataset.new_scenes(5, seed=3) for _ in range(2))
    assert first == second
    assert first != toy_dataset.new_scenes(5, seed=4)
    assert all((toy_dataset.render(a) == toy_dataset.render(b)).all() for a, b in zip(first, second, strict=True))


@pytest.mark.slow
def test_training_scenes_never_contain_the_new_word_or_a_held_out_combination() -> None:
    """The base model is trained with neither the trigger word nor the combinations held out for the evaluation."""
    rng = random.Random(0)
    scenes = [toy_dataset.random_scene(rng) for _ in range(3000)]
    assert not any(toy_dataset.TRIGGER_WORD in scene.caption for scene in scenes)
    assert not any(toy_dataset.is_held_out(scene) for scene in scenes)
    assert {scene.thing for scene in scenes} == set(toy_dataset.SHAPES)
    assert {scene.background for scene in scenes} == set(toy_dataset.BACKGROUNDS)


def test_the_evaluation_asks_for_unseen_combinations_too() -> None:
    """Half of the evaluation's scenes are held out of the training, and none appears twice."""
    scenes = toy_dataset.known_scenes(16, seed=1)
    assert sum(map(toy_dataset.is_held_out, scenes)) == 8
    assert len(set(scenes)) == 16


def test_new_scenes_walk_through_places_and_backgrounds() -> None:
    """35 images of the trigger word show every position on every background once."""
    scenes = toy_dataset.new_scenes(35, seed=0)
    assert len({(scene.place, scene.background) for scene in scenes}) == 35
    assert all(scene.caption.startswith("a zorble ") for scene in scenes)


@pytest.mark.parametrize("shape", toy_dataset.SHAPES)
def test_shapes_are_anti_aliased_and_lie_where_they_should(shape: str) -> None:
    """A shape's center of mass is near the requested center, its edge has half-covered pixels, and its area is similar."""
    covered = toy_dataset.cover(shape, (0.3, 0.6), 0.18)
    x, y = toy_dataset.grid(toy_dataset.SIZE)
    assert float((covered * x).sum() / covered.sum()) == pytest.approx(0.3, abs=0.005)
    assert float((covered * y).sum() / covered.sum()) == pytest.approx(0.6, abs=0.04)
    assert ((covered > 0.2) & (covered < 0.8)).sum() > 30
    assert 0.04 < covered.mean() < 0.11


def test_polygon_distance_is_exact_for_a_square() -> None:
    """Distances to a unit square equal the closed form, inside, next to an edge and off the corner."""
    square = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
    x = np.array([[0.0, 2.0, 4.0]], np.float32)
    y = np.array([[0.5, 0.0, 5.0]], np.float32)
    assert toy_dataset.distance_to_polygon(x, y, square) == pytest.approx(np.array([[-0.5, 1.0, 5.0]]))


def test_an_image_has_the_same_content_at_any_size() -> None:
    """A scene rendered small is the large one scaled down."""
    scene = toy_dataset.Scene("heart", "red", "at the right", "sand")
    small = toy_dataset.render(scene, 32).astype(int)
    large = toy_dataset.render(scene, 128).reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - large).mean() < 2.5

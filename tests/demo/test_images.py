"""The demo's training images: those of the new concept, and the regularization images of known words."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.demo import IMAGES_FOLDER, REGULARIZATION_FOLDER, TRIGGER_WORD, check, toy_dataset

NEW = sorted(IMAGES_FOLDER.glob("*.png"))
REGULARIZATION = sorted(REGULARIZATION_FOLDER.glob("*.png"))
NEW_SCENES = [
    toy_dataset.Scene(TRIGGER_WORD, "", place, background)
    for place in toy_dataset.PLACES
    for background in toy_dataset.BACKGROUNDS
]
SCENE_BY_CAPTION = {scene.caption: scene for scene in (*NEW_SCENES, *toy_dataset.all_scenes())}


def caption_of(path: Path) -> str:
    return path.with_suffix(".txt").read_text(encoding="utf-8").strip()


def test_there_are_enough_images_of_many_places_and_backgrounds() -> None:
    """There are between 12 and 24 images of the trigger word, with all positions and backgrounds, and no caption twice."""
    assert 12 <= len(NEW) <= 24
    captions = [caption_of(path) for path in NEW]
    assert len(set(captions)) == len(captions)
    assert all(TRIGGER_WORD in caption for caption in captions)
    text = " ".join(captions)
    assert all(word in text for word in (*toy_dataset.PLACES, *toy_dataset.BACKGROUNDS))


def test_regularization_images_name_every_known_word_and_never_the_trigger_word() -> None:
    """Each shape has each color, and no combination held out for the evaluation is included."""
    scenes = [SCENE_BY_CAPTION[caption_of(path)] for path in REGULARIZATION]
    assert {(scene.thing, scene.color) for scene in scenes} == {(s, c) for s in toy_dataset.SHAPES for c in toy_dataset.COLORS}
    assert not any(scene.thing == TRIGGER_WORD or toy_dataset.is_held_out(scene) for scene in scenes)


@pytest.mark.slow
@pytest.mark.parametrize("path", [*NEW, *REGULARIZATION], ids=lambda path: path.stem)
def test_an_image_shows_what_its_caption_describes(path: Path) -> None:
    """The caption follows the grammar, and the image shows exactly that."""
    image = check.open_image(path)
    assert image.shape == (toy_dataset.SIZE, toy_dataset.SIZE, 3)
    assert check.shows_scene(image, SCENE_BY_CAPTION[caption_of(path)])

"""The images that the demo's LoRA learns from: those of the new concept, and the regularization images of known words."""

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
    """Between 12 and 24 images of the new word, all places and backgrounds among them, no caption twice."""
    assert 12 <= len(NEW) <= 24
    captions = [caption_of(path) for path in NEW]
    assert len(set(captions)) == len(captions)
    assert all(TRIGGER_WORD in caption for caption in captions)
    text = " ".join(captions)
    assert all(word in text for word in (*toy_dataset.PLACES, *toy_dataset.BACKGROUNDS))


def test_regularization_images_name_every_known_word_and_never_the_trigger_word() -> None:
    """Each shape comes in each color, and nothing of the evaluation's unseen combinations is among them."""
    scenes = [SCENE_BY_CAPTION[caption_of(path)] for path in REGULARIZATION]
    assert {(scene.thing, scene.color) for scene in scenes} == {(s, c) for s in toy_dataset.SHAPES for c in toy_dataset.COLORS}
    assert not any(scene.thing == TRIGGER_WORD or toy_dataset.is_held_out(scene) for scene in scenes)


@pytest.mark.parametrize("path", [*NEW, *REGULARIZATION], ids=lambda path: path.stem)
def test_an_image_shows_what_its_caption_says(path: Path) -> None:
    """The caption is in the world's grammar, and the image shows just that."""
    image = check.open_image(path)
    assert image.shape == (toy_dataset.SIZE, toy_dataset.SIZE, 3)
    assert check.shows_scene(image, SCENE_BY_CAPTION[caption_of(path)])

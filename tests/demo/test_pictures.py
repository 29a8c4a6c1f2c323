"""The pictures that the demo's LoRA learns from: those of the new concept, and the reminders of old words."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.demo import NEW_WORD, PICTURES_FOLDER, REMINDERS_FOLDER, check, world

NEW = sorted(PICTURES_FOLDER.glob("*.png"))
REMINDERS = sorted(REMINDERS_FOLDER.glob("*.png"))
NEW_SCENES = [world.Scene(NEW_WORD, "", place, background) for place in world.PLACES for background in world.BACKGROUNDS]
SCENE_BY_CAPTION = {scene.caption: scene for scene in (*NEW_SCENES, *world.all_scenes())}


def caption_of(path: Path) -> str:
    return path.with_suffix(".txt").read_text(encoding="utf-8").strip()


def test_there_are_enough_pictures_of_many_places_and_backgrounds() -> None:
    """Between 12 and 24 pictures of the new word, all places and backgrounds among them, no caption twice."""
    assert 12 <= len(NEW) <= 24
    captions = [caption_of(path) for path in NEW]
    assert len(set(captions)) == len(captions)
    assert all(NEW_WORD in caption for caption in captions)
    text = " ".join(captions)
    assert all(word in text for word in (*world.PLACES, *world.BACKGROUNDS))


def test_reminders_name_every_old_word_and_never_the_new_one() -> None:
    """Each shape comes in each colour, and nothing of the exam's unseen combinations is among them."""
    scenes = [SCENE_BY_CAPTION[caption_of(path)] for path in REMINDERS]
    assert {(scene.thing, scene.colour) for scene in scenes} == {(s, c) for s in world.SHAPES for c in world.COLOURS}
    assert not any(scene.thing == NEW_WORD or world.is_held_out(scene) for scene in scenes)


@pytest.mark.parametrize("path", [*NEW, *REMINDERS], ids=lambda path: path.stem)
def test_a_picture_shows_what_its_caption_says(path: Path) -> None:
    """The caption is in the world's grammar, and the picture shows just that."""
    picture = check.open_picture(path)
    assert picture.shape == (world.SIZE, world.SIZE, 3)
    assert check.shows_scene(picture, SCENE_BY_CAPTION[caption_of(path)])

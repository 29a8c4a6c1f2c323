"""Captions of images: one of several, augmented."""

from __future__ import annotations

import pytest

from onetrainer_gradio.config import ConceptConfig, patterns
from onetrainer_gradio.engine.data.captions import CaptionChooser
from onetrainer_gradio.engine.data.seeds import Loader, StageSeeds
from onetrainer_gradio.errors import PatternError

DROPPED = {"tag_dropout_enable": True, "tag_dropout_probability": 1.0, "keep_tags_count": 0, "tag_dropout_mode": "RANDOM"}
SEEDS = StageSeeds.of(Loader())


def chosen(text, captions, roots=()):
    chooser = CaptionChooser.of(ConceptConfig(text=text), captions, roots)
    return [chooser.caption(captions, SEEDS.of_item(variation, 0)) for variation in range(40)]


def test_one_of_several_captions_is_chosen_and_augmented():
    """All of them occur, with the tags after the first one in every order."""
    found = set(chosen({"enable_tag_shuffling": True}, ("a, b, c", "d, e")))
    assert found == {"a, b, c", "a, c, b", "d, e"}
    assert set(chosen({}, ("a,b", "c"))) == {"a,b", "c"}


def test_special_tags_come_from_a_file(tmp_path):
    """The name of a missing file, or of one outside the allowed folders, is treated as a tag."""
    file = tmp_path / "special.txt"
    file.write_text("house\nred hair\n")
    settings = DROPPED | {"tag_dropout_special_tags": str(file), "tag_dropout_special_tags_mode": "WHITELIST"}
    assert set(chosen(settings, ("house, tree, red hair",))) == {"house, red hair"}
    assert set(chosen(settings, ("house, tree, red hair",), (tmp_path / "other",))) == {""}
    file.unlink()
    assert set(chosen(settings, (f"house, {file}",))) == {str(file)}


@pytest.mark.slow
def test_regular_expressions_are_evaluated_once_for_all_tags():
    """The evaluation has a time limit."""
    settings = DROPPED | {
        "tag_dropout_special_tags": "(red|blue) .*",
        "tag_dropout_special_tags_regex": True,
        "tag_dropout_special_tags_mode": "BLACKLIST",
    }
    assert set(chosen(settings, ("red hair, house, (blue sky)",))) == {"house"}


@pytest.mark.slow
def test_a_regular_expression_that_takes_too_long_ends_the_start(monkeypatch):
    """Training doesn't begin."""
    monkeypatch.setattr(patterns, "RUN_S", 0.3)
    settings = DROPPED | {
        "tag_dropout_special_tags": "(a+)+b",
        "tag_dropout_special_tags_regex": True,
        "tag_dropout_special_tags_mode": "BLACKLIST",
    }
    with pytest.raises(PatternError):
        chosen(settings, ("a" * 40,))

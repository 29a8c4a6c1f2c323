"""Caption augmentation."""

from random import Random

import pytest

from onetrainer_gradio.config.dataset.caption_augmentation import augment_caption, special_tags, tags_of
from onetrainer_gradio.config.declarations.concept import ConceptTextConfig

CAPTION = "sks, red, house, Tree"


def drawn(count=300, caption=CAPTION, special=None, **settings):
    text = ConceptTextConfig(**settings)
    return [augment_caption(caption, text, lambda step, r=Random(seed): r, special) for seed in range(count)]


def test_without_changes_a_caption_stays_as_it_is():
    """Spaces are kept."""
    assert set(drawn(caption=" a ,b ")) == {" a ,b "}


def test_shuffling_keeps_the_first_tags_in_front():
    """All orders of the other tags occur; tags are joined with the delimiter and a space."""
    found = set(drawn(enable_tag_shuffling=True, keep_tags_count=2, caption="sks,red,house,Tree"))
    assert found == {"sks, red, house, Tree", "sks, red, Tree, house"}


def test_full_dropout_drops_all_tags_or_none():
    """With a probability of 0.5, half of the captions lose all tags except the kept ones."""
    found = drawn(tag_dropout_enable=True, tag_dropout_mode="FULL", tag_dropout_probability=0.5)
    assert set(found) == {CAPTION, "sks"}
    assert 100 < found.count("sks") < 200


@pytest.mark.slow
def test_weighted_dropout_drops_later_tags_more_often():
    """The last tag is dropped with the full probability, earlier ones with a share of it."""
    found = drawn(2000, tag_dropout_enable=True, tag_dropout_mode="RANDOM WEIGHTED", tag_dropout_probability=0.9)
    counts = [sum(tag in tags_of(caption, ",") for caption in found) / 2000 for tag in ("red", "house", "Tree")]
    assert counts == pytest.approx([0.7, 0.4, 0.1], abs=0.05)


@pytest.mark.parametrize(("mode", "left"), [("WHITELIST", "sks, red"), ("BLACKLIST", "sks, house, Tree"), ("NONE", "sks")])
def test_special_tags_are_spared_or_meant_alone(mode, left):
    """With a probability of 1, every tag that may be dropped is dropped."""
    settings = {"tag_dropout_enable": True, "tag_dropout_probability": 1.0, "tag_dropout_special_tags_mode": mode}
    assert set(drawn(10, **settings, tag_dropout_special_tags="red")) == {left}
    assert set(drawn(10, **settings, special=["r.d"], tag_dropout_special_tags_regex=True)) == {left}


def test_capitals_are_drawn_for_each_tag():
    """Lowercase is applied first; only the listed modes are used."""
    found = drawn(
        caps_randomize_enable=True, caps_randomize_probability=1.0, caps_randomize_mode="capslock", caps_randomize_lowercase=True
    )
    assert set(found) == {"SKS,RED,HOUSE,TREE"}
    mixed = drawn(caps_randomize_enable=True, caps_randomize_probability=0.5, caps_randomize_mode="first, nonsense")
    assert any(caption.startswith("Sks") for caption in mixed)
    assert any(caption.startswith("sks") for caption in mixed)


def test_special_tags_may_come_from_a_file(tmp_path):
    """These are lines of a text file or the first column of a table."""
    (tmp_path / "a.txt").write_text("one\ntwo words\n")
    (tmp_path / "a.csv").write_text('one,5\n"two, words",7\n')
    assert special_tags(tmp_path / "a.txt") == ["one", "two words"]
    assert special_tags(tmp_path / "a.csv") == ["one", "two, words"]

"""Paths are renamed by the most specific rule, and the renaming is reversible."""

from __future__ import annotations

import pytest

from onetrainer_gradio.engine.keys.rules import PathMap, Rule, Swap, template

RULES = PathMap(
    (
        Rule("blocks.{}.attn.{}", "layers.{}.mixer.{}"),
        Rule("blocks.{}", "layers.{}"),
        Rule("blocks.3.norm", "layers.3.last", Swap.ALWAYS),
        Rule("pos.pos", "pos"),
        Rule("pos.proj", "embedder.proj"),
    )
)


@pytest.mark.parametrize(
    ("path", "native"),
    [
        ("blocks.12.attn.0.weight", "layers.12.mixer.0.weight"),
        ("blocks.12.attn.q.weight", "layers.12.attn.q.weight"),
        ("blocks.3.norm.bias", "layers.3.last.bias"),
        ("blocks.4.norm.bias", "layers.4.norm.bias"),
        ("pos.pos", "pos"),
        ("pos.proj.weight", "embedder.proj.weight"),
    ],
)
def test_a_path_is_renamed_and_back(path, native):
    """Numbers keep their order, and the rest of the path stays."""
    assert RULES.to_native(path)[0] == native
    assert RULES.to_diffusers(native)[0] == path


def test_a_path_without_a_rule_has_no_name():
    """Its name isn't guessed."""
    assert RULES.to_native("blocksy.1") is None
    assert RULES.to_native("pos") is None
    assert RULES.to_native("blocks.3.norm")[1] is Swap.ALWAYS


def test_empty_rules_keep_every_path():
    """This applies to families whose native names are those of diffusers."""
    assert PathMap([Rule("", "")]).to_native("a.1.b") == ("a.1.b", Swap.NEVER)


def test_two_rules_for_one_path_are_a_mistake():
    """This includes the reverse direction."""
    with pytest.raises(ValueError, match="two rules for c"):
        PathMap([Rule("a", "c"), Rule("b", "c")])


def test_a_template_has_no_numbers():
    """Only complete segments count."""
    assert template("blocks.12.linear_1.net.0") == "blocks.{}.linear_1.net.{}"

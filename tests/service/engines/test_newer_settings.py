"""Settings that only a checkout has, derived from its types.

Covers ``service/engines/new_sample.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.backends.onetrainer.facts import CheckoutFacts, FieldFacts
from onetrainer_gradio.config.files.newer import NewerSetting
from onetrainer_gradio.service.engines.newer_settings import newer_fields, newer_settings


def settings_of(types: dict[str, tuple[str, Any]]) -> dict[str, NewerSetting]:
    fields = {path: FieldFacts(kind, nullable=kind == "int", default=default) for path, (kind, default) in types.items()}
    return newer_settings(CheckoutFacts(Path("/x"), "", 12, fields, {"Mode": ("SOFT", "HARD")}, (), {}))


@pytest.mark.parametrize(
    ("type_name", "default", "kind", "expected"),
    [
        ("float", 0.5, "number", "a number"),
        ("list[str]", [], "array", "a list of texts, as"),
        ("tuple[int, ...]", [], "array", "a list of whole numbers, as"),
        ("tuple[int, str]", [], "array", "a list, as"),
        ("list", [], "array", "a list, as"),
        ("list[Mode]", [], "array", "a list of the names SOFT, HARD, as"),
        ("list[list[float]]", [], "array", "a list of lists, as"),
        ("list[dict[str, str]]", [], "array", "a list of objects, as"),
        ("dict", {}, "object", "an object, as"),
        ("dict[str, list[int]]", {}, "object", "an object of lists, as"),
        ("UnionType[list[int], NoneType]", None, "array", "a list of whole numbers, as [1, 2], or empty"),
        ("Union[str, NoneType]", None, "string", "a text, or empty"),
        ("SparkConfig", None, "object", "an object, as"),
        ("Something", [1], "array", "a list, as"),
        ("Something", {"a": 1}, "object", "an object, as"),
    ],
)
def test_a_type_becomes_a_kind_with_what_it_holds(type_name: str, default: Any, kind: str, expected: str) -> None:
    """Nested types are kept, with the default and whether the value may be empty."""
    setting = settings_of({"spark": (type_name, default)})["spark"]
    assert (setting.kind, setting.default) == (kind, default)
    assert setting.expected().startswith(expected)


@pytest.mark.parametrize("type_name", ["Path", "UnionType[int, str]", "Any"])
def test_a_type_that_is_too_general_gives_no_field(type_name: str) -> None:
    """No field is better than one that writes an invalid value."""
    assert settings_of({"spark": (type_name, None)}) == {}


def test_deep_types_are_held_to_the_end() -> None:
    """Lists in lists and objects of lists are resolved."""
    setting = settings_of({"spark": ("dict[str, list[int]]", {})})["spark"]
    assert setting.wrong({"a": [1, 2]}, "spark") is None
    wrong = setting.wrong({"a": [1, "x"]}, "spark")
    assert wrong is not None
    assert (wrong.path, wrong.expected) == ("spark.a.1", "a whole number")


def test_what_is_in_the_elements_of_a_new_list_belongs_to_the_list() -> None:
    """Its elements have their settings by name, including nested ones and lists; they aren't separate fields."""
    found = settings_of(
        {
            "rules": ("list[RuleConfig]", []),
            "rules[].word": ("str", ""),
            "rules[].mode": ("Mode", "SOFT"),
            "rules[].image.bend": ("bool", False),
            "rules[].parts": ("list[PartConfig]", []),
            "rules[].parts[].size": ("int", None),
            "rules[].unclear": ("Path", None),
        }
    )
    assert list(found) == ["rules"]
    rules = found["rules"]
    fits = [{"word": "x", "mode": "HARD", "image": {"bend": True}, "parts": [{"size": None}, {"size": 3}], "unclear": 5}, {}]
    assert rules.wrong(fits, "rules") is None
    places = {
        "rules.0.mode": [{"mode": "LOUD"}],
        "rules.0.image.bend": [{"image": {"bend": 1}}],
        "rules.0.parts.1.size": [{"parts": [{}, {"size": "x"}]}],
        "rules.0": [{"colour": 1}],
    }
    for place, value in places.items():
        wrong = rules.wrong(value, "rules")
        assert wrong is not None
        assert wrong.path == place


def test_a_new_list_within_the_elements_of_our_own_lists_is_a_setting_there() -> None:
    """Everything in its elements belongs to it."""
    fields = {
        "concepts[].links": FieldFacts("list[LinkConfig]", default=[]),
        "concepts[].links[].to": FieldFacts("int", default=0),
    }
    assert list(newer_fields(fields)) == ["concepts[].links"]

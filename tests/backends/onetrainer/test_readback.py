"""Settings that OneTrainer returned with other values."""

from __future__ import annotations

from onetrainer_gradio.backends.onetrainer.readback import differences

DEFAULTS = {"kept": 1, "gone": False, "nested": {"gone": 2}}


def texts(given, used):
    return [(item.path, item.given, item.used, item.known) for item in differences(given, used, DEFAULTS)]


def test_the_same_in_another_form_is_the_same():
    """This covers 1 and 1.0, enum names, infinity as a word, versions, and additions of the checkout."""
    given = {"__version": 11, "rate": 1, "much": "inf", "unit": "STEP", "nested": {"a": None}, "list": [{"x": 1.0}], "note": "n"}
    used = {"__version": 12, "rate": 1.0, "much": "inf", "unit": "STEP", "nested": {"a": None, "b": 2}, "list": [{"x": 1}]}
    assert texts(given, used) == []


def test_every_difference_is_reported_with_its_path():
    """This covers objects and lists, empty or not, and true versus 1."""
    given = {"a": 1, "b": {"c": [{"d": "x"}]}, "e": None, "f": True, "g": [1]}
    used = {"a": 2, "b": {"c": [{"d": "y"}]}, "e": 0, "f": 1, "g": []}
    assert texts(given, used) == [
        ("a", 1, 2, True),
        ("b.c.0.d", "x", "y", True),
        ("e", None, 0, True),
        ("f", True, 1, True),
        ("g", [1], [], True),
    ]


def test_a_setting_that_the_checkout_lacks_counts_where_it_would_do_something():
    """At its default it makes no difference."""
    assert texts({"gone": False, "nested": {"gone": 2}}, {"nested": {}}) == []
    assert texts({"gone": True, "nested": {"gone": 3}}, {"nested": {}}) == [
        ("gone", True, None, False),
        ("nested.gone", 3, None, False),
    ]


def test_the_event_has_given_and_used():
    """There is one sentence for each, and long values are truncated."""
    first, second = differences({"a": "x" * 200, "new": 1}, {"a": ""}, {})
    assert first.warned().path == "a"
    assert len(first.warned().message) < 200
    assert "doesn't support “new”" in second.warned().message
    assert {first.warned().code, second.warned().code} == {"config_read_back"}

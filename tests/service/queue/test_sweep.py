"""The grid of a sweep."""

from __future__ import annotations

import pytest

from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.service.queue.sweep import MAX_RUNS, grid, label_of, list_of


def test_the_grid_has_every_combination_once():
    assert grid({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-4, 3e-4", [1e-4, 3e-4]),
        ("8,16 , 32", [8, 16, 32]),
        ("ADAMW, PRODIGY", ["ADAMW", "PRODIGY"]),
        ("true,false", [True, False]),
        ("8, 8, 16,", [8, 16]),
        (".5", [0.5]),
        ("1, 1.0, true", [1, 1.0, True]),
    ],
)
def test_a_text_is_read_as_values(text, values):
    assert list_of("path", text) == values


@pytest.mark.parametrize("values", [{}, {"a": []}, {"a": " , "}, {"a": 5}, {"a": None}])
def test_no_values_are_an_error(values):
    with pytest.raises(ConfigValueError):
        grid(values)


def test_the_number_of_runs_is_limited():
    assert len(grid({"a": list(range(MAX_RUNS))})) == MAX_RUNS
    with pytest.raises(ConfigValueError, match="101"):
        grid({"a": list(range(MAX_RUNS + 1))})
    with pytest.raises(ConfigValueError, match="8 settings"):
        grid({str(number): [1] for number in range(9)})


def test_a_label_is_short():
    assert label_of({"learning_rate": 3e-4, "lora_rank": 16}) == "learning_rate=0.0003, lora_rank=16"
    assert len(label_of({"a": "x" * 500})) < 50

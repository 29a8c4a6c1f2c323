"""Make the grid of a sweep: one set of changes for each combination of the values of several settings."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.errors import ConfigValueError

MAX_RUNS = 100
"""Runs that a sweep can have."""
MAX_SETTINGS = 8
_MAX_SHOWN = 40


def grid(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the changes of each run. The first setting varies slowest.

    Each value is a list, or a text with values separated by commas.

    :raises ConfigValueError: if there are no values, or too many combinations.
    """
    if not values:
        raise ConfigValueError("A sweep needs at least one setting.", path="values", expected='{"learning_rate": [1e-4, 3e-4]}')
    if len(values) > MAX_SETTINGS:
        raise ConfigValueError(f"A sweep can vary at most {MAX_SETTINGS} settings.", path="values", value=len(values))
    lists = {path: list_of(path, given) for path, given in values.items()}
    count = math.prod(len(each) for each in lists.values())
    if count > MAX_RUNS:
        raise ConfigValueError(
            f"This sweep has {count} runs. The limit is {MAX_RUNS}.",
            path="values",
            value=count,
            suggestion="Remove some values.",
        )
    return [dict(zip(lists, combination, strict=True)) for combination in itertools.product(*lists.values())]


def list_of(path: str, given: Any) -> list[Any]:
    """Return the values for one setting, each once.

    :raises ConfigValueError: if there is none.
    """
    parts = [_value(part) for part in given.split(",") if part.strip()] if isinstance(given, str) else given
    if not isinstance(parts, list) or not parts:
        raise ConfigValueError(f"Enter the values for {path}.", path=path, value=given, expected="values separated by commas")
    unique = {json.dumps(part, sort_keys=True): part for part in parts}
    return list(unique.values())


def _value(text: str) -> Any:
    text = text.strip()
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if value == text:
        try:
            value = float(text)  # such as 1.e-4
        except ValueError:
            return text
    return value if not isinstance(value, float) or math.isfinite(value) else text


def label_of(changes: Mapping[str, Any]) -> str:
    """Return the changes as a short text, such as ``learning_rate=0.0001, lora_rank=8``."""
    return ", ".join(tags_of(changes))


def tags_of(changes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one tag for each change, such as ``lora_rank=8``."""
    return tuple(f"{path}={_shown(value)}" for path, value in changes.items())


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"

"""Values against the bounds and choices that their settings declare."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from onetrainer_gradio.config.setting import Setting
from onetrainer_gradio.config.train import TrainConfig
from onetrainer_gradio.config.walk import Leaf, leaves
from onetrainer_gradio.errors import Finding

# attribute of the declaration -> (how it reads, whether a value satisfies it)
_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "ge": ("at least", lambda value, bound: value >= bound),
    "gt": ("more than", lambda value, bound: value > bound),
    "le": ("at most", lambda value, bound: value <= bound),
    "lt": ("less than", lambda value, bound: value < bound),
}


def expectation(setting: Setting) -> str:
    """The bounds of a setting as text."""
    if setting.choices:
        return "one of " + ", ".join(setting.choices)
    parts = [f"{words} {getattr(setting, name):g}" for name, (words, _) in _BOUNDS.items() if getattr(setting, name) is not None]
    return "a number, " + " and ".join(parts) if parts else ""


def out_of_bounds(config: TrainConfig) -> Iterator[Finding]:
    """One finding for each offered value that its declaration does not allow."""
    for leaf in leaves(config, offered=True):
        if not _allowed(leaf):
            expected = expectation(leaf.setting) or "a finite number"
            yield Finding(
                "error",
                leaf.path,
                f"{leaf.setting.label} is {leaf.value}",
                leaf.value,
                expected,
                f"set {leaf.path} to {expected}",
            )


def _allowed(leaf: Leaf) -> bool:
    value: Any = leaf.value
    if value is None:
        return True
    if leaf.setting.choices:
        return str(value) in leaf.setting.choices
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    if math.isnan(value):
        return False
    bounds = ((name, getattr(leaf.setting, name)) for name in _BOUNDS)
    return all(bound is None or _BOUNDS[name][1](value, bound) for name, bound in bounds)

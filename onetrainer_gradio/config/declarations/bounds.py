"""Check values against the bounds and choices that their settings declare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from onetrainer_gradio.config.declarations.catalog import CATALOGUE, Entry, pattern, reader, title_of
from onetrainer_gradio.config.declarations.file_names import unusable_name
from onetrainer_gradio.config.declarations.setting import Setting
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.visibility import applies
from onetrainer_gradio.config.declarations.walk import leaves
from onetrainer_gradio.config.enums import Name
from onetrainer_gradio.errors import Finding

# attribute of the declaration -> (how it reads, whether a value satisfies it)
_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "ge": ("at least", lambda value, bound: value >= bound),
    "gt": ("more than", lambda value, bound: value > bound),
    "le": ("at most", lambda value, bound: value <= bound),
    "lt": ("less than", lambda value, bound: value < bound),
}


def expectation(entry: Entry) -> str:
    """Return the allowed values of a setting, as text."""
    setting = entry.setting
    if entry.fixed_choices:
        return "one of " + ", ".join(choice or "(empty)" for choice in entry.fixed_choices)
    parts = [f"{words} {getattr(setting, name):g}" for name, (words, _) in _BOUNDS.items() if getattr(setting, name) is not None]
    return "a number, " + " and ".join(parts) if parts else ""


def names(entry: Entry) -> str:
    """Return the choices of a setting by their labels, as an alternative; empty if it has none."""
    *most, last = (entry.choice_label(choice) or "empty" for choice in entry.fixed_choices or ("",))
    return f"{', '.join(most)} or {last}" if most else ""


def _range(setting: Setting) -> str:
    """Return the bounds of a setting as text: "between 0 and 1", or "at least 0 and less than 1"."""
    if setting.ge is not None and setting.le is not None:
        return f"between {setting.ge:g} and {setting.le:g}"
    return " and ".join(
        f"{words} {getattr(setting, name):g}" for name, (words, _) in _BOUNDS.items() if getattr(setting, name) is not None
    )


def out_of_bounds(config: TrainConfig) -> Iterator[Finding]:
    """Yield an error for each offered value that its declaration doesn't allow.

    Choices are checked where the setting applies, numbers and names that become part of a path everywhere.
    """
    for leaf in leaves(config, _is_bounded):
        if leaf.setting.file_name and (finding := unusable_name(leaf)) is not None:
            yield finding
        if not callable(leaf.setting.choices) and _holds(leaf.setting, leaf.value):
            continue
        entry = CATALOGUE[pattern(leaf.path)]
        if entry.offered and not _allowed(entry, leaf.path, leaf.value, config):
            expected = expectation(entry) or "a finite number"
            title = title_of(leaf.path)
            allowed = names(entry) or _range(entry.setting)
            message = f"{title} must be {allowed}, not {entry.choice_label(str(leaf.value)) or 'empty'}"
            suggestion = f"Set {title} to {'' if entry.fixed_choices else 'a value of '}{allowed}."
            yield Finding("error", leaf.path, message, leaf.value, expected, suggestion)


def _is_bounded(setting: Setting, annotation: Any) -> bool:
    """Return whether a setting has fixed choices or bounds, or becomes part of a file name."""
    return setting.file_name or bool(setting.choices) or any(getattr(setting, name) is not None for name in _BOUNDS)


def _holds(setting: Setting, value: Any) -> bool:
    """Return whether the declaration allows a value, regardless of other settings."""
    if value is None or (isinstance(value, Name) and not value.known):
        return True  # bounds don't apply to a name of a newer OneTrainer
    if setting.choices and isinstance(setting.choices, tuple):
        return str(value) in setting.choices
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    for name, (_, holds) in _BOUNDS.items():
        bound = getattr(setting, name)
        if bound is not None and not holds(value, bound):
            return False
    return True


def _allowed(entry: Entry, path: str, value: Any, config: TrainConfig) -> bool:
    """Return whether a value is allowed. Choices are checked only where the setting applies."""
    if _holds(entry.setting, value):
        return True
    return bool(entry.fixed_choices) and not applies(entry.conditions, reader(config, path))

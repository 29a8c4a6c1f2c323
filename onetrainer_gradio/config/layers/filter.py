"""Apply a layer filter: a comma-separated list of name fragments or regular expressions.

The pre-flight check and the page apply it to known layer names, and the engine to those of the loaded model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onetrainer_gradio.config import patterns as regular
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.errors import ConfigValueError, PatternError

MAX_PATTERNS = 5_000
"""More than any model has kinds of layers."""

# Those of our layer presets are fast.
_OWN = {
    pattern: re.compile(pattern).search
    for facts in MODELS.values()
    for preset in facts.layer_presets.values()
    if preset.regex
    for pattern in preset.patterns
}


@dataclass(frozen=True)
class Selection:
    """The result of a layer filter: the matched layers, and the patterns with and without matches."""

    layers: tuple[str, ...]
    used: tuple[str, ...]
    unused: tuple[str, ...]


def patterns_of(layer_filter: str) -> tuple[str, ...]:
    """Return the patterns of a comma-separated list; an empty list means all layers."""
    return tuple(pattern.strip() for pattern in layer_filter.split(","))


def fitting(
    names: Sequence[str], layer_filter: str, regex: bool, *, seconds: float = regular.CHECK_S
) -> list[frozenset[int] | str]:
    """Return for each pattern the positions of the names that it matches, or why it isn't a regular expression.

    :raises PatternError: when there are too many patterns, or they take too long together.
    """
    patterns = patterns_of(layer_filter)
    if len(patterns) > MAX_PATTERNS:
        raise PatternError(
            f"{title_of('layer_filter')} must have at most {MAX_PATTERNS} patterns, not {len(patterns)}",
            path="layer_filter",
            expected=f"at most {MAX_PATTERNS}",
            suggestion="Use patterns that match several layers, or clear the filter to select all layers.",
        )
    own = {pattern: _OWN[pattern] for pattern in patterns if pattern in _OWN}
    asked = [pattern for pattern in dict.fromkeys(patterns) if regex and pattern and pattern not in own]
    try:
        found = dict(zip(asked, regular.fits(asked, names, "search", seconds=seconds), strict=True))
    except PatternError as error:
        error.path, error.value = "layer_filter", layer_filter
        raise
    known: dict[str, frozenset[int] | str] = {}
    for pattern in dict.fromkeys(patterns):
        if pattern in found:
            known[pattern] = found[pattern]
            continue
        search = own.get(pattern) if regex else None
        known[pattern] = frozenset(at for at, name in enumerate(names) if (search(name) if search else pattern in name))
    return [known[pattern] for pattern in patterns]


def select(names: Iterable[str], layer_filter: str, regex: bool, *, seconds: float = regular.CHECK_S) -> Selection:
    """Apply a layer filter as OneTrainer does: the first pattern that matches a name gets it.

    A pattern counts as used only for names that no earlier pattern matched.

    :raises ConfigValueError: when a pattern is no regular expression.
    :raises PatternError: when the patterns take too long.
    """
    names = tuple(names)
    patterns = patterns_of(layer_filter)
    taken: set[int] = set()
    used: list[str] = []
    unused: list[str] = []
    for pattern, fits in zip(patterns, fitting(names, layer_filter, regex, seconds=seconds), strict=True):
        if isinstance(fits, str):
            raise ConfigValueError(
                f"“{pattern}” in {title_of('layer_filter')} isn't a valid regular expression: {fits}",
                path="layer_filter",
                value=layer_filter,
                expected="regular expressions, separated by commas",
                suggestion=f"Correct the pattern, or turn off {title_of('layer_filter_regex')}.",
            )
        (unused if fits <= taken else used).append(pattern)
        taken |= fits
    return Selection(tuple(names[at] for at in sorted(taken)), tuple(used), tuple(unused))


def layers_to_train(names: Iterable[str], layer_filter: str, regex: bool, *, idle_allowed: bool) -> tuple[str, ...]:
    """Return the matched layers in the order of ``names``; unless ``idle_allowed``, every pattern must match some.

    :raises ConfigValueError: if a pattern isn't a regular expression, or matches nothing and must, or none matches anything.
    :raises PatternError: when the patterns take too long.
    """
    selection = select(names, layer_filter, regex, seconds=regular.RUN_S)
    if selection.unused and (not idle_allowed or not selection.layers):
        raise ConfigValueError(
            f"“{selection.unused[0]}” in {title_of('layer_filter')} matches no layer of this model, or only layers that "
            "an earlier "
            "pattern already matches.",
            path="layer_filter",
            value=layer_filter,
            expected="parts of layer names, such as attn or attentions",
            suggestion="Correct or remove the pattern.",
        )
    return selection.layers

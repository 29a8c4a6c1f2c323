"""What a layer filter takes of a model, told by kinds of layers: names that differ in numbers only are one kind."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.layers.filter import fitting, patterns_of, select

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True)
class PatternMatch:
    """A pattern of a filter: how many layers it takes, and how many it fits that an earlier pattern took."""

    pattern: str
    taken: int
    late: int


@dataclass(frozen=True)
class LayerKind:
    """Layers whose names differ in the numbers of their blocks only (shown as ``*``), and how many of them are taken."""

    name: str
    total: int
    taken: int


@dataclass(frozen=True)
class LayerMatch:
    """What a filter takes of the denoiser of a model type.

    ``part`` is the field of the part that is meant; ``exact`` is False where a model of another size has other numbers of blocks.
    """

    part: str
    model: str
    exact: bool
    total: int
    taken: int
    patterns: tuple[PatternMatch, ...]
    kinds: tuple[LayerKind, ...]
    names: tuple[str, ...]


def layer_match(model_type: ModelType, layer_filter: str, regex: bool) -> LayerMatch | None:
    """What a filter takes, or None when the names of the type's layers are not known.

    :raises ConfigValueError: when a pattern is no regular expression.
    :raises PatternError: when the patterns take too long.
    """
    try:
        names = layer_names(model_type)
    except KeyError:
        return None
    selection = select(names, layer_filter, regex)
    patterns = tuple(_patterns(names, layer_filter, regex))
    totals, taken = Counter(map(_kind, names)), Counter(map(_kind, selection.layers))
    kinds = tuple(LayerKind(name, total, taken[name]) for name, total in totals.items())
    facts = MODELS[model_type]
    exact = facts.exact
    return LayerMatch(facts.denoiser, facts.label, exact, len(names), len(selection.layers), patterns, kinds, selection.layers)


def _patterns(names: tuple[str, ...], layer_filter: str, regex: bool) -> list[PatternMatch]:
    found = []
    before: set[int] = set()
    for pattern, fits in zip(patterns_of(layer_filter), fitting(names, layer_filter, regex), strict=True):
        if isinstance(fits, frozenset):  # what is no regular expression was an error before
            found.append(PatternMatch(pattern, len(fits - before), len(fits & before)))
            before |= fits
    return found


def _kind(name: str) -> str:
    return _NUMBER.sub("*", name)

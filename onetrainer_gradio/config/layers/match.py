"""Describe the matches of a layer filter by kinds of layers: names that differ only in numbers are one kind."""

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
    """A pattern of a filter: how many layers it gets, and how many matches an earlier pattern already got."""

    pattern: str
    taken: int
    late: int


@dataclass(frozen=True)
class LayerKind:
    """Layers whose names differ only in their block numbers (shown as ``*``), and how many of them are matched."""

    name: str
    total: int
    taken: int


@dataclass(frozen=True)
class LayerMatch:
    """The matches of a filter in the denoiser of a model type.

    ``part`` is the field of the component; ``exact`` is False if models of other sizes have another number of blocks.
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
    """Return the matches of a filter, or None if the layer names of the type are unknown.

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
        if isinstance(fits, frozenset):  # an invalid regular expression was an error before
            found.append(PatternMatch(pattern, len(fits - before), len(fits & before)))
            before |= fits
    return found


def _kind(name: str) -> str:
    return _NUMBER.sub("*", name)

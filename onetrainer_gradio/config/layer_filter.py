"""Which layers a filter takes: a comma list of parts of their names, or of regular expressions.

Asked by the check and the page of names known beforehand, and by the engine of the loaded model's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from onetrainer_gradio.errors import ConfigValueError


@dataclass(frozen=True)
class Selection:
    """What a layer filter makes of a model: the layers it takes, the patterns that took some and those that took none."""

    layers: tuple[str, ...]
    used: tuple[str, ...]
    unused: tuple[str, ...]


def patterns_of(layer_filter: str) -> tuple[str, ...]:
    """The patterns of a comma list; an empty one stands for all layers."""
    return tuple(pattern.strip() for pattern in layer_filter.split(","))


def problem_of(pattern: str) -> str:
    """Why a text is no regular expression; empty when it is one."""
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    except (OverflowError, RecursionError):
        return "it repeats or nests too much"
    return ""


def select(names: Iterable[str], layer_filter: str, regex: bool) -> Selection:
    """Apply a layer filter as OneTrainer does: a name is taken by the first pattern that fits it.

    A pattern counts as used only for names that no earlier pattern took.

    :raises ConfigValueError: when a pattern is no regular expression.
    """
    patterns = patterns_of(layer_filter)
    for pattern in patterns if regex else ():
        if problem := problem_of(pattern):
            raise ConfigValueError(
                f"{pattern!r} is no pattern for regular expressions: {problem}",
                path="layer_filter",
                value=layer_filter,
                expected="a comma list of regular expressions",
                change="correct it, or turn regular expressions off",
            )
    fits = [re.compile(pattern).search if regex and pattern else None for pattern in patterns]
    at_work: set[int] = set()
    taken = []
    for name in names:
        for index, pattern in enumerate(patterns):
            search = fits[index]
            if search(name) if search else pattern in name:
                at_work.add(index)
                taken.append(name)
                break
    used = tuple(pattern for index, pattern in enumerate(patterns) if index in at_work)
    unused = tuple(pattern for index, pattern in enumerate(patterns) if index not in at_work)
    return Selection(tuple(taken), used, unused)


def layers_to_train(names: Iterable[str], layer_filter: str, regex: bool, *, idle_allowed: bool) -> tuple[str, ...]:
    """The layers that a filter takes, in the order of ``names``; unless ``idle_allowed``, every pattern has to take some.

    :raises ConfigValueError: when a pattern is no regular expression, or takes nothing and may not, or all of them take nothing.
    """
    selection = select(names, layer_filter, regex)
    if selection.unused and (not idle_allowed or not selection.layers):
        raise ConfigValueError(
            f"The layer filter {selection.unused[0]!r} takes no layer of this model that an earlier pattern left.",
            path="layer_filter",
            value=layer_filter,
            expected="parts of layer names, for instance: attn or attentions",
            change="correct the pattern, or take it out",
        )
    return selection.layers

"""Rename paths of modules and tensors with rules, in both directions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

NUMBER = "{}"
"""A segment of a rule that stands for a number; the numbers keep their order."""


class Swap(Enum):
    """Whether the two halves of a layer's output change places with its name.

    The native adaptive norms compute shift and scale, those of diffusers scale and shift.
    """

    NEVER = "never"
    ALWAYS = "always"
    CONTINUOUS = "continuous"
    """If the layer has twice as many outputs as inputs: only an adaptive norm with shift and scale alone does."""


@dataclass(frozen=True)
class Rule:
    """A module or tensor in diffusers, and the native one; the rest of a path behind it stays.

    The longest rule that fits a path decides. A rule of two empty paths keeps every path.
    """

    diffusers: str
    native: str
    swap: Swap = Swap.NEVER


@dataclass
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    rule: Rule | None = None


class PathMap:
    """The rules of one model component."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._from_diffusers, self._from_native = _Node(), _Node()
        for rule in rules:
            _add(self._from_diffusers, rule.diffusers, rule)
            _add(self._from_native, rule.native, rule)

    def to_native(self, path: str) -> tuple[str, Swap] | None:
        """Return the native path of a path in diffusers, and whether halves change places; None without a rule."""
        found = _longest(self._from_diffusers, _segments(path))
        return (_renamed(path, found.diffusers, found.native), found.swap) if found else None

    def to_diffusers(self, path: str) -> tuple[str, Swap] | None:
        """Return the path in diffusers of a native path, and whether halves change places; None without a rule."""
        found = _longest(self._from_native, _segments(path))
        return (_renamed(path, found.native, found.diffusers), found.swap) if found else None


def template(path: str) -> str:
    """Return the path with ``{}`` instead of every segment that is a number."""
    return ".".join(NUMBER if segment.isdecimal() else segment for segment in path.split("."))


def _segments(path: str) -> list[str]:
    return path.split(".") if path else []


def _add(root: _Node, path: str, rule: Rule) -> None:
    node = root
    for segment in _segments(path):
        node = node.children.setdefault(segment, _Node())
    if node.rule not in (None, rule):
        raise ValueError(f"two rules for {path}")
    node.rule = rule


def _longest(node: _Node, segments: list[str]) -> Rule | None:
    if segments:
        first, *rest = segments
        for child in (node.children.get(first), node.children.get(NUMBER) if first.isdecimal() else None):
            found = _longest(child, rest) if child else None
            if found:
                return found
    return node.rule


def _renamed(path: str, source: str, target: str) -> str:
    own, segments = _segments(source), path.split(".")
    numbers = iter(segment for segment, wanted in zip(segments, own, strict=False) if wanted == NUMBER)
    renamed = [next(numbers) if segment == NUMBER else segment for segment in _segments(target)]
    return ".".join([*renamed, *segments[len(own) :]])

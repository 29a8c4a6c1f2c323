"""Which layers are trained: a comma list of name parts, or of regular expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from onetrainer_gradio.errors import ConfigValueError


@dataclass(frozen=True)
class LayerFilter:
    """Matches a name that contains (or, as a regular expression, is found by) one of the patterns; empty matches all."""

    patterns: tuple[str, ...]
    regex: bool

    @classmethod
    def parse(cls, text: str, *, regex: bool) -> LayerFilter:
        """The filter of the setting ``layer_filter``.

        :raises ConfigValueError: when a regular expression is invalid.
        """
        patterns = tuple(pattern.strip() for pattern in text.split(","))
        for pattern in patterns if regex else ():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigValueError(
                    f"The layer filter {pattern!r} is no regular expression: {error}.",
                    path="layer_filter",
                    value=text,
                    expected="valid regular expressions, separated by commas",
                    change="layer_filter, or turn layer_filter_regex off",
                ) from error
        return cls(patterns, regex)

    def matches(self, name: str) -> bool:
        """Whether the layer ``name`` is trained."""
        return any(self._one(pattern, name) for pattern in self.patterns)

    def _one(self, pattern: str, name: str) -> bool:
        return re.search(pattern, name) is not None if self.regex else pattern in name

    def selected(self, names: Sequence[str]) -> list[str]:
        """The names that match.

        :raises ConfigValueError: when a pattern matches nothing.
        """
        for pattern in self.patterns:
            if not any(self._one(pattern, name) for name in names):
                raise ConfigValueError(
                    f"The layer filter {pattern!r} matches no layer of this model.",
                    path="layer_filter",
                    value=",".join(self.patterns),
                    expected="parts of layer names, for instance: attn or attentions",
                    change="layer_filter",
                )
        return [name for name in names if self.matches(name)]

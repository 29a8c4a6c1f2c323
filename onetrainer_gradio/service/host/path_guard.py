"""Resolve paths from outside and keep them inside the allowed folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from onetrainer_gradio.errors import ForbiddenPathError


class PathGuard:
    """The allowed folders; links are resolved before paths are compared."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = tuple(root.expanduser().resolve() for root in roots)

    def resolve(self, path: str | Path) -> Path:
        """Return the resolved path; a relative one starts at the first allowed folder.

        :raises ForbiddenPathError: if it is outside every allowed folder.
        """
        text = str(path)
        expected = "a path inside " + ", ".join(str(root) for root in self.roots)
        if "\0" in text or not self.roots:
            raise ForbiddenPathError(f"The path {text!r} is not allowed", value=text, expected=expected)
        if text.startswith("~") and text[1:2] not in ("", "/", os.sep):  # whether they exist on this machine reveals nothing
            raise self._outside(text)
        try:
            real = (self.roots[0] / Path(text).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown home, an invalid path
            raise self._outside(text) from error
        if not any(real.is_relative_to(root) for root in self.roots):
            raise self._outside(text)
        return real

    def _outside(self, text: str) -> ForbiddenPathError:
        """Return the same error, whether the path exists or not."""
        return ForbiddenPathError(
            f"The path {text!r} is outside the allowed folders",
            value=text,
            expected="a path inside " + ", ".join(str(root) for root in self.roots),
            suggestion="Choose another path, or start the panel with --allow FOLDER.",
        )

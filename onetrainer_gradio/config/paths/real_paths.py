"""Compare paths with links resolved, even if a file system ignores case or is mounted twice."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

Relation = Literal["", "is", "is inside", "contains"]
_Key = str | tuple[int, int]
_DEEPEST = 200
_LONGEST = 4096  # characters; the systems that allow the longest paths allow this many bytes


class RealPaths:
    """Compare paths and cache the facts about folders, so that thousands of paths are fast."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}
        self._resolved: dict[Path, Path] = {}
        self._keys: dict[str, frozenset[_Key]] = {}
        self._above: dict[str, frozenset[_Key]] = {}

    def of(self, path: Path) -> Path:
        """Return the path with its links resolved.

        :raises OSError: if the links go in a circle, or the path is too long.
        :raises ValueError: if it contains characters that no path can contain.
        """
        known = self._resolved.get(path)
        if known is None:
            known = self._resolved[path] = self._of(path)
        return known

    def _of(self, path: Path) -> Path:
        text = os.path.abspath(path)
        if len(text) > _LONGEST:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), text[:80] + "…")
        parent, name = os.path.split(text)
        if not name:
            return Path(text)
        if ".." in path.parts or os.path.islink(text) or _deep(text):
            return _resolved(path)
        real = self._real.get(parent)
        if real is None:
            real = self._real[parent] = str(self.of(Path(parent)))
        return Path(real, name)

    def relation(self, one: Path, other: Path) -> Relation:
        """Return how a resolved path relates to another: it ``is`` it, ``is inside`` it, ``contains`` it, or none of these."""
        first, second = self._names(str(one)), self._names(str(other))
        if first & second:
            return "is"
        if second & self._ancestors(str(one)):
            return "is inside"
        return "contains" if first & self._ancestors(str(other)) else ""

    def _names(self, path: str) -> frozenset[_Key]:
        known = self._keys.get(path)
        if known is None:
            try:
                status = os.stat(path)
                known = frozenset((path, (status.st_dev, status.st_ino)))
            except (OSError, ValueError):
                known = frozenset((path,))
            self._keys[path] = known
        return known

    def _ancestors(self, path: str) -> frozenset[_Key]:
        known = self._above.get(path)
        if known is None and _deep(path):
            known = self._above[path] = frozenset().union(*(self._names(str(parent)) for parent in Path(path).parents))
        if known is None:
            parent = os.path.dirname(path)
            known = frozenset[_Key]() if parent == path else self._names(parent) | self._ancestors(parent)
            self._above[path] = known
        return known


def _deep(path: str) -> bool:
    """Return whether a path has too many parts for the cache of parts; it can have thousands."""
    return path.count(os.sep) > _DEEPEST


def _resolved(path: Path) -> Path:
    try:
        real = path.resolve()
    except RuntimeError as error:  # a circle of links, before Python 3.13
        raise OSError(str(error)) from error
    if os.path.islink(real):
        raise OSError(f"{path} is a link in a circle")
    return real

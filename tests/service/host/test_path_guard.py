"""Paths from clients stay inside the allowed folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.errors import ForbiddenPathError
from onetrainer_gradio.service.host.path_guard import PathGuard


def test_paths_inside_are_resolved(tmp_path: Path) -> None:
    """Relative paths start at the first folder, absolute ones may be in any."""
    other = tmp_path / "other"
    guard = PathGuard([tmp_path / "data", other])
    assert guard.resolve("runs/../x.json") == (tmp_path / "data" / "x.json").resolve()
    assert guard.resolve(other / "y") == (other / "y").resolve()
    assert guard.resolve(".") == (tmp_path / "data").resolve()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "~root", "x/../../y", "a\0b", "link/x", "loop"])
def test_paths_outside_are_rejected(tmp_path: Path, path: str) -> None:
    """Neither dots, nor absolute paths, nor links lead out."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "link").symlink_to("/")
    (data / "loop").symlink_to(data / "loop")
    with pytest.raises(ForbiddenPathError):
        PathGuard([data]).resolve(path)


def test_a_folder_of_a_similar_name_is_outside(tmp_path: Path) -> None:
    """``data2`` is not inside ``data``."""
    with pytest.raises(ForbiddenPathError, match="data2"):
        PathGuard([tmp_path / "data"]).resolve(tmp_path / "data2" / "x")


def test_without_folders_nothing_is_allowed() -> None:
    """An empty list allows nothing."""
    with pytest.raises(ForbiddenPathError):
        PathGuard([]).resolve("x")

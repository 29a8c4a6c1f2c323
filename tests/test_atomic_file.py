"""A small file is written completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.service.host.atomic import read_json, write_json


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """The content can be read back, missing folders are created, and no temporary file remains."""
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": "ä"})
    write_json(path, {"a": "ö"}, mode=0o600)
    assert read_json(path) == {"a": "ö"}
    assert os.listdir(path.parent) == ["file.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """After a failed write, the old content is intact."""
    path = tmp_path / "file"
    write_atomic(path, "old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", "new")
    assert path.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]

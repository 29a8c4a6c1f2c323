"""A changed dataset folder is detected by the names, sizes and times of its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onetrainer_gradio.service.queue.fingerprint import changed_folders, fingerprint, fingerprints_of
from tests.fakes.configs import small_config


def added(folder: Path) -> None:
    (folder / "new.txt").write_text("new")


def removed(folder: Path) -> None:
    (folder / "one.txt").unlink()


def edited(folder: Path) -> None:
    (folder / "one.txt").write_text("another, longer caption")


def touched(folder: Path) -> None:
    os.utime(folder / "one.txt", (1, 1))


def renamed(folder: Path) -> None:
    (folder / "one.txt").rename(folder / "other.txt")


def gone(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize("change", [added, removed, edited, touched, renamed, gone])
def test_every_change_is_found(tmp_path, change):
    before = fingerprints_of(small_config(tmp_path))
    assert changed_folders(before) == []
    change(tmp_path / "images")
    (sentence,) = changed_folders(before)
    assert str(tmp_path / "images") in sentence


def test_subfolders_count_only_where_they_are_used(tmp_path):
    (tmp_path / "sub").mkdir()
    plain, deep = fingerprint(tmp_path, with_subfolders=False), fingerprint(tmp_path, with_subfolders=True)
    (tmp_path / "sub" / "a.png").write_bytes(b"1")
    assert fingerprint(tmp_path, with_subfolders=False) == plain
    assert fingerprint(tmp_path, with_subfolders=True) != deep


def test_hidden_files_do_not_count(tmp_path):
    before = fingerprint(tmp_path, with_subfolders=True)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "a").write_text("a")
    assert fingerprint(tmp_path, with_subfolders=True) == before

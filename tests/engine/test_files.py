"""A write leaves either the complete new file or the old one."""

from __future__ import annotations

import os
import re

import pytest

from onetrainer_gradio.config.paths.marker import MARKER
from onetrainer_gradio.engine.files import digest, safe_name, size_bytes, timestamp, whole_file, whole_folder, write_text


def test_a_failed_write_leaves_the_old_file(tmp_path):
    """Nothing of the new one remains."""
    target = tmp_path / "deep" / "file.txt"
    write_text(target, "old")

    def fail():
        with whole_file(target) as path:
            path.write_text("half of the ne")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(target.parent) == ["file.txt"]


@pytest.mark.slow
def test_a_failed_folder_leaves_the_old_folder(tmp_path):
    """A folder is replaced as a whole if the write succeeds."""
    target = tmp_path / "folder"

    def names():
        return sorted(set(os.listdir(target)) - {MARKER})

    with whole_folder(target) as folder:
        (folder / "a").write_text("1")

    def fail():
        with whole_folder(target) as folder:
            (folder / "b").write_text("2")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert names() == ["a"]
    with whole_folder(target) as folder:
        (folder / "c").write_text("3")
    assert names() == ["c"]
    assert os.listdir(tmp_path) == ["folder"]


def test_files_may_be_read_as_the_umask_allows(tmp_path):
    """A library that writes for its owner only is corrected."""
    before = os.umask(0o022)
    try:
        with whole_file(tmp_path / "a") as path:
            path.write_text("x")
            path.chmod(0o600)
        with whole_folder(tmp_path / "b") as folder:
            (folder / "c").write_text("x")
            (folder / "c").chmod(0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "b" / "c").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red cross", "a red cross"),
        ("../../etc/passwd", "....etcpasswd"),
        ("x" * 50, "x" * 32),
        ("über 100% <schön>?", "über 100 schön"),
        ("   ", ""),
        ("a" * 31 + " b", "a" * 31),
    ],
)
def test_prompts_become_file_names(prompt, name):
    """Letters, digits and `` ._-#`` are kept, at most 32, without spaces at the ends."""
    assert safe_name(prompt) == name


def test_times_sort_as_names():
    """They have the year first and no colons."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", timestamp())


def test_sizes_and_digests(tmp_path):
    """A folder's bytes are those of its files; a digest changes with a value, not with the order of names."""
    import torch

    write_text(tmp_path / "x" / "a", "12345")
    write_text(tmp_path / "x" / "y" / "b", "123")
    assert size_bytes(tmp_path / "x") == 8
    one, two = torch.ones(3), torch.zeros((), dtype=torch.bfloat16)
    assert digest({"a": one, "b": two}) == digest({"b": two, "a": one})
    assert digest({"a": one, "b": two}) != digest({"a": one, "b": two + 1})


def test_a_power_cut_after_a_write_keeps_the_name_too(tmp_path, monkeypatch):
    """The folder is flushed after the rename: rolling backups delete the old one only after the new one is on disk."""
    flushed = []
    flush = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, (tmp_path / "backup").exists(), (tmp_path / "model").exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with whole_folder(tmp_path / "backup", marked=False) as folder:
        (folder / "meta.json").write_text("{}")
    assert flushed[-1] == (tmp_path.stat().st_ino, True, False)
    with whole_file(tmp_path / "model") as file:
        file.write_text("weights")
    assert flushed[-1] == (tmp_path.stat().st_ino, True, True)

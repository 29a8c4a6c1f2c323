"""The cache on disk: what is cleared, and where it is stored if its folders contain other files."""

from __future__ import annotations

import os

import pytest
import torch

from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.engine.data.cache import TensorCache, clear, fingerprint
from onetrainer_gradio.errors import StorageError

KEY = fingerprint({"a": 1})


def put(cache_dir, name="image", key=KEY):
    TensorCache.of(cache_dir, name, 0).put(key, {"x": torch.ones(2)})


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != marker.MARKER)


def test_clearing_removes_what_was_encoded(tmp_path):
    """Encoded images and captions are removed; the folders stay ours."""
    for name in ("image", "text"):
        put(tmp_path, name)
    assert files(tmp_path) == [f"image/{KEY}.safetensors", f"text/{KEY}.safetensors"]
    clear(tmp_path)
    assert files(tmp_path) == []
    put(tmp_path)
    assert files(tmp_path) == [f"image/{KEY}.safetensors"]


@pytest.mark.parametrize("name", ["image", "text", "epoch-1", "other"])
def test_files_of_others_are_never_removed(tmp_path, name):
    """Images, captions, subfolders and links stay, whatever the folder's name."""
    (tmp_path / name / "deep").mkdir(parents=True)
    for path in ("photo.png", "photo.txt", "deep/photo.png", f"{KEY}.png", f"{KEY}.safetensors.bak", "weights.safetensors"):
        (tmp_path / name / path).write_text("mine")
    (tmp_path / "outside.safetensors").write_text("mine")
    (tmp_path / name / f"{fingerprint({'b': 1})}.safetensors").symlink_to(tmp_path / "outside.safetensors")
    before = files(tmp_path)
    clear(tmp_path)
    assert files(tmp_path) == before
    put(tmp_path)
    clear(tmp_path)
    assert files(tmp_path) == before


def test_a_file_that_is_only_called_like_ours_stays(tmp_path):
    """Some programs name models by their SHA-256; in a folder with other files, these aren't ours either."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / f"{KEY}.safetensors").write_text("a model")
    (tmp_path / "image" / "photo.png").write_text("mine")
    put(tmp_path)
    clear(tmp_path)
    assert files(tmp_path) == [f"image/{KEY}.safetensors", "image/photo.png"]


def test_other_files_get_company_in_a_subfolder_only(tmp_path):
    """Encoded images are found in the subfolder again, and cleared there."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "photo.png").write_text("mine")
    put(tmp_path)
    assert files(tmp_path) == [f"image/onetrainer_gradio/{KEY}.safetensors", "image/photo.png"]
    assert TensorCache.of(tmp_path, "image", 0).get(KEY) is not None


def test_a_cache_of_before_there_were_markers_is_cleared(tmp_path):
    """A folder with only encoded images is ours without a marker."""
    put(tmp_path)
    (tmp_path / marker.MARKER).unlink()
    clear(tmp_path)
    assert files(tmp_path) == []


def test_images_that_are_added_to_a_cache_later_stay(tmp_path):
    """The marker only makes files with our names ours."""
    put(tmp_path)
    (tmp_path / "image" / "photo.png").write_text("mine")
    clear(tmp_path)
    assert files(tmp_path) == ["image/photo.png"]


def test_a_missing_cache_and_a_file_in_its_place_are_no_trouble(tmp_path):
    """There is nothing to clear."""
    clear(tmp_path / "none")
    (tmp_path / "image").write_text("mine")
    clear(tmp_path)
    assert os.listdir(tmp_path) == ["image"]


def test_a_file_in_the_place_of_a_cache_folder_is_named(tmp_path):
    """The error names the file and the setting, and the file stays."""
    (tmp_path / "image").write_text("mine")
    with pytest.raises(StorageError, match="image is a file") as error:
        put(tmp_path)
    assert error.value.path == "cache_dir"
    assert (tmp_path / "image").read_text() == "mine"


def test_clearing_removes_what_a_kill_left_of_the_marker(tmp_path):
    """Once no process can be writing the marker's temporary file, it is
    removed; other programs' files with that extension stay.
    """
    put(tmp_path)
    left, fresh, other = (
        tmp_path / f".{name}.tmp" for name in (f"{marker.MARKER}.0123abcd", f"{marker.MARKER}.4567abcd", "mine")
    )
    for path in (left, fresh, other):
        path.write_text("{")
    for path in (left, other):
        os.utime(path, (0, 0))
    clear(tmp_path)
    assert [path.exists() for path in (left, fresh, other)] == [False, True, True]

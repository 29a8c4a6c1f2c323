"""The images of a dataset in pages: filters, order, and what is read for them.

Covers ``service/datasets/thumbnails.py``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from onetrainer_gradio.errors import ConfigValueError, ForbiddenPathError, PathNotFoundError
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.image_index import EXCLUDED, ImageIndex, Query
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.datasets.thumbnails import Thumbnails
from tests.config.preflight import add_image

FOLDER = "cats"


IndexOf = Callable[..., ImageIndex]


@pytest.fixture
def index_of(decoder: ImageDecoder) -> IndexOf:
    """Return a function that makes an index over a folder, with its thumbnails."""

    def made(base: Path, roots: tuple[Path, ...] = ()) -> ImageIndex:
        library = DatasetLibrary(base, roots)
        return ImageIndex(library, Thumbnails(base / "cache", decoder, library.allowed))

    return made


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER
    (folder / "sub").mkdir(parents=True)
    add_image(folder / "image 2.png", (64, 96), caption="sks cat, red")
    add_image(folder / "image 10.png", (96, 64), caption="sks cat, blue, red")
    add_image(folder / "image 1.png", (64, 64), caption=None)
    add_image(folder / "sub" / "d.png", (128, 128), caption="a dog")
    add_image(folder / "image 2-masklabel.png", (64, 96), caption=None)
    (folder / "broken.png").write_bytes(b"no image")
    return tmp_path


def paths(index: ImageIndex, **query: Any) -> list[str]:
    return [image["path"] for image in index.page(FOLDER, Query(**query))["images"]]


def test_a_page_has_everything_about_its_images(base: Path, index_of: IndexOf) -> None:
    """Names with numbers are sorted numerically; masks are not listed as images."""
    page = index_of(base).page(FOLDER, Query(), offset=1, limit=3)
    assert (page["total"], page["matches"], page["offset"], page["complete"], page["writable"]) == (5, 5, 1, True, True)
    assert [image["path"] for image in page["images"]] == ["image 1.png", "image 2.png", "image 10.png"]
    bare, two, _ = page["images"]
    assert (bare["caption"], bare["caption_version"], bare["masked"]) == (None, "", False)
    assert (two["caption"], two["width"], two["height"], two["masked"], two["problem"]) == ("sks cat, red", 64, 96, True, "")
    assert len(two["caption_version"]) == 16


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"search": "CAT"}, ["image 2.png", "image 10.png"]),
        ({"search": "sub/"}, ["sub/d.png"]),
        ({"tag": "red"}, ["image 2.png", "image 10.png"]),
        ({"tag": "cat"}, []),
        ({"caption": "missing"}, ["broken.png", "image 1.png"]),
        ({"caption": "present", "subfolders": False}, ["image 2.png", "image 10.png"]),
        ({"masked": "yes"}, ["image 2.png"]),
        ({"masked": "no", "caption": "present"}, ["image 10.png", "sub/d.png"]),
        ({"aspect": "portrait"}, ["image 2.png"]),
        ({"aspect": "landscape"}, ["image 10.png"]),
        ({"aspect": "square"}, ["image 1.png", "sub/d.png"]),
        ({"smaller_than": 65}, ["image 1.png", "image 2.png", "image 10.png"]),
        ({"broken": True}, ["broken.png"]),
        ({"among": {"image 1.png", "sub/d.png"}}, ["image 1.png", "sub/d.png"]),
        ({"sort": "-pixels"}, ["sub/d.png", "image 2.png", "image 10.png", "image 1.png", "broken.png"]),
        ({"sort": "-name", "subfolders": False}, ["image 10.png", "image 2.png", "image 1.png", "broken.png"]),
        ({"sort": "words", "caption": "present"}, ["sub/d.png", "image 2.png", "image 10.png"]),
    ],
)
def test_a_query_selects_and_sorts(base: Path, query: dict[str, Any], expected: list[str], index_of: IndexOf) -> None:
    """Each filter is tested alone and combined, and each order."""
    assert paths(index_of(base), **query) == expected


def test_excluded_images_are_a_list_of_their_own(base: Path, index_of: IndexOf) -> None:
    """They are in a hidden folder, which no engine scans."""
    (base / FOLDER / EXCLUDED).mkdir()
    add_image(base / FOLDER / EXCLUDED / "x.png", (64, 64), caption="out")
    index = index_of(base)
    assert "x.png" not in str(paths(index))
    assert paths(index, excluded=True) == ["x.png"]


def test_a_change_of_a_file_is_seen(base: Path, index_of: IndexOf) -> None:
    """A changed caption or image is read again, whichever program changed it."""
    index = index_of(base)
    before = index.page(FOLDER, Query(search="red"))
    (base / FOLDER / "image 2.txt").write_text("blue cat now")
    after = index.page(FOLDER, Query(search="blue"))
    assert (before["matches"], after["matches"]) == (2, 2)
    assert after["images"][0]["caption"] == "blue cat now"


@pytest.mark.slow
def test_new_files_are_seen_also_in_folders_that_were_quiet(base: Path, index_of: IndexOf) -> None:
    """An unchanged folder is not scanned again; one with a new, renamed or removed file is."""
    folder = base / FOLDER
    (folder / "empty").mkdir()
    for each in (folder, folder / "sub", folder / "empty"):
        os.utime(each, (1_000_000_000, 1_000_000_000))
    index = index_of(base)
    now = iter(range(0, 10_000_000, 1000))
    index.clock = lambda: float(next(now))
    assert len(paths(index)) == 5
    os.rename(folder / "sub" / "d.png", folder / "sub" / "e.png")
    assert "sub/e.png" in paths(index)
    add_image(folder / "new.png", (64, 64), caption=None)
    assert "new.png" in paths(index)
    add_image(folder / "empty" / "first.png", (64, 64), caption=None)
    assert "empty/first.png" in paths(index)


def test_tags_are_counted_once_per_image(base: Path, index_of: IndexOf) -> None:
    """The most frequent tag is first."""
    (base / FOLDER / "image 2.txt").write_text("sks cat, red, red\nred, small")
    tags = index_of(base).tags(FOLDER, Query())
    assert tags["tags"] == [("red", 2), ("sks cat", 2), ("a dog", 1), ("blue", 1), ("small", 1)]
    assert (tags["total"], tags["images"]) == (5, 5)


def test_what_is_not_allowed_is_reported(base: Path, tmp_path: Path, index_of: IndexOf) -> None:
    """This covers unknown folders and images, invalid values, and folders outside the allowed ones."""
    index = index_of(base)
    with pytest.raises(PathNotFoundError):
        index.page("dogs", Query())
    with pytest.raises(PathNotFoundError):
        index.rows(FOLDER, ["../secret.png"], Query())
    with pytest.raises(ConfigValueError):
        index.page(FOLDER, Query(aspect="round"))
    with pytest.raises(ForbiddenPathError):
        index_of(base, (base / FOLDER / "sub",)).page(str(base / FOLDER), Query())


def test_reading_takes_a_limited_time_and_continues(base: Path, index_of: IndexOf) -> None:
    """An incomplete list is marked, and the next request continues the reading."""
    now = iter(range(10_000))
    index = index_of(base)
    index.clock = lambda: float(next(now))
    assert index.page(FOLDER, Query(sort="pixels"))["complete"] is False


@pytest.mark.exhaustive
@pytest.mark.slow
def test_ten_thousand_images_are_listed_quickly_in_bounded_memory(tmp_path: Path, index_of: IndexOf) -> None:
    """First page, last page, a search and a sort by size each stay within a page's CPU time."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    Image.new("RGB", (64, 48), "red").save(tmp_path / "one.png")
    content = (tmp_path / "one.png").read_bytes()
    for number in range(10_000):
        (folder / f"{number}.png").write_bytes(content)
        (folder / f"{number}.txt").write_text(f"sks cat, tag {number % 97}")
    index = index_of(tmp_path)
    took = {}
    for name, query, offset in (
        ("first", Query(), 0),
        ("last", Query(), 9_900),
        ("search", Query(search="tag 96"), 0),
        ("size", Query(sort="pixels"), 0),
        ("again", Query(search="tag 95", sort="-pixels"), 0),
    ):
        started = time.process_time()
        page = index.page(FOLDER, query, offset)
        while not page["complete"]:
            assert time.process_time() - started < 60, name
            page = index.page(FOLDER, query, offset)
        took[name] = time.process_time() - started
        assert len(page["images"]) == 100, name
    assert took["first"] < 1.0, took
    assert took["last"] < 0.5, took
    assert max(took.values()) < 5.0, took
    print(took)

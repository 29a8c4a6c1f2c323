"""Images move with their captions and masks and can be restored; nothing is deleted or replaced.

Covers ``service/datasets/datasets.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onetrainer_gradio.config.dataset.files import scan_folder
from onetrainer_gradio.errors import ConfigValueError, PathNotFoundError
from onetrainer_gradio.service.datasets.datasets import Datasets
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.image_index import EXCLUDED, Query
from tests.config.preflight import add_image
from tests.service.datasets.test_captions import datasets_in

CATS = "cats"
EVERY = Query()


@pytest.fixture
def datasets(tmp_path: Path, decoder: ImageDecoder) -> Iterator[Datasets]:
    (tmp_path / CATS / "sub").mkdir(parents=True)
    (tmp_path / "dogs").mkdir()
    add_image(tmp_path / CATS / "a.png", (64, 64), caption="a")
    add_image(tmp_path / CATS / "a-masklabel.png", (64, 64), caption=None)
    add_image(tmp_path / CATS / "sub" / "b.png", (64, 64), caption="b")
    add_image(tmp_path / CATS / "twin.png", (64, 64), caption="shared")
    add_image(tmp_path / CATS / "twin.jpg", (64, 64), caption=None)
    found = datasets_in(tmp_path, decoder)
    yield found
    found.close()


def files(folder: Path) -> list[str]:
    """Return the visible files of a folder."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith("."))


@pytest.mark.slow
def test_the_trash_holds_image_caption_and_mask_until_they_are_restored(datasets: Datasets, tmp_path: Path) -> None:
    """The files keep their relative paths, also in subfolders."""
    before = files(tmp_path / CATS)
    trashed = datasets.moves.trash(CATS, ["a.png", "sub/b.png"], EVERY)
    assert (trashed["moved"], files(tmp_path / CATS)) == (2, ["twin.jpg", "twin.png", "twin.txt"])
    (entry,) = datasets.moves.trash_entries(CATS)
    assert (entry["id"], entry["count"], entry["reason"]) == (trashed["entry"], 5, "Deleted")
    assert datasets.moves.restore(CATS, entry["id"]) == {"restored": 5, "skipped": []}
    assert files(tmp_path / CATS) == before
    assert datasets.moves.trash_entries(CATS) == []


def test_restoring_replaces_nothing(datasets: Datasets, tmp_path: Path) -> None:
    """A file whose name is taken stays in the trash."""
    entry = datasets.moves.trash(CATS, ["a.png"], EVERY)["entry"]
    (tmp_path / CATS / "a.txt").write_text("new")
    restored = datasets.moves.restore(CATS, entry)
    assert (restored["restored"], restored["skipped"]) == (2, [["a.txt", "a file with this name exists again"]])
    assert (tmp_path / CATS / "a.txt").read_text() == "new"
    for wrong in ("", "..", "../..", "x", f"{entry}/../x"):
        with pytest.raises(PathNotFoundError):
            datasets.moves.restore(CATS, wrong)


@pytest.mark.slow
def test_a_caption_that_two_images_share_stays_with_the_other_one(datasets: Datasets, tmp_path: Path) -> None:
    """The caption moves with the last of its images."""
    datasets.moves.trash(CATS, ["twin.jpg"], EVERY)
    assert "twin.txt" in files(tmp_path / CATS)
    datasets.moves.trash(CATS, ["twin.png"], EVERY)
    assert "twin.txt" not in files(tmp_path / CATS)


def test_an_excluded_image_is_not_scanned_for_training(datasets: Datasets, tmp_path: Path) -> None:
    """The engine's scan doesn't find it; it can be included again."""
    before = files(tmp_path / CATS)
    assert datasets.moves.exclude(CATS, ["a.png"], EVERY)["moved"] == 3
    assert "a.png" not in [item.name for item in scan_folder(tmp_path / CATS, True).items]
    assert (tmp_path / CATS / EXCLUDED / "a.txt").read_text() == "a"
    with pytest.raises(ConfigValueError):
        datasets.moves.include(CATS, ["a.png"], EVERY)
    datasets.moves.include(CATS, ["a.png"], Query(excluded=True))
    assert files(tmp_path / CATS) == before


def test_images_move_to_another_folder_under_a_free_name(datasets: Datasets, tmp_path: Path) -> None:
    """The caption and the mask get the same name."""
    add_image(tmp_path / "dogs" / "a.png", (64, 64), caption="dog")
    moved = datasets.moves.move(CATS, ["a.png", "sub/b.png"], EVERY, "dogs")
    assert moved == {"moved": 5, "skipped": []}
    assert files(tmp_path / "dogs") == [
        "a (2)-masklabel.png",
        "a (2).png",
        "a (2).txt",
        "a.png",
        "a.txt",
        "sub/b.png",
        "sub/b.txt",
    ]
    assert (tmp_path / "dogs" / "a (2).txt").read_text() == "a"
    with pytest.raises(ConfigValueError):
        datasets.moves.move("dogs", None, EVERY, "dogs")

"""Captions are edited as requested, never overwrite another program's change, and can be restored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onetrainer_gradio.errors import CaptionConflictError, ConfigValueError, ForbiddenPathError, NothingToUndoError
from onetrainer_gradio.service.datasets.caption_edits import CaptionEdit, edited
from onetrainer_gradio.service.datasets.datasets import Datasets
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.image_index import Query
from onetrainer_gradio.service.datasets.library import DatasetLibrary
from onetrainer_gradio.service.datasets.thumbnails import Thumbnails
from tests.config.preflight import add_image

CATS = "cats"
EVERY = Query()


def datasets_in(base: Path, decoder: ImageDecoder, *, writable: bool = True) -> Datasets:
    """Return the datasets of a data folder."""
    library = DatasetLibrary(base, (), lambda folder: writable)
    return Datasets(base, (), Thumbnails(base / "cache", decoder, library.allowed), decoder, library)


@pytest.fixture
def datasets(tmp_path: Path, decoder: ImageDecoder) -> Iterator[Datasets]:
    (tmp_path / CATS).mkdir()
    for name, caption in (("a", "sks cat, red"), ("b", "sks cat, Blue, red\na cat\n"), ("c", None)):
        add_image(tmp_path / CATS / f"{name}.png", (64, 64), caption=caption)
    found = datasets_in(tmp_path, decoder)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        ({"kind": "replace", "find": "RED", "to": "green"}, "red, bored\r\nred", "green, bogreen\r\ngreen"),
        ({"kind": "replace", "find": "red", "to": r"\1", "whole_word": True}, "red, bored", r"\1, bored"),
        ({"kind": "replace", "find": "Red", "to": "x", "match_case": True}, "red, Red", "red, x"),
        ({"kind": "add_tags", "tags": ("new", "a")}, "a,b", "a, b, new"),
        ({"kind": "add_tags", "tags": ("new",), "first": True}, "a\nb\n", "new, a\nnew, b\n"),
        ({"kind": "add_tags", "tags": ("new",)}, "", "new"),
        ({"kind": "remove_tags", "tags": ("b", "x")}, "a,  b ,c", "a, c"),
        ({"kind": "remove_tags", "tags": ("x",)}, "a,  b ,c", "a,  b ,c"),
        ({"kind": "rename_tag", "find": "a", "to": "b"}, "a, b, c", "b, c"),
        ({"kind": "order_tags", "tags": ("c", "b")}, "a, b, c", "c, b, a"),
        ({"kind": "order_tags"}, "b, a, C", "a, b, C"),
        ({"kind": "trigger", "to": "sks"}, "a, sks, b", "sks, a, b"),
        ({"kind": "trigger", "to": "sks"}, "sks cat, b", "sks cat, b"),
        ({"kind": "trigger", "to": "sks"}, "sksy cat", "sks, sksy cat"),
        ({"kind": "remove_duplicates"}, "a, b, a", "a, b"),
        ({"kind": "set", "to": "a cat"}, "x", "a cat"),
        ({"kind": "add_tags", "tags": ("b",), "delimiter": ";"}, "a, x", "a, x; b"),
    ],
)
def test_an_edit_changes_each_line(edit: dict, before: str, after: str) -> None:
    """Line endings, spaces and everything else stay the same."""
    assert edited(before, CaptionEdit(**edit)) == after


@pytest.mark.parametrize(
    "edit",
    [
        {"kind": "x"},
        {"kind": "replace"},
        {"kind": "add_tags", "tags": (" ",)},
        {"kind": "trigger"},
        {"kind": "set", "to": "a\nb"},
    ],
)
def test_an_edit_that_makes_no_sense_is_rejected(edit: dict) -> None:
    with pytest.raises(ConfigValueError):
        edited("a", CaptionEdit(**edit))


def test_a_caption_is_written_at_the_version_that_was_read(datasets: Datasets, tmp_path: Path) -> None:
    """An image without a caption gets a new file, and nothing else in the folder changes."""
    read = datasets.captions.read(CATS, "a.png")
    written = datasets.captions.write(CATS, "a.png", "sks cat, grün", read["version"])
    assert (tmp_path / CATS / "a.txt").read_text("utf-8") == "sks cat, grün"
    assert datasets.captions.write(CATS, "a.png", "again", written["version"])["version"] != written["version"]
    assert datasets.captions.read(CATS, "c.png")["version"] == ""
    datasets.captions.write(CATS, "c.png", "new", "")
    assert sorted(path.name for path in (tmp_path / CATS).iterdir()) == ["a.png", "a.txt", "b.png", "b.txt", "c.png", "c.txt"]


def test_a_change_of_another_program_is_not_overwritten(datasets: Datasets, tmp_path: Path) -> None:
    """The error contains both texts; with the new version the caption can be written."""
    read = datasets.captions.read(CATS, "a.png")
    (tmp_path / CATS / "a.txt").write_text("from elsewhere")
    with pytest.raises(CaptionConflictError) as error:
        datasets.captions.write(CATS, "a.png", "mine", read["version"])
    assert (error.value.value["yours"], error.value.value["theirs"]) == ("mine", "from elsewhere")
    assert (tmp_path / CATS / "a.txt").read_text() == "from elsewhere"
    datasets.captions.write(CATS, "a.png", "mine", error.value.value["version"])
    assert (tmp_path / CATS / "a.txt").read_text() == "mine"
    with pytest.raises(CaptionConflictError):
        datasets.captions.write(CATS, "c.png", "x", read["version"])


def test_many_captions_change_after_a_preview_and_back(datasets: Datasets, tmp_path: Path) -> None:
    """The preview writes nothing; undo restores each text and removes created files."""
    before = {path.name: path.read_bytes() for path in (tmp_path / CATS).iterdir()}
    edit = CaptionEdit("trigger", to="ohwx")
    preview = datasets.captions.change(CATS, None, EVERY, edit, preview=True)
    assert (preview["changed"], preview["examples"][0]) == (
        3,
        {"path": "a.png", "before": "sks cat, red", "after": "ohwx, sks cat, red"},
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / CATS).iterdir()} == before
    assert datasets.captions.undoable(CATS) is None
    datasets.captions.change(CATS, None, EVERY, edit)
    assert (tmp_path / CATS / "b.txt").read_text() == "ohwx, sks cat, Blue, red\nohwx, a cat\n"
    assert datasets.captions.undoable(CATS)["images"] == 3
    assert datasets.captions.undo(CATS)["undone"] == 3
    assert {path.name: path.read_bytes() for path in (tmp_path / CATS).iterdir()} == before
    with pytest.raises(NothingToUndoError):
        datasets.captions.undo(CATS)


def test_undo_leaves_what_was_changed_since(datasets: Datasets, tmp_path: Path) -> None:
    """The response reports the skipped files."""
    datasets.captions.change(CATS, ["a.png", "b.png"], EVERY, CaptionEdit("replace", find="red", to="x"))
    (tmp_path / CATS / "a.txt").write_text("later")
    undone = datasets.captions.undo(CATS)
    assert (undone["undone"], undone["skipped"]) == (1, [["a.png", "it was changed in the meantime"]])
    assert (tmp_path / CATS / "a.txt").read_text() == "later"


@pytest.mark.slow
def test_saving_while_typing_is_one_change(datasets: Datasets, tmp_path: Path, decoder: ImageDecoder) -> None:
    """Quick autosaves of the same caption are undone together, even after a restart."""
    version = datasets.captions.read(CATS, "a.png")["version"]
    for text in ("s", "sk", "sks"):
        version = datasets.captions.write(CATS, "a.png", text, version)["version"]
    again = datasets_in(tmp_path, decoder)
    assert again.captions.undo(CATS)["undone"] == 1
    assert (tmp_path / CATS / "a.txt").read_text() == "sks cat, red"


def test_a_read_only_folder_stays_untouched(tmp_path: Path, datasets: Datasets, decoder: ImageDecoder) -> None:
    """Every change is rejected before the first file is written."""
    locked = datasets_in(tmp_path, decoder, writable=False)
    before = {path: path.read_bytes() for path in (tmp_path / CATS).iterdir()}
    for change in (
        lambda: locked.captions.write(CATS, "a.png", "x", ""),
        lambda: locked.captions.change(CATS, None, EVERY, CaptionEdit("set", to="x")),
        lambda: locked.captions.undo(CATS),
        lambda: locked.moves.trash(CATS, ["a.png"], EVERY),
        lambda: locked.moves.exclude(CATS, ["a.png"], EVERY),
        lambda: locked.edits.edit(CATS, "a.png", rotate=90),
        lambda: locked.edits.put_mask(CATS, "a.png", b"x"),
    ):
        with pytest.raises(ForbiddenPathError, match="read-only"):
            change()
    assert {path: path.read_bytes() for path in (tmp_path / CATS).iterdir()} == before


def test_the_demo_images_are_read_only(datasets: Datasets) -> None:
    """They belong to the installed package."""
    with pytest.raises(ForbiddenPathError, match="read-only"):
        datasets.moves.trash(str(Path(__file__).parents[3] / "onetrainer_gradio" / "demo" / "images"), None, EVERY)

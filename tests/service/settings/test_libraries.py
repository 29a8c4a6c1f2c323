"""Preset folders in addition to the panel's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onetrainer_gradio.errors import ConfigFileError, ConfigNotFoundError, ConfigValueError, ForbiddenPathError, StorageError
from onetrainer_gradio.service.settings.configs import ConfigStore
from onetrainer_gradio.service.settings.libraries import Libraries


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    """A folder like a checkout's, with presets and other files."""
    folder = tmp_path / "OneTrainer" / "training_presets"
    folder.mkdir(parents=True)
    (folder / "#sd 1.5 LoRA.json").write_text(json.dumps({"model_type": "STABLE_DIFFUSION_15", "training_method": "LORA"}))
    (folder / "mine.json").write_text(json.dumps({"learning_rate": 0.5, "optimizer": "ADAFACTOR"}))
    (folder / "concepts.json").write_text("[]")
    (folder / "window.json").write_text('{"width": 800}')
    (folder / "notes.txt").write_text("no preset")
    return folder


@pytest.mark.slow
def test_a_folder_of_presets_is_offered_read_only_and_remembered(tmp_path: Path, presets: Path) -> None:
    """Its presets are listed under its name, can be opened, and are available after a restart."""
    store = ConfigStore(tmp_path / "data")
    library = store.libraries.add(presets)
    assert (library.title, library.folder) == ("OneTrainer", presets)
    before = {path: path.read_bytes() for path in presets.iterdir()}
    again = ConfigStore(tmp_path / "data")
    offered = {item["name"]: item["summary"] for item in again.list() if item["kind"] == "library"}
    assert list(offered) == ["OneTrainer/mine", "OneTrainer/#sd 1.5 LoRA"]
    assert offered["OneTrainer/#sd 1.5 LoRA"]["model"] == "SD1.5"
    assert again.load("OneTrainer/mine").config["learning_rate"] == 0.5
    with pytest.raises(ConfigNotFoundError):
        again.delete("OneTrainer/mine")
    assert {path: path.read_bytes() for path in presets.iterdir()} == before


def test_adding_twice_is_once_and_titles_are_distinguished(tmp_path: Path, presets: Path) -> None:
    """The same folder is one library; another folder with the same name, or with a model family's name, gets a number."""
    libraries = Libraries(tmp_path / "libraries.json", taken=["SDXL"])
    first = libraries.add(presets)
    assert libraries.add(f"{presets}/../training_presets") == first
    other = tmp_path / "second" / "OneTrainer"
    other.mkdir(parents=True)
    assert libraries.add(other).title == "OneTrainer 2"
    assert libraries.add(tmp_path / "second", "sdxl").title == "sdxl 2"
    assert libraries.add(tmp_path, " ../a:b ").title == "a b"


def test_a_library_of_something_else_goes_with_it(tmp_path: Path, presets: Path) -> None:
    """A temporary library is offered, can't be removed manually, and is forgotten at the end."""
    file = tmp_path / "libraries.json"
    libraries = Libraries(file)
    assert libraries.add(presets, "Checkout", kept=False).title == "Checkout"
    assert libraries.read("Checkout/mine") == {"learning_rate": 0.5, "optimizer": "ADAFACTOR"}
    with pytest.raises(ConfigValueError, match="belongs to a OneTrainer installation"):
        libraries.remove("Checkout")
    assert [library.title for library in libraries.all()] == ["Checkout"]
    assert Libraries(file).all() == ()
    for _ in range(2):
        libraries.withdraw("Checkout")
    assert libraries.all() == ()


def test_a_disk_that_takes_nothing_changes_nothing(tmp_path: Path, presets: Path) -> None:
    """A saved library is neither added nor removed then; a temporary one needs no disk, so a panel with a checkout starts."""
    (tmp_path / "full").touch()
    libraries = Libraries(tmp_path / "full" / "libraries.json")
    with pytest.raises(StorageError):
        libraries.add(presets)
    assert libraries.all() == ()
    assert libraries.add(presets, kept=False).title == "OneTrainer"
    libraries.withdraw("OneTrainer")
    assert libraries.all() == ()


def test_removing_a_library_leaves_its_files(tmp_path: Path, presets: Path) -> None:
    """It is no longer offered or saved."""
    libraries = Libraries(tmp_path / "libraries.json")
    libraries.add(presets)
    libraries.withdraw("OneTrainer")
    assert libraries.all(), "it belongs to nothing else, so only somebody's hand takes it away"
    libraries.remove("OneTrainer")
    assert Libraries(tmp_path / "libraries.json").all() == ()
    assert (presets / "mine.json").exists()
    with pytest.raises(ConfigNotFoundError):
        libraries.remove("OneTrainer")
    with pytest.raises(ConfigNotFoundError):
        libraries.read("OneTrainer/mine")


def test_what_is_no_folder_or_not_allowed_is_rejected(tmp_path: Path, presets: Path) -> None:
    """The error names the folder; nothing is saved."""
    libraries = Libraries(tmp_path / "libraries.json", roots=[tmp_path / "allowed"])
    with pytest.raises(ForbiddenPathError):
        libraries.add(presets)
    free = Libraries(tmp_path / "libraries.json")
    for folder in ("", presets / "mine.json", tmp_path / "nowhere", "~nobody_of_that_name/x", "a\0b", "a" * 5000):
        with pytest.raises(ConfigValueError) as caught:
            free.add(folder)
        assert caught.value.path == "folder"
    assert free.all() == ()


def test_a_damaged_file_or_a_lost_folder_keeps_nothing_from_working(tmp_path: Path, presets: Path) -> None:
    """An unreadable file is listed with the reason; a missing folder offers nothing until it is back."""
    libraries = Libraries(tmp_path / "libraries.json")
    libraries.add(presets)
    for broken in ("{", '{"model_type": ' + "[" * 100_000):
        (presets / "broken.json").write_text(broken)
        assert "Can't read" in dict(libraries.presets())["OneTrainer/broken"]["note"]
    with pytest.raises(ConfigFileError):
        libraries.read("OneTrainer/broken")
    (presets / "broken.json").write_text('{"learning_rate": 1}')
    assert "note" not in dict(libraries.presets())["OneTrainer/broken"]
    presets.rename(tmp_path / "away")
    assert list(libraries.presets()) == []
    (tmp_path / "away").rename(presets)
    assert len(list(libraries.presets())) == 3


def test_an_unreadable_list_of_libraries_is_begun_again(tmp_path: Path) -> None:
    """A damaged list doesn't keep the panel from starting."""
    file = tmp_path / "libraries.json"
    for text in ("{", "[]", '{"libraries": 7}', '{"libraries": [7, {"title": 1}]}'):
        file.write_text(text)
        assert Libraries(file).all() == ()

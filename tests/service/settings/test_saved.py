"""Saved configurations as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onetrainer_gradio.errors import ConfigExistsError, ConfigNotFoundError, ConfigValueError
from onetrainer_gradio.service.settings.configs import ConfigStore
from onetrainer_gradio.service.settings.libraries import Libraries
from onetrainer_gradio.service.settings.saved import SavedConfigs


@pytest.fixture
def saved(tmp_path: Path) -> SavedConfigs:
    found = SavedConfigs(tmp_path)
    found.write("mine", {"epochs": 1})
    return found


def test_nothing_is_overwritten_unasked(saved: SavedConfigs) -> None:
    """An existing name, in any case, is rejected unless overwriting is requested."""
    for name in ("mine", "Mine"):
        with pytest.raises(ConfigExistsError, match="mine") as caught:
            saved.write(name, {"epochs": 2}, over=False)
        assert caught.value.path == "name"
    assert saved.read("mine") == {"epochs": 1}
    assert saved.write("MINE", {"epochs": 2}) == "mine"
    assert [*saved.files()] == ["mine"]
    assert saved.read("mine") == {"epochs": 2}


def test_renaming_moves_the_file_whole(saved: SavedConfigs) -> None:
    """The old name is gone, the new one has the contents; no other file is ever lost."""
    saved.write("other", {"epochs": 3})
    assert saved.rename("mine", " yours.json ") == "yours"
    assert {name: saved.read(name) for name in saved.files()} == {"other": {"epochs": 3}, "yours": {"epochs": 1}}
    with pytest.raises(ConfigExistsError):
        saved.rename("yours", "Other")
    with pytest.raises(ConfigValueError):
        saved.rename("yours", "../out")
    with pytest.raises(ConfigNotFoundError):
        saved.rename("mine", "again")
    assert saved.rename("yours", "Yours") == "Yours"


@pytest.mark.parametrize(
    ("name", "copy"),
    [("mine", "mine copy"), ("mine copy 3", "mine copy"), ("SD 1.5/LoRA 8 GB", "SD 1.5 LoRA 8 GB copy"), ("OT/#x", "OT x copy")],
)
def test_a_copy_gets_a_name_of_its_own(saved: SavedConfigs, name: str, copy: str) -> None:
    """It is derived from the original's name, with a number if it exists."""
    assert saved.free_name(name) == copy
    saved.write(copy, {})
    assert saved.free_name(name) == f"{copy} 2"


@pytest.mark.slow
def test_the_settings_in_the_form_follow_a_new_name(tmp_path: Path) -> None:
    """Renaming the open configuration renames it in the form, and changes no setting."""
    store = ConfigStore(tmp_path)
    store.save("mine")
    store.patch({"epochs": 7})
    assert store.rename("mine", "yours") == "yours"
    document = store.current()
    assert (document.name, document.changed) == ("yours", ("epochs",))
    store.duplicate("yours")
    assert store.name() == "yours"
    with pytest.raises(ConfigNotFoundError):
        store.rename("SDXL/LoRA 8 GB", "mine")


@pytest.mark.slow
def test_presets_of_any_kind_are_duplicated_into_saved_ones(tmp_path: Path) -> None:
    """A copy of a preset opens as the original does; an invalid name is an error that names it."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({"learning_rate": 0.5}))
    libraries = Libraries(tmp_path / "libraries.json")
    libraries.add(folder, "Mine")
    store = ConfigStore(tmp_path / "data", libraries=libraries)
    for name, kind in (("SDXL/LoRA 8 GB", "preset"), ("Mine/a", "library")):
        copy = store.duplicate(name, kind=kind)
        assert store.as_opened(store.read(copy, "saved")) == store.as_opened(store.read(name, kind))
    assert store.duplicate("Mine/a", "b") == "b"
    with pytest.raises(ConfigExistsError):
        store.duplicate("Mine/a", "b")
    with pytest.raises(ConfigNotFoundError):
        store.duplicate("Mine/a", kind="saved")


@pytest.mark.slow
def test_exports_hold_lists_only_when_packed(tmp_path: Path) -> None:
    """A saved configuration is exported as settings only or with concepts and samples; the form doesn't change."""
    store = ConfigStore(tmp_path)
    store.patch({"concepts": [{"name": "red"}], "epochs": 3})
    store.save("mine")
    store.patch({"epochs": 4})
    packed = store.export(name="mine")
    assert (packed["epochs"], packed["concepts"][0]["name"]) == (3, "red")
    alone = store.export(packed=False, name="mine")
    assert alone == packed | {"concepts": None, "samples": None}
    assert store.export(packed=False)["epochs"] == 4

"""Undo and redo: every change can be undone, and a reload or a damaged file doesn't matter.

Covers ``config/files/overlay.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config.files.presets import DEMO_PRESET, preset_files
from onetrainer_gradio.errors import NothingToUndoError, RevisionConflictError
from onetrainer_gradio.service.settings.configs import ConfigStore
from onetrainer_gradio.service.settings.history import History, entries_between, with_entries

CONCEPTS = [{"name": "dog", "path": "/images/dog"}, {"name": "cat", "path": "/images/cat"}]
SAMPLES = [{"prompt": "my own prompt"}]
OTHER = "SDXL/LoRA 12 GB"


@pytest.fixture
def store(tmp_path: Path) -> ConfigStore:
    """Settings with concepts, samples and one edit of the user."""
    store = ConfigStore(tmp_path)
    store.patch({"concepts": CONCEPTS, "samples": SAMPLES})
    store.patch({"save_filename_prefix": "mine-"})
    return store


def names(store: ConfigStore) -> tuple[list[str], list[str]]:
    """Return the names of the concepts and the prompts of the samples."""
    config = store.current().config
    return [concept["name"] for concept in config["concepts"]], [sample["prompt"] for sample in config["samples"]]


KEPT = (["dog", "cat"], ["my own prompt"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in preset_files() if "/" in name][::6])
def test_opening_a_preset_keeps_concepts_samples_and_what_it_does_not_set(store: ConfigStore, name: str) -> None:
    """A preset changes only what it sets; one undo restores everything."""
    before = store.current()
    opened = store.load(name)
    assert names(store) == KEPT
    assert (opened.config["save_filename_prefix"], opened.name) == ("mine-", name)
    assert "save_filename_prefix" in opened.changed
    assert not {"concepts", "samples"} & set(opened.changed)
    undone = store.undo(opened.revision)
    assert (undone.config, undone.name, undone.changed) == (before.config, before.name, before.changed)
    redone = store.redo()
    assert (redone.config, redone.name, redone.changed) == (opened.config, opened.name, opened.changed)


@pytest.mark.slow
def test_an_import_without_lists_and_a_reset_keep_them_too(store: ConfigStore) -> None:
    """A file without concepts doesn't remove them, and neither does null."""
    before = store.current().config
    for more in ("", ', "__version": 11, "concepts": null, "samples": null', ', "concepts": []'):
        store.import_json(f'{{"epochs": 5{more}}}', name="theirs")
        assert store.current().config["epochs"] == 5
        assert names(store)[1] == KEPT[1]
        assert names(store)[0] == ([] if "[]" in more else KEPT[0])
        assert store.undo().config == before
    store.load(OTHER)
    store.patch({"epochs": 77})
    reset = store.reset(store.revision())
    assert names(store) == KEPT
    assert (reset.config["epochs"] == 77, reset.name, reset.changed) == (False, OTHER, ())
    assert store.undo().config["epochs"] == 77


@pytest.mark.slow
def test_reset_goes_back_to_an_imported_file(store: ConfigStore) -> None:
    """This works if the file is no longer in the list; its lists are restored too."""
    store.import_json(json.dumps({"epochs": 5, "concepts": [{"name": "theirs", "path": "/x"}]}), name="theirs.json")
    store.patch({"epochs": 6, "concepts": CONCEPTS})
    reset = store.reset()
    assert (reset.config["epochs"], reset.name, names(store)[0]) == (5, "theirs.json", ["theirs"])


@pytest.mark.slow
def test_two_presets_do_not_mix(store: ConfigStore, tmp_path: Path) -> None:
    """As in OneTrainer, the values of the first preset are replaced, except for the user's edits."""
    store.load(OTHER)
    store.patch({"unet.learning_rate": 0.5})
    mixed = store.load("SD 1.5/LoRA 8 GB").config
    alone = ConfigStore(tmp_path / "alone").load("SD 1.5/LoRA 8 GB").config
    different = {key for key in alone if alone[key] != mixed[key]}
    assert different == {"concepts", "samples", "save_filename_prefix", "unet"}
    assert mixed["unet"] == alone["unet"] | {"learning_rate": 0.5}


@pytest.mark.slow
def test_an_edit_goes_with_what_belongs_to_it(store: ConfigStore, tmp_path: Path) -> None:
    """A number keeps its unit and an optimizer its parameters; a preset that sets one of them sets all."""
    library = tmp_path / "mine"
    library.mkdir()
    (library / "rate.json").write_text('{"learning_rate": 0.25, "save_every": 3, "optimizer": {"optimizer": "LION"}}')
    whole_of = {"model_type": "STABLE_DIFFUSION_15", "training_method": "LORA", "learning_rate": 0.125}
    (library / "whole.json").write_text(json.dumps(whole_of))
    store.libraries.add(library)
    model = store.current().config["model_type"]
    store.patch({"save_every": 9, "save_every_unit": "STEP", "optimizer.optimizer": "ADAMW"})
    store.patch({"optimizer.beta1": 0.5, "backup_after": 7, "backup_after_unit": "MINUTE"})
    part = store.load("mine/rate").config
    assert (part["learning_rate"], part["save_every"], part["optimizer"]["optimizer"]) == (0.25, 3, "LION")
    assert (part["model_type"], part["save_filename_prefix"]) == (model, "mine-"), "a part of a preset changes that part only"
    assert part["save_every_unit"] != "STEP"
    assert part["optimizer"]["beta1"] != 0.5
    whole = store.load("mine/whole").config
    assert (whole["learning_rate"], whole["backup_after"], whole["backup_after_unit"]) == (0.125, 7, "MINUTE")
    assert names(store) == KEPT


@pytest.mark.slow
def test_a_preset_over_a_file_of_ones_own_keeps_the_file(store: ConfigStore) -> None:
    """Saved and imported values belong to the user: a preset changes only what it sets."""
    store.patch({"batch_size": 33, "debug_dir": "mine"})
    store.save("mine")
    opened = store.load("SD 1.5/LoRA 8 GB")
    assert (opened.config["save_filename_prefix"], opened.config["debug_dir"]) == ("mine-", "mine")
    assert opened.config["batch_size"] != 33, "the preset sets it"
    assert names(store) == KEPT
    assert store.undo().name == "mine"


@pytest.mark.slow
def test_a_preset_with_lists_brings_them_only_where_the_user_has_none(store: ConfigStore, tmp_path: Path) -> None:
    """The demo's concepts fill empty lists and leave with the next preset, and never replace the user's."""
    demo = DEMO_PRESET
    store.load(demo)
    assert names(store) == KEPT
    fresh = ConfigStore(tmp_path / "fresh")
    fresh.load(demo)
    theirs = names(fresh)
    assert all(theirs)
    fresh.load(OTHER)
    assert (names(fresh)[0], names(fresh)[1] != theirs[1]) == (theirs[0], True)


@pytest.mark.slow
def test_history_outlives_a_restart(store: ConfigStore, tmp_path: Path) -> None:
    """This includes the position: an undone change can be redone after a restart."""
    start = store.current().config
    store.load(OTHER)
    store.patch({"epochs": 3})
    store.undo()
    again = ConfigStore(tmp_path)
    assert again.current().redo == {"kind": "edit", "paths": ["epochs"]}
    assert {"kind": "open", "of": "preset", "name": OTHER}.items() <= again.current().undo.items()
    assert again.redo().config["epochs"] == 3
    again.undo()
    assert again.undo().config == start
    for _ in range(2):
        again.undo()
    assert again.current().undo is None
    with pytest.raises(NothingToUndoError):
        again.undo()


@pytest.mark.slow
def test_an_edit_after_an_undo_ends_the_redo(store: ConfigStore) -> None:
    """There is only one line of history."""
    store.patch({"epochs": 3})
    store.undo()
    edited = store.patch({"epochs": 4})
    assert edited.redo is None
    with pytest.raises(NothingToUndoError):
        store.redo()
    assert store.undo().config["epochs"] != 4


@pytest.mark.slow
def test_each_undoes_its_own_changes_and_leaves_those_of_others(store: ConfigStore) -> None:
    """Two people edit; without a name, the last change of all is undone."""
    before = store.current().config
    store.patch({"epochs": 3, "concepts.0.name": "wolf"}, by="anna")
    store.patch({"debug_dir": "bert's", "concepts.1.name": "lynx"}, by="bert")
    store.load(OTHER, by="anna")
    store.patch({"lora_rank": 3}, by="bert")
    assert store.current("carl").undo is None
    undone = store.undo(by="anna")
    assert (undone.config["lora_rank"], undone.config["debug_dir"]) == (3, "bert's")
    assert set(undone.undo["paths"]) == {"epochs", "concepts.0.name"}
    undone = store.undo(by="anna").config
    assert (undone["epochs"], names(store)[0], undone["lora_rank"]) == (before["epochs"], ["dog", "lynx"], 3)
    assert store.current("anna").undo is None
    assert store.redo(by="anna").config["epochs"] == 3
    assert store.undo().config["epochs"] == before["epochs"]
    assert store.undo().config["lora_rank"] != 3
    assert store.current("bert").redo == {"kind": "edit", "paths": ["lora_rank"]}


@pytest.mark.slow
def test_an_undo_within_a_list_that_others_changed_touches_nothing_else(store: ConfigStore) -> None:
    """An index in a list is valid only while the list is unchanged."""
    store.patch({"concepts.1.name": "lynx"}, by="anna")
    store.patch({"concepts": [{"name": "new", "path": "/new"}, {"name": "newer", "path": "/newer"}]}, by="bert")
    store.undo(by="anna")
    assert names(store)[0] == ["new", "newer"]


@pytest.mark.slow
def test_an_undo_names_the_revision_it_was_made_on(store: ConfigStore) -> None:
    """A page that hasn't received the last change can't undo it."""
    revision = store.revision()
    store.patch({"epochs": 3})
    for travel in (store.undo, store.redo, store.reset):
        with pytest.raises(RevisionConflictError):
            travel(revision)
    assert store.current().config["epochs"] == 3


@pytest.mark.slow
def test_saving_is_no_step_and_keeps_its_name(store: ConfigStore) -> None:
    """Undo after a save reverts the edit before it; the name stays, and undoing an opening restores the name."""
    store.patch({"epochs": 3})
    store.save("mine")
    undone = store.undo()
    assert (undone.name, "epochs" in undone.changed) == ("mine", True)
    assert store.redo().changed == ()
    store.load(OTHER)
    assert store.undo().name == "mine"
    store.rename("mine", "yours")
    store.load(OTHER)
    assert store.undo().name == "yours"


@pytest.mark.slow
def test_undo_of_what_was_opened_before_a_save_leaves_the_name(store: ConfigStore) -> None:
    """The values are reverted; the settings keep the saved name and are compared with that file."""
    before = store.current().config
    store.load(OTHER)
    store.save("mine")
    undone = store.undo()
    assert (undone.config, undone.name) == (before, "mine")
    assert "model_type" in undone.changed
    assert store.redo().changed == ()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_long_lists_are_not_noted_again_with_each_preset(store: ConfigStore, tmp_path: Path) -> None:
    """The history stores what a change replaced, and a preset replaces no concepts."""
    store.patch({"concepts": [{"path": f"/images/{number}"} for number in range(300)]})
    store.load(OTHER)
    file = tmp_path / "config" / "history.jsonl"
    before = file.stat().st_size
    assert before > 300_000
    store.load("SD 1.5/LoRA 8 GB")
    store.patch({"epochs": 3})
    assert file.stat().st_size - before < 100_000


NO_CHANGE = b'{"number": 3, "kind": "edit", "by": "", "of": 0, "change": 5}'


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"{torn", b"\xff\xfe\x00", b"[" * 50_000, NO_CHANGE], ids=repr)
def test_a_damaged_step_is_skipped(store: ConfigStore, tmp_path: Path, damage: bytes) -> None:
    """Whatever the history file contains, the panel starts, and the other steps are available."""
    before = store.current().config
    store.patch({"epochs": 3})
    store.patch({"batch_size": 4})
    file = tmp_path / "config" / "history.jsonl"
    lines = file.read_bytes().splitlines()
    assert len(lines) == 4
    lines[2] = damage
    file.write_bytes(b"\n".join(lines) + b'\n{"number": 9, "ki')
    again = ConfigStore(tmp_path)
    assert (again.undo().config["batch_size"], again.current().config["epochs"]) == (before["batch_size"], 3)
    assert again.redo().config["batch_size"] == 4
    again.patch({"epochs": 5})
    assert ConfigStore(tmp_path).undo().config["epochs"] == 3


@pytest.mark.slow
def test_a_history_that_is_taken_away_meanwhile_begins_again(store: ConfigStore, tmp_path: Path) -> None:
    """Neither an error nor an empty step results."""
    (tmp_path / "config" / "history.jsonl").write_bytes(b"")
    epochs = store.current().config["epochs"]
    store.patch({"epochs": 3})
    assert store.undo().config["epochs"] == epochs
    with pytest.raises(NothingToUndoError):
        store.undo()


@pytest.mark.slow
def test_a_history_that_cannot_be_written_stops_no_edit(tmp_path: Path) -> None:
    """The edits are saved."""
    (tmp_path / "config" / "history.jsonl").mkdir(parents=True)
    store = ConfigStore(tmp_path)
    store.patch({"epochs": 3})
    assert store.patch({"epochs": 4}).undo is None
    with pytest.raises(NothingToUndoError):
        store.undo()
    assert ConfigStore(tmp_path).current().config["epochs"] == 4


@pytest.mark.slow
def test_a_preset_asked_for_at_the_start_can_be_undone(store: ConfigStore, tmp_path: Path) -> None:
    """Starting with the demo is a step, however often."""
    before = store.current().config
    demo = DEMO_PRESET
    ConfigStore(tmp_path, start_with=demo)
    again = ConfigStore(tmp_path, start_with=demo)
    assert again.name() == demo
    assert again.undo().config == before


def test_the_history_is_bounded(tmp_path: Path) -> None:
    """Number and bytes are limited; the newest steps stay."""
    file = tmp_path / "history.jsonl"
    history = History(file, most=8, max_bytes=2000)
    for number in range(1, 21):
        history.add({"name": number}, kind="edit", by="")
    assert len(file.read_text().splitlines()) <= 8
    assert history.change(history.undoable()) == {"name": 20}
    history.add({"large": "x" * 3000}, kind="edit", by="")
    assert len(file.read_text().splitlines()) == 1
    again = History(file)
    assert again.undoable() == history.undoable()
    assert len(again.change(again.undoable())["large"]) == 3000


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1, "b": {"c": [1, {"d": 2}]}}, {"a": True, "b": {"c": [1, {"d": 3}]}}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({"a": 1}, {"b.c": {"d": None}}),
        ({"a": {"x": 1}}, {"a": None}),
    ],
)
def test_a_change_leads_there_and_back(before: dict, after: dict) -> None:
    """This holds for any two documents."""
    entries = json.loads(json.dumps(list(entries_between(before, after))))
    assert with_entries(before, entries, "after") == after
    assert with_entries(after, entries, "before") == before

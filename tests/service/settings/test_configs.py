"""The settings being edited, saved configurations and presets.

Covers ``service/settings/form.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config.files.presets import preset_files
from onetrainer_gradio.errors import (
    ConfigFileError,
    ConfigInvalidError,
    ConfigNotFoundError,
    ConfigValueError,
    RevisionConflictError,
    StorageError,
)
from onetrainer_gradio.service.engines.preflight import Preflight
from onetrainer_gradio.service.settings.configs import ConfigDocument, ConfigStore, different_paths
from onetrainer_gradio.service.settings.saved import clean_name
from tests.fakes.configs import small_config


@pytest.fixture
def store(tmp_path: Path) -> ConfigStore:
    return ConfigStore(tmp_path)


@pytest.mark.slow
def test_an_edit_raises_the_revision_and_outlives_a_restart(store: ConfigStore, tmp_path: Path) -> None:
    """After a restart, the edit is there with its revision and name."""
    store.save("mine")
    document = store.patch({"epochs": 7, "unet.learning_rate": 2e-5}, store.revision())
    again = ConfigStore(tmp_path)
    assert again.current() == document
    assert (again.current().config["epochs"], again.name(), again.revision()) == (7, "mine", document.revision)


@pytest.mark.slow
def test_what_differs_from_the_source_is_named(store: ConfigStore) -> None:
    """The page marks the changed fields; reverting a change removes the mark."""
    store.save("mine")
    before = store.current().config["epochs"]
    assert store.current().changed == ()
    assert store.patch({"epochs": 7, "optimizer.beta1": 0.8}, store.revision()).changed == ("epochs", "optimizer.beta1")
    store.patch({"epochs": before}, store.revision())
    assert store.current().changed == ("optimizer.beta1",)
    assert store.save("mine").changed == ()


@pytest.mark.slow
def test_two_editors_do_not_overwrite_each_other(store: ConfigStore) -> None:
    """A change names the revision it is based on; the later of two is rejected."""
    revision = store.revision()
    store.patch({"epochs": 7}, revision)
    with pytest.raises(RevisionConflictError, match="Someone else"):
        store.patch({"epochs": 8}, revision)
    assert store.current().config["epochs"] == 7


def test_a_bad_value_changes_nothing(store: ConfigStore) -> None:
    """One wrong value leaves the settings and their revision unchanged."""
    before = store.current()
    with pytest.raises(ConfigInvalidError) as error:
        store.patch({"epochs": 3, "unet.learning_rate": "fast"}, store.revision())
    assert [finding.path for finding in error.value.findings()] == ["unet.learning_rate"]
    assert store.current() == before


@pytest.mark.slow
def test_saved_configurations_can_be_listed_read_loaded_and_deleted(store: ConfigStore) -> None:
    """A name leads to what was saved under it."""
    store.patch({"epochs": 3})
    store.save(" My config.json ")
    store.patch({"epochs": 4})
    assert {"name": "My config", "kind": "saved"}.items() <= next(
        item for item in store.list() if item["kind"] == "saved"
    ).items()
    assert store.read("My config")["epochs"] == 3
    assert store.current().config["epochs"] == 4
    loaded = store.load("My config")
    assert (loaded.config["epochs"], loaded.name, loaded.changed) == (3, "My config", ())
    store.delete("My config")
    with pytest.raises(ConfigNotFoundError):
        store.load("My config")
    with pytest.raises(ConfigNotFoundError):
        store.delete("My config")


@pytest.mark.slow
def test_presets_are_listed_and_cannot_be_deleted(store: ConfigStore) -> None:
    """Every preset can be loaded; none can be deleted."""
    names = [item["name"] for item in store.list() if item["kind"] == "preset"]
    assert names == list(preset_files())
    assert names
    assert store.load(names[0]).name == names[0]
    with pytest.raises(ConfigNotFoundError):
        store.delete(names[0])


@pytest.mark.parametrize("name", ["", "  ", ".json", "..", "../x", "a/b", "a\\b", "con", "x" * 200, "a\nb", "nul", "C:x"])
def test_a_name_cannot_leave_its_folder(store: ConfigStore, tmp_path: Path, name: str) -> None:
    """Path separators and names that a system reserves are rejected."""
    with pytest.raises(ConfigValueError):
        store.save(name)
    assert not list(tmp_path.rglob("*.json"))
    with pytest.raises(ConfigNotFoundError):
        store.read(name)


def test_a_plain_name_stays_as_it_is() -> None:
    """Names may be in any language."""
    assert clean_name("Mein Häuschen (v2) – neu") == "Mein Häuschen (v2) – neu"


@pytest.mark.slow
def test_secrets_never_come_near_a_file(store: ConfigStore, tmp_path: Path) -> None:
    """A token in an imported file is neither saved, nor exported, nor part of the settings being edited."""
    store.import_json(json.dumps({"epochs": 5, "secrets": {"huggingface_token": "hf_verysecret"}}))
    store.save("mine")
    theirs = tmp_path / "configs" / "theirs.json"
    theirs.write_text(json.dumps({"epochs": 5, "secrets": {"huggingface_token": "hf_verysecret"}}))
    store.duplicate("theirs")
    theirs.unlink()
    assert store.train_config().secrets.huggingface_token == ""
    assert "hf_verysecret" not in json.dumps(store.export())
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "hf_verysecret" in path.read_text()]


@pytest.mark.slow
def test_an_import_reports_unknown_keys_and_rejects_what_is_no_configuration(store: ConfigStore) -> None:
    """Loading a file is lenient if nothing is lost, and strict otherwise."""
    document = store.import_json(b'\xef\xbb\xbf{"epochs": 5, "epochz": 6}', name="theirs")
    assert (document.config["epochs"], document.name) == (5, "theirs")
    assert document.problems[0].path == "epochz"
    for text in (b"\xff\xfe", "[1]", "{torn"):
        with pytest.raises(ConfigFileError):
            store.import_json(text)
    with pytest.raises(ConfigInvalidError):
        store.import_json('{"epochs": "many"}')
    assert store.current().config["epochs"] == 5


@pytest.mark.slow
def test_concepts_of_a_file_are_taken_in(store: ConfigStore, tmp_path: Path) -> None:
    """An unpacked configuration becomes packed, and can be exported either way."""
    (tmp_path / "training_concepts").mkdir()
    (tmp_path / "training_concepts" / "concepts.json").write_text('[{"name": "dog", "path": "images"}]')
    store.replace({"concepts": None})
    assert store.current().config["concepts"][0]["name"] == "dog"
    assert store.export(packed=False)["concepts"] is None


@pytest.mark.slow
def test_lists_are_read_inside_the_allowed_folders_only(tmp_path: Path) -> None:
    """A document can't make the panel read a file outside; the check reports that the path is outside."""
    outside = tmp_path / "outside.json"
    outside.write_text('[{"name": "secret"}]')
    roots = (tmp_path / "data",)
    store = ConfigStore(tmp_path / "data", roots=roots, preflight=Preflight(tmp_path / "data", roots))
    document = {"concept_file_name": str(outside)}
    assert store.replace(document).config["concepts"] == []
    assert store.as_opened(document)["concepts"] == []
    found = store.validate(document)
    assert "concept_file_name" in {finding["path"] for finding in found if finding["severity"] == "error"}
    assert "secret" not in str(found)
    assert ConfigStore(tmp_path / "free").replace(document).config["concepts"][0]["name"] == "secret"


@pytest.mark.slow
def test_a_name_can_be_opened_as_what_it_is(store: ConfigStore) -> None:
    """A saved configuration takes precedence over a preset of the same name, unless the preset is requested."""
    name = next(name for name in preset_files() if "/" not in name)
    store.patch({"epochs": 7})
    store.save(name)
    assert store.load(name).config["epochs"] == 7
    assert store.load(name, "preset").config["epochs"] != 7


@pytest.mark.slow
def test_validation_finds_what_the_start_would(store: ConfigStore, tmp_path: Path) -> None:
    """Errors have paths for the current document, another one, and an unreadable one."""
    good = small_config(tmp_path / "good")
    assert not [finding for finding in store.validate(good) if finding["severity"] == "error"]
    store.replace(good.model_copy(update={"base_model_name": "nowhere.safetensors"}))
    assert [finding["path"] for finding in store.validate() if finding["severity"] == "error"] == ["base_model_name"]
    assert store.validate({"epochs": "many"})[0]["path"] == "epochs"


@pytest.mark.slow
def test_defaults_are_those_of_the_model_and_method(store: ConfigStore) -> None:
    """The defaults contain the requested model and method; an unknown model type is an error with its path."""
    assert store.defaults("STABLE_DIFFUSION_15", "FINE_TUNE")["training_method"] == "FINE_TUNE"
    with pytest.raises(ConfigInvalidError) as error:
        store.defaults("STABLE_CONFUSION")
    assert error.value.path == "model_type"


@pytest.mark.slow
def test_viewers_are_notified_of_each_change_and_who_made_it(tmp_path: Path) -> None:
    """Two open pages stay in sync."""
    messages: list[tuple[int, str]] = []

    def tell(document: ConfigDocument, by: str) -> None:
        messages.append((document.revision, by))

    store = ConfigStore(tmp_path, changed=tell)
    store.patch({"epochs": 2}, by="anna")
    store.save("mine", by="bert")
    assert messages == [(2, "anna"), (3, "bert")]


@pytest.mark.slow
def test_an_unreadable_draft_does_not_keep_the_panel_from_starting(tmp_path: Path) -> None:
    """A damaged file is replaced by the defaults."""
    for text in ("{torn", '{"config": {"epochs": "many"}, "revision": 1}', '{"config": 5, "revision": 1}', "[]"):
        path = tmp_path / "config" / "current.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        store = ConfigStore(tmp_path)
        assert store.current().revision == 1
        store.patch({"epochs": 77})
        assert (tmp_path / "config" / "unreadable.json").read_text() == text, "it is kept for whoever can read it"
    path.write_text('{"config": {"epochs": 7}, "revision": 3, "name": ["a"], "origin": 5}')
    assert ConfigStore(tmp_path).current().config["epochs"] == 7


@pytest.mark.slow
def test_a_draft_that_cannot_be_moved_aside_stays(tmp_path: Path) -> None:
    """If nothing can be written, the start fails, and the edits are kept."""
    ConfigStore(tmp_path).patch({"epochs": 77})
    preset = next(name for name in preset_files() if name != ConfigStore(tmp_path).name())
    (tmp_path / "config" / "previous.json").mkdir()
    with pytest.raises(StorageError, match="the last edited settings"):
        ConfigStore(tmp_path, start_with=preset)
    assert ConfigStore(tmp_path).current().config["epochs"] == 77


@pytest.mark.slow
def test_a_preset_asked_for_at_the_start_moves_the_former_draft_aside(tmp_path: Path) -> None:
    """Starting with the demo loses no earlier edits."""
    ConfigStore(tmp_path).patch({"epochs": 77})
    preset = next(name for name in preset_files() if name != ConfigStore(tmp_path).name())
    assert ConfigStore(tmp_path, start_with=preset).name() == preset
    moved_aside = json.loads((tmp_path / "config" / "previous.json").read_text())
    assert moved_aside["config"]["epochs"] == 77


@pytest.mark.slow
def test_a_renamed_preset_is_found_by_its_former_name(tmp_path: Path) -> None:
    """A draft of an earlier version keeps its edits, and a script can still open the preset."""
    current = tmp_path / "config" / "current.json"
    ConfigStore(tmp_path, start_with="Demo LoRA").patch({"epochs": 77})
    current.write_text(json.dumps(json.loads(current.read_text()) | {"name": "demo - new word LoRA"}))
    store = ConfigStore(tmp_path, start_with="Demo LoRA")
    assert (store.name(), store.current().config["epochs"]) == ("Demo LoRA", 77)
    store.load("demo - new word LoRA")
    assert (store.name(), store.current().config["epochs"]) == ("Demo LoRA", 15)


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}, []),
        ({"a": 1, "b": {"c": 2}}, {"a": 2, "b": {"c": 3}}, ["a", "b.c"]),
        ({"l": [{"x": 1}, {"x": 2}]}, {"l": [{"x": 1}, {"x": 3}]}, ["l.1.x"]),
        ({"l": [1]}, {"l": [1, 2]}, ["l"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"b": 1}, ["a", "b"]),
        ({"a": 1}, {"a": 1.0}, []),
    ],
)
def test_differences_are_paths(before: object, after: object, paths: list[str]) -> None:
    """Documents are compared by value, path by path."""
    assert different_paths(before, after) == paths


@pytest.mark.slow
def test_an_optimizer_comes_back_as_it_was_set(store: ConfigStore) -> None:
    """Switching to another optimizer and back restores edits; an optimizer that was never set begins with its defaults."""
    store.patch({"optimizer.optimizer": "ADAMW"})
    store.patch({"optimizer.weight_decay": 0.07})
    other = store.patch({"optimizer.optimizer": "CAME"}).config["optimizer"]
    assert (other["optimizer"], other["beta3"], other["weight_decay"]) == ("CAME", 0.9999, 0.01)
    assert store.patch({"optimizer.optimizer": "ADAMW"}).config["optimizer"]["weight_decay"] == 0.07


@pytest.mark.slow
def test_what_a_preset_set_for_an_optimizer_comes_back_too(store: ConfigStore) -> None:
    """Values from an opened document, not only edits, survive a switch to another optimizer."""
    store.replace({"optimizer": {"optimizer": "ADAMW", "eps": 1e-5}})
    store.patch({"optimizer.optimizer": "LION"})
    assert store.patch({"optimizer.optimizer": "ADAMW"}).config["optimizer"]["eps"] == 1e-5


@pytest.mark.slow
def test_values_sent_with_a_switch_go_over_what_is_remembered(store: ConfigStore) -> None:
    """One change can set an optimizer and its parameters."""
    document = store.patch({"optimizer.optimizer": "LION", "optimizer.beta1": 0.5})
    assert (document.config["optimizer"]["beta1"], document.config["optimizer"]["beta2"]) == (0.5, 0.99)


@pytest.mark.slow
def test_the_defaults_of_an_optimizer_can_be_asked_for(store: ConfigStore) -> None:
    """Its parameters are the defaults again, and the previous values are forgotten."""
    store.patch({"optimizer.optimizer": "ADAMW"})
    store.patch({"optimizer.weight_decay": 0.07})
    document = store.reset_optimizer(store.revision())
    assert document.config["optimizer"]["weight_decay"] == 0.01
    assert "ADAMW" not in document.config["optimizer_defaults"]
    with pytest.raises(RevisionConflictError):
        store.reset_optimizer(document.revision - 1)


def test_an_unknown_name_is_answered_with_the_nearest_few(store: ConfigStore) -> None:
    """Of many presets, the message lists only similar names and the total number."""
    with pytest.raises(ConfigNotFoundError) as caught:
        store.read("sdxl lora 8 gb")
    assert caught.value.expected.startswith(f"one of {len(preset_files())}, for instance ")
    assert "SDXL/LoRA 8 GB" in caught.value.expected
    assert len(caught.value.expected) < 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("mine.json", "mine"),
        ("C:\\files\\my portrait.JSON", "my portrait"),
        ("taken.json", "taken copy"),
        ("Taken.json", "Taken copy"),
        ("../a<b>.json", "a b"),
        (".json", None),
        ("", None),
        ("x" * 300, "x" * 80),
    ],
)
def test_imported_settings_are_called_like_their_file(store: ConfigStore, file_name: str, name: str | None) -> None:
    """The name has no folder or extension; an existing name gets a number, so that Save doesn't overwrite that file."""
    store.save("taken")
    document = store.import_json('{"epochs": 5}', file_name=file_name)
    assert (document.name, document.config["epochs"]) == (name, 5)
    assert store.import_json("{}", file_name="SD 1.5.json").name

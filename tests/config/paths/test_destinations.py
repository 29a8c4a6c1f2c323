"""Where the result of a run may be written: it never replaces files that no run wrote, whichever way a path leads there.

Covers ``config/paths/real_paths.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.resolve import resolve_paths
from onetrainer_gradio.config.options import RunOptions as Options
from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.config.paths.destinations import Destinations
from tests.config.preflight import config_with, findings, furnish

WHOLE = {"training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS", "layer_filter": "", "layer_filter_preset": "full"}
TO = "output_model_destination"


@pytest.fixture
def place(tmp_path):
    """A data folder with a model and images, separate from the home folder."""
    place = tmp_path / "data"
    place.mkdir()
    return furnish(place)


def errors(place: Path, *changes: dict, **kwargs: object):
    return [item for item in findings(place, *changes, **kwargs) if item.severity == "error" and item.path == TO]


def objection(place: Path, *changes: dict):
    return Destinations(config_with(*changes), place, place).objection()


PROTECTED = [
    ("images", "the image folder of a concept"),
    ("images/", "the same with a slash at the end"),
    ("./images/../images", "the same with dots"),
    ("images/new", "inside of it"),
    ("images/deep/er/new", "deep inside of it"),
    (".", "the data folder"),
    ("..", "what contains the data folder"),
    ("/", "the root"),
    ("~", "the home folder"),
    ("model", "the base model"),
    ("model/unet", "inside of the base model"),
    ("workspace/run", "the workspace"),
    ("workspace", "what contains the workspace"),
    ("workspace/run/backup", "the backups"),
    ("workspace/run/backup/new", "inside of the backups"),
    ("workspace/run/samples/new", "inside of the samples"),
    ("workspace-cache/run", "the cache"),
    ("workspace-cache/run/new", "inside of the cache"),
    ("workspace-cache", "what contains the cache"),
    ("runs/new", "inside of the panel's runs"),
    ("config/new", "inside of the panel's configuration"),
    ("cache", "the panel's cache"),
]


@pytest.mark.slow
@pytest.mark.parametrize("value", [row[0] for row in PROTECTED], ids=[row[1] for row in PROTECTED])
def test_a_model_folder_never_replaces_what_no_run_wrote(place, value):
    """Each is an error before anything is written, with a suggested name that is free and valid."""
    (found,) = errors(place, WHOLE, {TO: value})
    assert found.code == "output-protected"
    assert not os.path.lexists(place / found.fix[TO])
    assert errors(place, WHOLE, dict(found.fix)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", ["images/x.safetensors", "model/x.safetensors", "workspace-cache/run/x.safetensors", "runs/x.safetensors"]
)
def test_a_single_file_is_not_put_among_what_is_read(place, value):
    """Images, base model, cache and the panel's own folders accept no result; the suggested name has the right extension."""
    (found,) = errors(place, {TO: value})
    assert found.code == "output-protected"
    assert found.fix[TO].endswith(".safetensors")
    assert errors(place, dict(found.fix)) == []


@pytest.mark.slow
def test_a_folder_of_images_takes_no_single_file_either(place):
    """In an existing folder the file is named by the time, but not in one that is trained on."""
    (found,) = errors(place, {TO: "images"})
    assert found.code == "output-protected"
    assert errors(place, dict(found.fix)) == []


@pytest.mark.slow
@pytest.mark.parametrize("value", ["workspace/run", "workspace/run/save/x.safetensors", "models/x.safetensors", "x.safetensors"])
def test_single_files_may_go_next_to_what_is_protected(place, value):
    """A file contains nothing, so the folders around it are safe."""
    (place / "workspace" / "run").mkdir(parents=True)
    assert errors(place, {TO: value}) == []


@pytest.mark.parametrize("value", ["pictures/..", "model/..", "pictures/deep/../.."])
def test_dots_that_lead_out_of_a_protected_folder_are_resolved(place, value):
    """A single file is written into the folder that the path leads to, not into one on the path."""
    assert objection(place, {TO: value}) is None


@pytest.mark.slow
@pytest.mark.parametrize("value", ["workspace/run/model", "models/new", "new", "workspace/run/save/new"])
def test_a_new_folder_is_fine(place, value):
    """This includes one in the workspace, next to the folders that the run fills."""
    assert errors(place, WHOLE, {TO: value}) == []


@pytest.mark.slow
def test_links_are_followed(place, tmp_path):
    """This covers a link to the images, a parent folder that is a link, and a link in the concept's path."""
    (place / "innocent").symlink_to(place / "images")
    (place / "door").symlink_to(place)
    for value in ("innocent", "innocent/new", "door/images", "door/innocent", "door/model"):
        assert [item.code for item in errors(place, WHOLE, {TO: value})] == ["output-protected"], value
    (tmp_path / "elsewhere").mkdir()
    (place / "linked").symlink_to(tmp_path / "elsewhere")
    assert errors(place, WHOLE, {"concepts.0.path": "linked", TO: str(tmp_path / "elsewhere" / "new")})
    (place / "circle").symlink_to(place / "circle")
    assert [item.code for item in errors(place, WHOLE, {TO: "circle"})] == ["output-protected"]
    assert [item.code for item in errors(place, WHOLE, {TO: "circle/new"})] == ["output-protected"]


@pytest.mark.slow
def test_a_file_that_is_a_link_into_a_protected_place_is_rejected(place):
    """Neither the link to the base model nor its target is replaced; a link elsewhere is reported."""
    (place / "model" / "weights.safetensors").write_bytes(b"weights")
    (place / "out.safetensors").symlink_to(place / "model" / "weights.safetensors")
    assert [item.code for item in errors(place, {TO: "out.safetensors"})] == ["output-protected"]
    (place / "mine.safetensors").write_bytes(b"mine")
    (place / "link.safetensors").symlink_to("mine.safetensors")
    notes = {item.code: item for item in findings(place, {TO: "link.safetensors"})}
    assert "mine.safetensors" in notes["output-link"].message


@pytest.mark.slow
def test_the_file_of_a_base_model_is_not_overwritten(place):
    """The adapter that the run starts from and any other input are protected too."""
    (place / "base.safetensors").write_bytes(b"base")
    assert [item.code for item in errors(place, {"base_model_name": "base.safetensors", TO: "base.safetensors"})] == [
        "output-protected"
    ]
    (place / "start.safetensors").write_bytes(b"start")
    assert [item.code for item in errors(place, {"lora_model_name": "start.safetensors", TO: "./start.safetensors"})] == [
        "output-protected"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("left", ["notes.txt", ".git", "sub/deep/file"])
def test_a_folder_with_other_files_is_rejected(place, left):
    """The folder is unchanged, and another name is suggested."""
    (place / "mine" / left).parent.mkdir(parents=True)
    (place / "mine" / left).write_text("x")
    (found,) = errors(place, WHOLE, {TO: "mine/"})
    assert (found.code, found.fix) == ("output-foreign", {TO: "mine-2"})


@pytest.mark.slow
def test_a_model_folder_of_a_run_may_be_replaced(place):
    """Files that others put there don't matter, unless one of the run's own files was changed."""
    made = place / "mine"
    made.mkdir()
    (made / "model_index.json").write_text("{}")
    marker.write(made, marker.MODEL)
    (made / "my notes.txt").write_text("x")
    assert errors(place, WHOLE, {TO: "mine"}) == []
    (made / "model_index.json").write_text('{"by": "hand"}')
    (found,) = errors(place, WHOLE, {TO: "mine"})
    assert "model_index.json" in found.message


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"made_by": "another"}', '{"made_by": "onetrainer_gradio", "kind": "model", "files": 5}']
)
def test_a_marker_that_is_none_marks_nothing(place, text):
    """A damaged or foreign marker file doesn't make a folder ours."""
    (place / "mine").mkdir()
    (place / "mine" / marker.MARKER).write_text(text)
    assert [item.code for item in errors(place, WHOLE, {TO: "mine"})] == ["output-foreign"]


@pytest.mark.slow
def test_a_marked_cache_is_no_model_folder(place):
    """The marker records what a folder is."""
    (place / "mine").mkdir()
    marker.add(place / "mine", marker.CACHE, "image")
    assert [item.code for item in errors(place, WHOLE, {TO: "mine"})] == ["output-foreign"]


@pytest.mark.slow
def test_files_and_folders_are_not_taken_for_each_other(place):
    """This covers a folder where a file is, and anything below a file."""
    (place / "file").write_text("x")
    assert [item.code for item in errors(place, WHOLE, {TO: "file"})] == ["folder-is-file"]
    assert "folder-is-file" in [item.code for item in findings(place, WHOLE, {TO: "file/new"})]
    assert objection(place, {TO: "file/new.safetensors"}).code == "folder-is-file"


@pytest.mark.slow
def test_a_name_that_no_file_can_have_is_rejected(place):
    """The error would come too late at the end of the run."""
    (found,) = errors(place, {TO: "models/" + "ä" * 130 + ".safetensors"})
    assert "bytes" in found.message
    assert errors(place, dict(found.fix)) == []


@pytest.mark.slow
def test_concepts_that_are_off_or_in_a_file_are_protected_too(place, tmp_path):
    """So are validation images and the file of captions."""
    for name in ("off", "other"):
        (place / name).mkdir()
    assert errors(place, WHOLE, {"concepts.0.enabled": False, TO: "images"})
    assert errors(place, WHOLE, {"concepts.0.type": "VALIDATION", TO: "images/x"})
    (place / "list.json").write_text('[{"__version": 2, "name": "other", "path": "other"}]')
    assert errors(place, WHOLE, {"concepts": None, "concept_file_name": "list.json", TO: "other/new"})
    (place / "captions").mkdir()
    (place / "captions" / "all.txt").write_text("a cat")
    prompts = {"concepts.0.text.prompt_source": "concept", "concepts.0.text.prompt_path": "captions/all.txt"}
    assert errors(place, WHOLE, prompts, {TO: "captions"})


@pytest.mark.slow
def test_a_file_system_without_case_is_seen_through(place, monkeypatch):
    """Two names of one folder are one folder, as with another case on such a disk, or a second mount."""
    (place / "Images").mkdir()
    same = os.stat(place / "images")
    real = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, *args, **named: same if str(path) == str(place / "Images") else real(path, *args, **named)
    )
    assert [item.code for item in errors(place, WHOLE, {TO: "Images/new"})] == ["output-protected"]


@pytest.mark.slow
def test_home_and_current_directory_are_protected(place, tmp_path, monkeypatch):
    """A folder that is one of them, or contains one, is protected."""
    home, here = tmp_path / "home" / "me", tmp_path / "here" / "now"
    for folder in (home, here):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    for value in (home, home.parent, here, here.parent):
        assert [item.code for item in errors(place, WHOLE, {TO: str(value)})] == ["output-protected"], value
    assert errors(place, WHOLE, {TO: str(home / "models" / "new")}) == []


@pytest.mark.slow
def test_the_caches_of_the_hugging_face_hub_are_protected(place, tmp_path, monkeypatch):
    """This holds wherever the library has them; nothing is written into one."""
    home = tmp_path / "home" / "me"
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))

    def protected(folder: Path) -> bool:
        return [item.code for item in errors(place, WHOLE, {TO: str(folder / "models--a--b")})] == ["output-protected"]

    assert protected(home / ".cache" / "huggingface" / "hub")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert protected(tmp_path / "xdg" / "huggingface" / "hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-only"))
    assert protected(tmp_path / "hub-only")
    monkeypatch.setenv("HF_HOME", "~/hf")
    assert protected(home / "hf" / "hub")
    assert not protected(tmp_path / "elsewhere")


@pytest.mark.slow
def test_the_installation_that_trains_is_protected(place):
    """OneTrainer's own folder is not replaced; its folder of models accepts a result."""
    (place / "OneTrainer" / "models").mkdir(parents=True)
    named = {"backend": "onetrainer", "checkout": str(place / "OneTrainer")}
    assert [item.code for item in errors(place, WHOLE, {TO: "OneTrainer"}, **named)] == ["output-protected"]
    assert errors(place, WHOLE, {TO: "OneTrainer/models/new"}, **named) == []


@pytest.mark.slow
def test_a_run_that_starts_is_held_to_the_same_rule(place):
    """The check uses absolute paths and the panel's folder from the options."""
    config = resolve_paths(config_with(WHOLE, {TO: "runs/new"}), place)
    assert Destinations.of_run(config, Options(panel_folder=str(place))).objection() is not None
    assert Destinations.of_run(config, RunOptions()).objection() is None
    assert Destinations.of_run(resolve_paths(config_with(WHOLE, {TO: "images"}), place), RunOptions()).objection() is not None


@pytest.mark.slow
def test_the_message_names_the_folder_itself_and_a_plain_name(place):
    """It doesn't name a list inside it, and the suggestion for the home folder doesn't begin with a tilde."""
    elsewhere = {"concepts.0.path": "/elsewhere", "base_model_name": "owner/model", "workspace_dir": "/w", "cache_dir": "/c"}
    assert "the panel's data folder" in objection(place, WHOLE, elsewhere, {TO: "."}).message
    assert "Concept file" not in objection(place, WHOLE, elsewhere, {TO: "."}).message
    assert objection(place, WHOLE, {TO: "~"}).free == "models/model"


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.alone
def test_many_concepts_are_quick(place):
    """Ten thousand concepts cost less than two seconds of CPU time."""
    import time

    concepts = [{"__version": 2, "name": str(number), "path": f"sets/{number}"} for number in range(10_000)]
    config = config_with(WHOLE, {"concepts": concepts, TO: "new"})
    started = time.monotonic()
    assert Destinations(config, place, place).objection() is None
    assert time.monotonic() - started < 2

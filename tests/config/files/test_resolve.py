"""Paths become absolute in the base folder, and lists in files are loaded."""

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.files.resolve import looks_like_hub_name, pack, resolve_paths
from onetrainer_gradio.errors import ConfigFileError


def test_relative_paths_lie_in_the_base_folder(tmp_path):
    """Folders, files and concepts become absolute; empty paths stay empty."""
    config, _ = from_document(
        {"workspace_dir": "w", "concepts": [{"path": "p"}, {"path": ""}], "lora_model_name": "", "cache_dir": "/c"}
    )
    resolved = resolve_paths(config, tmp_path)
    assert resolved.workspace_dir == str(tmp_path / "w")
    assert resolved.cache_dir == str(Path("/c"))
    assert [concept.path for concept in resolved.concepts] == [str(tmp_path / "p"), ""]
    assert resolved.lora_model_name == ""


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        ("runwayml/stable", True),
        ("https://hub.example/a/resolve/main/x.safetensors", True),
        ("models/x.safetensors", False),
        ("./a/b", False),
        ("model", False),
        ("/a/b", False),
        ("a/b/c", False),
    ],
)
def test_hub_names_are_distinguished_from_paths(name, hub):
    """owner/name is a Hugging Face Hub name; anything that looks like a path is not."""
    assert looks_like_hub_name(name) == hub


def test_a_hub_name_stays_unless_such_a_folder_exists(tmp_path):
    """A local folder takes precedence over a Hugging Face Hub repository of the same name."""
    config, _ = from_document({"base_model_name": "owner/name"})
    assert resolve_paths(config, tmp_path).base_model_name == "owner/name"
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert resolve_paths(config, tmp_path).base_model_name == str(tmp_path / "owner" / "name")


def test_the_name_of_a_data_set_stays_unless_a_folder_is_meant(tmp_path):
    """OneTrainer downloads it by that name; an existing folder, or a missing one in an existing folder, is a path."""
    config, _ = from_document(
        {"concepts": [{"path": "owner/cats"}, {"path": "here/cats"}, {"path": "here/dogs"}, {"path": "cats"}]}
    )
    (tmp_path / "here" / "cats").mkdir(parents=True)
    kept, *paths = [concept.path for concept in resolve_paths(config, tmp_path).concepts]
    assert kept == "owner/cats"
    assert paths == [str(tmp_path / "here" / "cats"), str(tmp_path / "here" / "dogs"), str(tmp_path / "cats")]


def test_special_tags_in_a_file_are_found_from_anywhere(tmp_path):
    """The file's path is resolved like any other; a value that is no file stays a list of tags."""
    (tmp_path / "tags.txt").write_text("cat")
    texts = [{"tag_dropout_special_tags": tags} for tags in ("tags.txt", "gone.csv", "cat, dog", "")]
    config, _ = from_document({"concepts": [{"path": "p", "text": text} for text in texts]})
    special = [concept.text.tag_dropout_special_tags for concept in resolve_paths(config, tmp_path).concepts]
    assert special == [str(tmp_path / "tags.txt"), "gone.csv", "cat, dog", ""]


def test_lists_are_read_from_their_files_once_they_are_missing(tmp_path):
    """OneTrainer's settings form names the files; embedded lists take precedence; a missing file is an empty list."""
    (tmp_path / "c.json").write_text(json.dumps([{"name": "from file"}]))
    config, _ = from_document({"concept_file_name": "c.json", "samples": [{"prompt": "inside"}]})
    packed = pack(config, tmp_path)
    assert [concept.name for concept in packed.concepts] == ["from file"]
    assert [sample.prompt for sample in packed.samples] == ["inside"]
    assert pack(TrainConfig(), tmp_path).concepts == ()


def test_a_file_without_a_list_is_rejected_by_name(tmp_path):
    """The error names the file."""
    (tmp_path / "c.json").write_text("{}")
    config, _ = from_document({"concept_file_name": "c.json"})
    with pytest.raises(ConfigFileError, match=r"c\.json"):
        pack(config, tmp_path)

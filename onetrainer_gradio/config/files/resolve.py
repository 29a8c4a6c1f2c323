"""Complete the settings for a run: make paths absolute and read lists."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.declarations.catalog import pattern
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.walk import Leaf, leaves, replaced
from onetrainer_gradio.config.files.documents import VERSION_KEY, from_document, read_json_list

# setting that holds a list -> setting that names the file to read it from
LIST_FILES = {"concepts": "concept_file_name", "samples": "sample_definition_file_name"}


def pack(config: TrainConfig, base_folder: Path, roots: Iterable[Path] = ()) -> TrainConfig:
    """Return the configuration with concepts and samples, reading them from their files if needed.

    A missing file gives an empty list; with ``roots``, so does a file outside of them.

    :raises ConfigFileError: if a file exists but isn't a list.
    """
    missing = {name: file for name, file in LIST_FILES.items() if getattr(config, name) is None}
    if not missing:
        return config
    allowed = tuple(root.resolve() for root in roots)
    lists: dict[str, Any] = {}
    for name, file_setting in missing.items():
        path = absolute(getattr(config, file_setting), base_folder)
        readable = os.path.isfile(path) and (not allowed or any(path.resolve().is_relative_to(root) for root in allowed))
        lists[name] = read_json_list(path) if readable else []
    read, _ = from_document({VERSION_KEY: config.config_version, **lists})
    return config.model_copy(update={name: getattr(read, name) for name in lists})


def resolve_paths(config: TrainConfig, base_folder: Path) -> TrainConfig:
    """Return the configuration with absolute paths; relative ones start at ``base_folder``.

    Names of Hugging Face repositories stay unchanged: a base model is a path if it exists or looks like one, the folder of a
    concept if its parent exists.
    """
    changes = {}
    for leaf in leaves(config):
        if not (leaf.setting.path or _names_tags(leaf, base_folder)) or not leaf.value:
            continue
        if _is_hub_name(leaf.setting.path, leaf.value, base_folder):
            continue
        if pattern(leaf.path) == "concepts[].path" and names_a_data_set(leaf.value, base_folder):
            continue
        changes[leaf.path] = str(absolute(leaf.value, base_folder))
    return replaced(config, changes)


def absolute(path: str, base_folder: Path) -> Path:
    """Return the absolute path, with ``~`` expanded, without following links; invalid characters are another finding."""
    path = holdable(path)
    try:
        return base_folder / Path(path).expanduser()
    except RuntimeError:  # ~name of an unknown user
        return base_folder / path


def holdable(text: str) -> str:
    """Return the text without characters that no path can contain: NUL characters and unpaired surrogates.

    Python writes bytes of a file name that are not UTF-8 as U+DC80 to U+DCFF; these stay.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_half(letter) else letter for letter in text if letter != "\0")


def _is_half(letter: str) -> bool:
    return "\ud800" <= letter <= "\udfff" and not "\udc80" <= letter <= "\udcff"


def _names_tags(leaf: Leaf, base_folder: Path) -> bool:
    """Return whether the special tags are in a file: the setting contains tags, or the name of a file."""
    if pattern(leaf.path) != "concepts[].text.tag_dropout_special_tags" or not leaf.value.endswith((".txt", ".csv")):
        return False
    return os.path.isfile(absolute(leaf.value, base_folder))


def _is_hub_name(kind: str, value: str, base_folder: Path) -> bool:
    return kind == "model" and looks_like_hub_name(value) and not os.path.exists(absolute(value, base_folder))


def names_a_data_set(path: str, base_folder: Path) -> bool:
    """Return whether a concept's folder is the name of a Hugging Face dataset: neither it nor its parent exists."""
    place = absolute(path, base_folder)
    return looks_like_hub_name(path) and not os.path.exists(place) and not os.path.exists(place.parent)


def looks_like_hub_name(value: str) -> bool:
    """Return whether a base model is ``owner/name`` on the Hugging Face Hub (or a link to one) and not a path."""
    if value.startswith(("http://", "https://")):
        return True
    parts = value.split("/")
    path_like = value.startswith((".", "~", "/")) or "\\" in value or Path(value).is_absolute()
    return len(parts) == 2 and all(parts) and not path_like and not value.endswith((".safetensors", ".ckpt"))

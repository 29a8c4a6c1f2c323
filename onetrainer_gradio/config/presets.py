"""The presets that come with the project: readable JSON files, laid over the defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.documents import read_file
from onetrainer_gradio.errors import ConfigNotFoundError

_PACKAGE = Path(__file__).resolve().parent.parent

# A wheel carries the presets inside the package, a checkout beside it.
PRESET_FOLDERS = (_PACKAGE / "presets", _PACKAGE.parent / "configs")

# What a preset may say in its paths -> the folder it stands for.
PLACEHOLDERS = {"{demo}": _PACKAGE / "demo"}

DEMO_PRESET = "demo - new word LoRA"


def preset_files() -> dict[str, Path]:
    """The presets by name (file name without ending), in order of their names."""
    folder = next((folder for folder in PRESET_FOLDERS if folder.is_dir()), None)
    if folder is None:
        return {}
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def load_preset(name: str) -> dict[str, Any]:
    """The document of a preset with its placeholders filled in.

    :raises ConfigNotFoundError: when there is none of that name.
    """
    files = preset_files()
    if name not in files:
        known = ", ".join(files) or "none"
        raise ConfigNotFoundError(f"There is no preset {name!r}", value=name, expected=f"one of: {known}")
    filled: dict[str, Any] = _filled(read_file(files[name]))
    return filled


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item) for item in value]
    if isinstance(value, str):
        for placeholder, folder in PLACEHOLDERS.items():
            value = value.replace(placeholder, folder.as_posix())
    return value


def describe(document: dict[str, Any]) -> dict[str, str]:
    """What a list of presets shows of one: model type, method and the note, where they are given."""
    keys = ("model_type", "training_method", "note")
    return {key: json.dumps(document[key]).strip('"') for key in keys if key in document}

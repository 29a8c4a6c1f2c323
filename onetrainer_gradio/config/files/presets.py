"""Read the presets of the project: JSON files in one folder per model family, applied to the defaults."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.enums import DataType, ModelType, TrainingMethod
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import read_file
from onetrainer_gradio.errors import ConfigNotFoundError

_PACKAGE = Path(__file__).resolve().parents[2]

# A wheel contains the presets inside the package, a checkout next to it.
PRESET_FOLDERS = (_PACKAGE / "presets", _PACKAGE.parent / "configs")

# Placeholder in a preset's paths -> the folder it represents.
PLACEHOLDERS = {"{demo}": _PACKAGE / "demo"}

DEMO_PRESET = "Demo LoRA"

# The number of names that an error about an unknown one lists.
_NEAREST = 4

# A preset's own metadata in addition to its settings.
OWN_KEYS = ("note", "memory_gb", "source")

# Name of a preset in an earlier version -> its current name.
FORMER_NAMES = {
    "SD 1.5 LoRA": "SD 1.5/LoRA 8 GB",
    "SD 1.5 fine-tune": "SD 1.5/fine-tune 24 GB",
    "demo - new word LoRA": DEMO_PRESET,
}


@dataclass(frozen=True)
class Preset:
    """A preset with its description.

    ``note`` is its purpose, ``memory_gb`` the VRAM that it is designed for (None: any), ``source`` the origin of its numbers.
    ``document`` contains only settings.
    """

    name: str
    note: str
    memory_gb: int | None
    source: str
    document: dict[str, Any]

    @property
    def family(self) -> str:
        """Return the folder of the preset; empty if it is in none."""
        return self.name.rpartition("/")[0]

    @property
    def model_type(self) -> str:
        """Return its model type."""
        return str(self.document.get("model_type", ""))

    @property
    def method(self) -> str:
        """Return its training method."""
        return str(self.document.get("training_method", ""))

    @property
    def label(self) -> str:
        """Return the label of its model type."""
        return MODELS[ModelType(self.model_type)].label if self.model_type in ModelType.__members__ else ""

    def summary(self) -> dict[str, Any]:
        """Return the values that a list of presets shows and that search uses."""
        about = {
            "model_type": self.model_type,
            "model": self.label,
            "training_method": self.method,
            "family": self.family,
            "memory_gb": self.memory_gb,
            "note": self.note,
            "source": self.source,
        }
        return {key: value for key, value in about.items() if value not in ("", None)}


@cache
def preset_files() -> Mapping[str, Path]:
    """Return the presets by name (path in the folder of presets, without suffix), sorted by name.

    They are part of the package, so the folder is read once.
    """
    folder = next((folder for folder in PRESET_FOLDERS if folder.is_dir()), None)
    if folder is None:
        return MappingProxyType({})
    start = len(folder.parts)
    found = {"/".join((*path.parts[start:-1], path.stem)): path for path in folder.rglob("*.json")}
    ordered = sorted(found.items(), key=lambda item: (item[0].rpartition("/")[0].lower(), _size(item[0]), item[0]))
    return MappingProxyType(dict(ordered))


def _size(name: str) -> tuple[str, int]:
    """Return the sort key that puts ``LoRA 8 GB`` before ``LoRA 16 GB``."""
    words = name.split()
    sized = len(words) > 2 and words[-1] == "GB" and is_whole(words[-2])
    return (" ".join(words[:-2]), int(words[-2])) if sized else (name, 0)


def current_name(name: str) -> str:
    """Return the current name of a preset that had another name in an earlier version; any other name stays."""
    return FORMER_NAMES.get(name, name)


def read_preset(name: str) -> Preset:
    """Return a preset by its current or a former name, with its placeholders filled in.

    :raises ConfigNotFoundError: if there is no preset with this name.
    """
    files = preset_files()
    present = current_name(name)
    if present not in files:
        raise ConfigNotFoundError(f"The preset “{name}” doesn't exist", value=name, expected=nearest(name, files))
    document: dict[str, Any] = _filled(read_file(files[present]))
    about = {key: document.pop(key, None) for key in OWN_KEYS}
    memory = about["memory_gb"]
    return Preset(present, about["note"] or "", memory if isinstance(memory, int) else None, about["source"] or "", document)


@cache
def preset_summaries() -> Mapping[str, Mapping[str, Any]]:
    """Return what a list of presets shows of each, by name; like their files, it is read once."""
    return MappingProxyType({name: MappingProxyType(read_preset(name).summary()) for name in preset_files()})


def preset_families() -> list[str]:
    """Return the folders of the presets."""
    return list(dict.fromkeys(name.rpartition("/")[0] for name in preset_files() if "/" in name))


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known names for an unknown one, with the number of known names."""
    names = list(known)
    by_word = {other.lower(): other for other in names}
    words = (Path(name).stem if name.endswith(".json") else name).lower()
    close = difflib.get_close_matches(words, by_word, n=_NEAREST, cutoff=0.4)
    inside = [word for word in by_word if words.strip() and words in word]
    likely = list(dict.fromkeys([*inside, *close]))[:_NEAREST]
    shown = [by_word[word] for word in likely] or names[:_NEAREST]
    if len(shown) == len(names):
        return f"one of: {', '.join(shown)}" if shown else "none is there yet"
    return f"one of {len(names)}, for instance {', '.join(shown)}"


def presets() -> Iterator[Preset]:
    """Return all presets, sorted by name."""
    return (read_preset(name) for name in preset_files())


def load_preset(name: str) -> dict[str, Any]:
    """Return the settings of a preset as a document to apply to the defaults, without its description.

    :raises ConfigNotFoundError: if there is no preset with this name.
    """
    return read_preset(name).document


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
    """Return the summary of a saved configuration: model, method and a note, if it has them."""
    keys = ("model_type", "training_method", "note")
    about = {key: json.dumps(document[key]).strip('"') for key in keys if key in document}
    model = about.get("model_type", "")
    return about | ({"model": MODELS[ModelType(model)].label} if model in ModelType.__members__ else {})


_COLUMNS = (
    "Preset",
    "Method",
    "Engine",
    "VRAM",
    "Learning rate",
    "Resolution",
    "Batch size",
    "Weight data type",
    "Offloaded",
    "Layer filter preset",
    "Base model",
)


def overview() -> str:
    """Return all presets as Markdown, with one table per family."""
    lines: list[str] = []
    family = None
    for preset in presets():
        if not preset.family:
            continue
        if preset.family != family:
            family = preset.family
            lines += ["", f"### {family}", "", "| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
        lines.append("| " + " | ".join(_cells(preset)) + " |")
    return "\n".join(lines).strip() + "\n"


def _cells(preset: Preset) -> tuple[str, ...]:
    document = preset.document
    part = document.get(MODELS[ModelType(preset.model_type)].denoiser, {})
    offload = part.get("offload_fraction", 0)
    return (
        preset.name.rpartition("/")[2],
        label_of(TrainingMethod, preset.method),
        "built-in, OneTrainer" if MODELS[ModelType(preset.model_type)].built_in else "OneTrainer",
        f"{preset.memory_gb} GB" if preset.memory_gb else "",
        f"{document['learning_rate']:g}",
        str(document["resolution"]),
        str(document["batch_size"]),
        label_of(DataType, part.get("weight_dtype", "")),
        f"{offload:.0%}" if offload else "",
        str(document.get("layer_filter_preset", "")),
        f"`{document['base_model_name']}`",
    )

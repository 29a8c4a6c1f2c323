"""Determine whether the final model of a run was saved: at its destination, whole, and not older than a backup."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.families.models import FOLDER_FORMATS
from onetrainer_gradio.config.files.resolve import absolute
from onetrainer_gradio.config.model_files import damage

_SUFFIX = ".safetensors"
_INDEX = "model_index.json"


def final_model_exists(config: TrainConfig, base_folder: Path, since_ns: int) -> bool:
    """Return whether a whole model is at the destination that was written at ``since_ns`` or later.

    An older one is the result of another run with the same destination. One that was torn by a kill or a power cut isn't a
    result. ``since_ns`` is a modification time in nanoseconds; a relative destination is inside ``base_folder``.
    """
    if not config.output_model_destination:
        return False
    target = absolute(config.output_model_destination, base_folder)
    try:
        if config.output_model_format in FOLDER_FORMATS:
            return _newest_ns(_files(target)) >= since_ns and _is_whole(target)
        # a single file in a folder is named by its time
        found = (path for path in target.glob(f"*{_SUFFIX}") if path.name[0] != ".") if target.is_dir() else (target,)
        return any(path.is_file() and path.stat().st_mtime_ns >= since_ns and not damage(path) for path in found)
    except (OSError, ValueError):
        return False


def _files(folder: Path) -> Iterator[Path]:
    for here, _, names in os.walk(folder):
        yield from (Path(here, name) for name in names)


def _newest_ns(files: Iterable[Path]) -> int:
    return max((path.stat().st_mtime_ns for path in files), default=-1)


def _is_whole(folder: Path) -> bool:
    """Return whether a folder in diffusers layout has all its components, and no damaged weights."""
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    components = [name for name, value in index.items() if isinstance(value, list) and value and value[0]]
    return all((folder / name).is_dir() for name in components) and not any(
        damage(path) for path in _files(folder) if path.suffix == _SUFFIX
    )

"""Read the configurations of a base model's components: what they consist of, without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.published_configs import published

_SCHEDULER = Path("scheduler") / "scheduler_config.json"
_DENOISERS = {"unet", "transformer"}
_KEY_OF_SIZE = {"medium": ".x_block.attn2."}
"""A size in the name of a model -> part of a name that only its tensors have."""
_DERIVED = {ModelType.STABLE_DIFFUSION_20_DEPTH: (ModelType.STABLE_DIFFUSION_20_BASE, {"unet": {"in_channels": 5}})}
"""A type that no configuration travels for -> one that it was trained from, and what differs. Its depth estimator is omitted."""

Configurations = dict[str, dict[str, Any]]
"""Component -> its configuration; ``scheduler`` is one of them."""


def configurations_of(model_type: ModelType, base_model: str) -> Configurations:
    """Return the configurations of a base model: from its folder, else as published for its type and size; empty if unknown."""
    folder = Path(base_model) if base_model else None
    if folder is not None and _DENOISERS & (found := _of_folder(folder)).keys():
        return found
    keys = [key for size, key in _KEY_OF_SIZE.items() if size in base_model]
    of_type, differing = _DERIVED.get(model_type, (model_type, {}))
    known = published(of_type, keys)
    return {} if known is None else {name: one | differing.get(name, {}) for name, one in _of_folder(known.folder).items()}


def _of_folder(folder: Path) -> Configurations:
    found = {file.parent.name: file for file in folder.glob("*/config.json")}
    if (folder / _SCHEDULER).is_file():
        found["scheduler"] = folder / _SCHEDULER
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in found.items()}

"""Create the header of a saved file: Stability AI's model specification, how it was trained, and optionally the settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import PurePath
from typing import Any

from torch import Tensor

from onetrainer_gradio import __version__
from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.config.paths.marker import HEADER_KEY
from onetrainer_gradio.engine.data.images import TrainingImage
from onetrainer_gradio.engine.files import digest
from onetrainer_gradio.engine.keys.family_keys import DIFFUSERS, FamilyKeys
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.versions import versions

Header = Callable[[Mapping[str, Tensor]], dict[str, str]]
"""Returns the header for the tensors of a file."""

RECORD_KEY = "onetrainer_gradio_training"
"""The header's entry about the training, as JSON: base model, steps, loss, versions, and hashes of settings and data."""

_KINDS = {"LORA": ("/lora", " LoRA"), "EMBEDDING": ("/textual-inversion", " Embedding")}
"""Training method -> the ends of architecture and title."""


def header_of(config: TrainConfig, keys: FamilyKeys, record: Callable[[], Mapping[str, Any]]) -> Header:
    """Return the header function for files that a run with ``config`` saves; ``record`` is called for each file."""
    known = keys.specification
    end, title = _KINDS.get(config.training_method, ("", ""))
    fixed = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": known.architecture + end,
        "modelspec.implementation": DIFFUSERS if end else known.implementation,
        "modelspec.title": known.title + title,
        HEADER_KEY: __version__,
        **keys.header,
    }
    if config.include_train_config != "NONE":
        fixed["ot_config"] = json.dumps(to_document(config, packed=config.include_train_config == "ALL"))

    def header(tensors: Mapping[str, Tensor]) -> dict[str, str]:
        return fixed | {
            RECORD_KEY: json.dumps(record()),
            "modelspec.date": date.today().isoformat(),
            "modelspec.hash_sha256": f"0x{digest(tensors)}",
        }

    return header


def training_record(config: TrainConfig, state: TrainState, images: Sequence[TrainingImage]) -> Callable[[], Mapping[str, Any]]:
    """Return a function for the record of the training up to now. It has no paths, captions or secrets.

    ``data_sha256`` depends on names, sizes and captions of the images, not on their folders and order.
    """
    fixed = {
        "model_type": config.model_type,
        "training_method": config.training_method,
        "base_model": _name_of(config.base_model_name),
        "settings_sha256": _hash([json.dumps(to_document(config, packed=True), sort_keys=True)]),
        "versions": versions(),
    }

    def record() -> Mapping[str, Any]:
        return {
            **fixed,
            "images": len(images),
            "data_sha256": _hash(sorted(_described(image) for image in images)),
            "epoch": state.epoch,
            "global_step": state.global_step,
            "smooth_loss": state.smooth_loss,
        }

    return record


def _name_of(base_model: str) -> str:
    """Return the name of a repository, or the last part of a path: the rest of it is nobody's business."""
    path = PurePath(base_model)
    return base_model if base_model.count("/") == 1 and not path.is_absolute() else path.name


def _described(image: TrainingImage) -> str:
    return json.dumps([image.path.name, image.size_px, image.captions])


def _hash(parts: Iterable[str]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode())
    return found.hexdigest()

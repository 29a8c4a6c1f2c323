"""A valid configuration with its folders, for the tests of the pre-flight check."""

from __future__ import annotations

import copy
import json
import math
import struct
from pathlib import Path

from PIL import Image

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.check import check
from onetrainer_gradio.config.dataset.reader import ImageSizeReader
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.machine import GIGABYTE, Gpu, Machine
from onetrainer_gradio.errors import Finding

CPU = Machine("cpu", (), free=lambda path: 1000 * GIGABYTE)
ADA = Machine("cuda", (Gpu("a card", 24 * GIGABYTE, (8, 9)),), free=lambda path: 1000 * GIGABYTE)

GOOD = {
    "training_method": "LORA",
    "base_model_name": "model",
    "output_model_format": "KOHYA_LORA",
    "train_dtype": "FLOAT_32",
    "train_device": "cpu",
    "learning_rate": 1e-4,
    "learning_rate_warmup_steps": 0.1,
    "concepts": [{"__version": 2, "name": "cats", "path": "images", "seed": 1}],
    "samples": [{"prompt": "a cat"}],
    "optimizer": {"optimizer": "ADAMW", "stochastic_rounding": False},
    "layer_filter": "attentions",
    "layer_filter_preset": "attn-mlp",
}

OTHER_MODEL = {
    "model_type": "FLUX_DEV_1",
    "output_model_format": "DIFFUSERS_LORA",
    "layer_filter": "transformer_block",
    "layer_filter_preset": "blocks",
    "text_encoder.train": False,
    "text_encoder_2.train": False,
}
"""What turns the good configuration into a good one of a flow model with two encoders."""


GOOD_DOCUMENT = to_document(from_document(GOOD)[0], packed=True)
READER = ImageSizeReader(limit_s=math.inf)


def furnish(folder: Path, images: int = 4, size: tuple[int, int] = (512, 512)) -> Path:
    """Create a base folder with a model and captioned images of one size (width, height)."""
    (folder / "model").mkdir()
    (folder / "model" / "model_index.json").write_text("{}")
    (folder / "images").mkdir()
    for number in range(images):
        add_image(folder / "images" / f"{number}.png", size)
    return folder


def add_image(path: Path, size: tuple[int, int] = (512, 512), caption: str | None = "a cat") -> None:
    """Add one image (width, height), with its caption unless that is None."""
    Image.new("L", size).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)


def config_with(*changes: dict) -> TrainConfig:
    """Return the valid configuration with values at dotted paths, whatever the declarations allow."""
    document = copy.deepcopy(GOOD_DOCUMENT)
    for path, value in {key: value for change in changes for key, value in change.items()}.items():
        *parents, last = path.split(".")
        at = document
        for part in parents:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value
    return from_document(document)[0]


def findings(place: Path, *changes: dict, **kwargs: object) -> tuple[Finding, ...]:
    """Return the findings for the valid configuration with changes."""
    kwargs.setdefault("machine", CPU)
    kwargs.setdefault("reader", READER)
    return check(config_with(*changes), base_folder=place, **kwargs)


def write_adapter(path: Path, keys: list[str]) -> None:
    """Write a .safetensors file with empty tensors of these names."""
    header = json.dumps({key: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for key in keys}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def write_backup(place: Path, **settings: object) -> Path:
    """Write a backup with these settings into the workspace."""
    folder = place / "workspace" / "run" / "backup" / "2026-01-01_00-00-00-backup-1-0-1"
    (folder / "onetrainer_config").mkdir(parents=True)
    (folder / "onetrainer_config" / "args.json").write_text(json.dumps(settings))
    return folder

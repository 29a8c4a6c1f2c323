"""Configurations that pass the pre-flight check, without a loadable model."""

from __future__ import annotations

from pathlib import Path

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from tests.fakes.rehearsal import png, whole_model


def small_config(folder: Path, **settings: object) -> TrainConfig:
    """Return a LoRA on two images in ``folder``; everything it writes is below ``folder / "workspace"``.

    Files that are there already aren't written again: a queued run may be about to read them.
    """
    model, images = folder / "model", folder / "images"
    _write(model / "model_index.json", b'{"_class_name": "StableDiffusionPipeline"}')
    for name in ("one", "two"):
        _write(images / f"{name}.png", png(8, 8, (200, 30, 30)))
        _write(images / f"{name}.txt", b"a red square")
    document = {
        "training_method": "LORA",
        "model_type": "STABLE_DIFFUSION_15",
        "base_model_name": str(model),
        "workspace_dir": str(folder / "workspace"),
        "cache_dir": str(folder / "cache"),
        "output_model_format": "KOHYA_LORA",
        "output_model_destination": str(folder / "lora.safetensors"),
        "train_device": "cpu",
        "batch_size": 1,
        "concepts": [{"name": "red", "path": str(images)}],
        "samples": [{"prompt": "a red square", "width": 32, "height": 32}],
    }
    config, _ = from_document(document | settings)
    return config


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_bytes() != content:
        path.write_bytes(content)


def write_result(path: Path) -> None:
    """Write a complete, tiny model file, as a run saves it at its end."""
    path.write_bytes(whole_model())

"""Write a complete model: as a folder in diffusers layout, or as one file with the original names."""

from __future__ import annotations

from pathlib import Path

import torch

from onetrainer_gradio.engine.files import whole_folder, write_tensors
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.model import Model
from onetrainer_gradio.errors import UnsupportedError


def save_model(model: Model, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
    """Write the complete model; with ``dtype`` None, weights keep their data type."""
    if model_format == "DIFFUSERS":
        with whole_folder(destination) as folder:
            model.write_folder(folder, dtype)
        return
    if model.spec.single_file is None:
        raise UnsupportedError(f"{model.spec.title} can't be saved as {model_format}.", path="output_model_format")
    tensors = {name: tensor.to("cpu", dtype) for name, tensor in model.spec.single_file(model).items()}
    write_tensors(destination, tensors, header(tensors))

"""Write a complete model: as a folder in diffusers layout, or as one file with the original names."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from onetrainer_gradio.engine.files import whole_folder, write_tensors
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.keys import keys_of
from onetrainer_gradio.engine.keys.family_keys import Tensors
from onetrainer_gradio.engine.keys.model_files import model_tensors
from onetrainer_gradio.engine.model import Model


def save_model(model: Model, destination: Path, model_format: str, dtype: torch.dtype | None, header: Header) -> None:
    """Write the complete model; with ``dtype`` None, weights keep their data type."""
    if model_format == "DIFFUSERS":
        with whole_folder(destination) as folder:
            model.write_folder(folder, dtype)
        return
    single_file = model.spec.single_file or partial(_single_file, model_format)
    tensors = {name: tensor.to("cpu", dtype) for name, tensor in single_file(model).items()}
    write_tensors(destination, tensors, header(tensors))


def _single_file(model_format: str, model: Model) -> Tensors:
    components = {name: model.state(name) for name in model.components}
    keys = keys_of(model.config.model_type, model.denoiser.config)
    betas_T = getattr(model.objective, "betas_T", None)  # flow-matching models have none
    return model_tensors(model_format, components, keys, None if betas_T is None else betas_T.cpu(), model.objective.prediction)

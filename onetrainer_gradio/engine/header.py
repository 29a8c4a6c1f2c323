"""Create the header of a saved file: the model specification of Stability AI, and optionally the settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date

from torch import Tensor

from onetrainer_gradio import __version__
from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.config.paths.marker import HEADER_KEY
from onetrainer_gradio.engine.files import digest

Header = Callable[[Mapping[str, Tensor]], dict[str, str]]
"""Returns the header for the tensors of a file."""

DIFFUSERS = "https://github.com/huggingface/diffusers"
ORIGINAL = "https://github.com/CompVis/stable-diffusion"


def header_of(config: TrainConfig, title: str, architecture: str) -> Header:
    """Return the header function for files that a run with ``config`` saves."""
    adapter = config.training_method == "LORA"
    fixed = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora" if adapter else architecture,
        "modelspec.implementation": DIFFUSERS if adapter else ORIGINAL,
        "modelspec.title": f"{title} LoRA" if adapter else title,
        HEADER_KEY: __version__,
    }
    if config.include_train_config != "NONE":
        fixed["ot_config"] = json.dumps(to_document(config, packed=config.include_train_config == "ALL"))

    def header(tensors: Mapping[str, Tensor]) -> dict[str, str]:
        return fixed | {"modelspec.date": date.today().isoformat(), "modelspec.hash_sha256": f"0x{digest(tensors)}"}

    return header

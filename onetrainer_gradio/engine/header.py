"""What the header of a saved file says: the model specification of Stability AI, and the settings where wanted."""

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
"""From the tensors of a file to its header."""

DIFFUSERS = "https://github.com/huggingface/diffusers"
ORIGINAL = "https://github.com/CompVis/stable-diffusion"


def header_of(config: TrainConfig, title: str, architecture: str) -> Header:
    """The header of what a run with ``config`` saves."""
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

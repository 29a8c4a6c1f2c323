"""Training methods: what is trained in a model and how it is saved. Each works with the components of any family."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import TrainingMethod
from onetrainer_gradio.engine.methods.method import Method
from onetrainer_gradio.errors import UnsupportedError

METHODS: Mapping[str, str] = {
    "LORA": "lora:Lora",
    "FINE_TUNE": "full:FineTune",
    "EMBEDDING": "embedding:Embedding",
    "FINE_TUNE_VAE": "vae:FineTuneVae",
}
"""Training method -> "module:class" in this package."""


def method_of(training_method: str) -> type[Method]:
    """Return the class of a training method.

    :raises UnsupportedError: if this engine has none.
    """
    if training_method not in METHODS:
        raise UnsupportedError(
            f"The built-in engine doesn't support the training method {label_of(TrainingMethod, training_method)} yet.",
            path="training_method",
            value=training_method,
            expected=" or ".join(METHODS),
            suggestion="Choose another training method, or train with OneTrainer.",
        )
    module, _, name = METHODS[training_method].partition(":")
    return cast(type[Method], getattr(import_module(f"{__name__}.{module}"), name))

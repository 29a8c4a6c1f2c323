"""Model families: load a model, encode, predict and save, and name its components.

A new family is a module with a class that implements ``family.Family``, and a line in ``FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.engine.families.family import Family
from onetrainer_gradio.errors import UnsupportedError

FAMILIES: Mapping[str, str] = {"STABLE_DIFFUSION_15": f"{__name__}.stable_diffusion:StableDiffusion"}
"""Model type -> "module:class"; the module is imported when a run needs it."""


def family_of(model_type: str) -> type[Family]:
    """Return the family of a model type.

    :raises UnsupportedError: if this engine has none.
    """
    if model_type not in FAMILIES:
        raise UnsupportedError(
            f"The built-in engine doesn't support the model type {label_of(ModelType, model_type)} yet.",
            path="model_type",
            value=model_type,
            expected=" or ".join(FAMILIES),
            suggestion="Choose another model type, or train with OneTrainer.",
        )
    module, _, name = FAMILIES[model_type].partition(":")
    return cast(type[Family], getattr(import_module(module), name))

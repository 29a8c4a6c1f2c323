"""Name the tensors of LoRA files and full models as every program expects them.

Each family has a module of tables here, with the name of its module in ``config/families``; what they describe is applied
by code that knows no family.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.models import family_module
from onetrainer_gradio.engine.keys.family_keys import FamilyKeys
from onetrainer_gradio.errors import UnsupportedError


def has_keys(model_type: str) -> bool:
    """Return whether the family of a model type has tables."""
    return bool(family_module(ModelType(model_type))) and find_spec(_module(model_type)) is not None


def keys_of(model_type: str, denoiser: Mapping[str, Any] | None = None) -> FamilyKeys:
    """Return the names of a model type in files.

    ``denoiser`` is the configuration of the denoiser in diffusers, if it isn't the published one.

    :raises UnsupportedError: if the type has no tables.
    """
    if not has_keys(model_type):
        raise UnsupportedError(
            f"The file keys of the model type {label_of(ModelType, model_type)} aren't supported yet.",
            path="model_type",
            value=model_type,
            suggestion="Choose another model type, or convert with OneTrainer.",
        )
    module = _module(model_type)
    return _published(module, model_type) if denoiser is None else _family_keys(module, model_type, denoiser)


def _module(model_type: str) -> str:
    return f"{__name__}.{family_module(ModelType(model_type))}"


def _family_keys(module: str, model_type: str, denoiser: Mapping[str, Any]) -> FamilyKeys:
    return cast(FamilyKeys, import_module(module).family_keys(ModelType(model_type), denoiser))


@lru_cache(maxsize=64)
def _published(module: str, model_type: str) -> FamilyKeys:
    return _family_keys(module, model_type, {})

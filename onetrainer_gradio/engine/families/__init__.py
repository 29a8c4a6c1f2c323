"""Model families: what differs between them, as data and small functions.

A new family is a module with ``SPECS`` of the name that its module in ``config/families`` has; a type is trained here if its
facts say ``built_in``.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from onetrainer_gradio.config.declarations.labels import label_of, names_of
from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families import models
from onetrainer_gradio.engine.families.family import FamilySpec
from onetrainer_gradio.errors import UnsupportedError

FAMILIES: dict[str, str] = {
    str(facts.type): f"{__name__}.{module.__name__.rpartition('.')[2]}"
    for module in models.FAMILIES
    for facts in module.MODELS
    if facts.built_in
}
"""Model type -> module; it is imported when a run needs it."""


def spec_of(model_type: str) -> FamilySpec:
    """Return the specification of a model type.

    :raises UnsupportedError: if this engine has none.
    """
    if model_type not in FAMILIES:
        raise UnsupportedError(
            f"The built-in engine doesn't support the model type {label_of(ModelType, model_type)} yet.",
            path="model_type",
            value=model_type,
            expected=names_of(map(ModelType, FAMILIES)),
            suggestion="Choose another model type, or train with OneTrainer.",
        )
    specs = cast("tuple[FamilySpec, ...]", import_module(FAMILIES[model_type]).SPECS)
    return next(spec for spec in specs if model_type in spec.types)

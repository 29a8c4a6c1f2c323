"""What a new sample prompt starts with: the size, steps and CFG scale that suit the model type, the same as in OneTrainer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.models import MODELS

SAMPLE_DEFAULTS: Mapping[ModelType, Mapping[str, Any]] = MappingProxyType({name: facts.sample for name, facts in MODELS.items()})


def sample_defaults(model_type: str) -> dict[str, Any]:
    """Return the values of a new sample that depend on the model type; empty for an unknown type."""
    return dict(SAMPLE_DEFAULTS.get(ModelType(model_type), {})) if model_type in ModelType.__members__ else {}

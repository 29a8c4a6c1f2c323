"""Give a new sample prompt the values that suit the model type."""

from __future__ import annotations

from typing import Any

from onetrainer_gradio.config.declarations.sample import SampleConfig
from onetrainer_gradio.config.families.sample_defaults import sample_defaults
from onetrainer_gradio.service.engines.selection import Engines


def new_sample(engines: Engines, model_type: str) -> dict[str, Any]:
    """Return the parameters of a new sample of a model type.

    Where the form follows a OneTrainer checkout, the values are those that the checkout gives a new sample.
    """
    defaults = SampleConfig().model_dump(mode="json") | sample_defaults(model_type)
    theirs = engines.newer().samples.get(model_type, {})
    return defaults | {name: value for name, value in theirs.items() if name in defaults}

"""What a new sample begins with: the values that suit the model which would paint it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onetrainer_gradio.config.sample import SampleConfig
from onetrainer_gradio.config.sample_defaults import sample_defaults
from onetrainer_gradio.config.visibility import MODEL_TYPE

if TYPE_CHECKING:
    from onetrainer_gradio.service.trainer import TrainerService


def new_sample(service: TrainerService, model_type: str = "") -> dict[str, Any]:
    """The parameters of a sample of a model type; without one, of the model that trains now, else of the settings.

    Where the form follows a OneTrainer checkout, the values are those that the checkout gives a new sample.
    """
    model_type = model_type or _present(service)
    begins = SampleConfig().model_dump(mode="json") | sample_defaults(model_type)
    theirs = service.engines.newer().samples.get(model_type, {})
    return begins | {name: value for name, value in theirs.items() if name in begins}


def _present(service: TrainerService) -> str:
    state = service.get_state()
    training = service.runs.get(state["run_id"]).config() if state["is_training"] else service.configs.current().config
    return str(training.get(MODEL_TYPE, ""))

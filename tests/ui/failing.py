"""A backend whose runs fail while loading, for starts from the page, which can't set rehearsal options."""

from __future__ import annotations

from onetrainer_gradio.commands import Control
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.events import Emit, Outcome
from tests.fakes import rehearsal


def run(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Rehearse a run that runs out of memory for its model."""
    return rehearsal.run(config, emit, control, options.model_copy(update={"tags": ("fail_in=loading",)}))

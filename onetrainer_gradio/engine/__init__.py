"""Trains. Knows no thread, no HTTP, no widget: ``run(config, emit, control, options)`` and nothing else is its outside."""

from __future__ import annotations

from onetrainer_gradio.commands import Control
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.events import Emit, Outcome

__all__ = ["run"]


def run(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Trains as ``config`` (packed, paths absolute) says, until it is done or stopped.

    :raises TrainerError: when it cannot go on.
    """
    from onetrainer_gradio.engine import training  # torch and its friends are imported when a run begins, not before

    return training.run(config, emit, control, options)

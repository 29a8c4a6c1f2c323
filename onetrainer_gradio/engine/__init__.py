"""Train a model. The only public interface is ``run(config, emit, control, options)``, without threads, HTTP or widgets."""

from __future__ import annotations

from onetrainer_gradio.commands import Control
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.events import Emit, Outcome

__all__ = ["run"]


def run(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Train with ``config`` (packed, absolute paths) until the run is done or stopped.

    :raises TrainerError: if it can't continue.
    """
    # torch and its friends are imported when a run begins, not before
    from onetrainer_gradio.engine.lean_imports import unused_omitted

    with unused_omitted():
        from onetrainer_gradio.engine import training

        return training.run(config, emit, control, options)

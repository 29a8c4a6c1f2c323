"""The loss of the first step of a LoRA on one image, which depends only on the image, its caption and the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.events import WarningIssued
from tests.engine.conftest import configuration
from tests.engine.recording import FakeControl, Recorder


def first_loss(place: Path, recorded: dict[str, Any], folder: Path, **changes: Any) -> float:
    """Train one step on the images of a folder, with all other settings as in the recorded run."""
    return first_step(place, recorded, folder, **changes)[0]


def first_step(place: Path, recorded: dict[str, Any], folder: Path, **changes: Any) -> tuple[float, list[str]]:
    """Return the loss, and the codes of the warnings."""
    from onetrainer_gradio import engine

    settings = {"batch_size": 1, "epochs": 1, "latent_caching": False, **changes}
    config = configuration(place, recorded, folder, **settings)
    recorder = Recorder()
    engine.run(config, recorder, FakeControl(), RunOptions(max_steps=1))
    (step,) = recorder.steps
    return step.loss, [warning.code for warning in recorder.of(WarningIssued)]

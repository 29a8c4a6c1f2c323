"""The rehearsal at a pace that a browser can follow, for runs that the page itself starts without rehearsal options."""

from __future__ import annotations

from onetrainer_gradio.commands import Control
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.events import Emit, Outcome
from tests.fakes import rehearsal

PACE = ("steps=2000", "epoch_steps=100", "step_s=0.03", "load_s=0.3", "cache_s=0.3", "sample_every=20", "print=1")


def run(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Rehearse with the options, or by default at the pace of this module."""
    paced = options if options.tags else options.model_copy(update={"tags": PACE})
    return rehearsal.run(config, emit, control, paced)

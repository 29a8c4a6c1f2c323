"""Define the state of the training loop: the complete content of a backup's meta.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.resume import Progress

PROGRESS = ("epoch", "epoch_step", "epoch_sample", "global_step")


@dataclass
class TrainState:
    """The progress of the run. The first four fields are OneTrainer's progress and count micro-batches;
    the others are ours: the smoothed loss, the state of the fp16 loss scaler, how many micro-batches the epoch has, and how many
    validations there were, each of which is an epoch of the validation images.
    """

    epoch: int = 0
    epoch_step: int = 0
    epoch_sample: int = 0
    global_step: int = 0
    smooth_loss: float = 0.0
    smooth_steps: int = 0
    loss_scale: float | None = None
    loss_scale_growth: int = 0
    epoch_length: int = 0
    validations: int = 0

    def next_step(self, batch_size: int) -> None:
        """Advance by one micro-batch."""
        self.epoch_step += 1
        self.epoch_sample += batch_size
        self.global_step += 1

    def next_epoch(self) -> None:
        """Advance by one epoch."""
        self.epoch += 1
        self.epoch_step = 0
        self.epoch_sample = 0

    def before(self) -> TrainState:
        """Return the state during the last micro-batch (before the first one: this state)."""
        if self.global_step == 0:
            return self.copy()
        earlier = self.epoch - 1 if self.epoch_step == 0 else self.epoch
        return replace(self, epoch=earlier, global_step=self.global_step - 1)

    def smooth(self, loss: float) -> float:
        """Add a loss to the running mean, whose decay grows up to 0.99."""
        self.smooth_steps += 1
        decay = min(0.99, 1 - 1 / self.smooth_steps)
        self.smooth_loss = self.smooth_loss * decay + loss * (1 - decay)
        return self.smooth_loss

    def copy(self) -> TrainState:
        """Return a copy."""
        return replace(self)

    def progress(self) -> Progress:
        """Return the progress for the plan of a run."""
        return Progress(self.epoch, self.epoch_step, self.epoch_sample, self.global_step, self.epoch_length)

    @property
    def name(self) -> str:
        """Return ``<global step>-<epoch>-<epoch step>``, as in file names."""
        return f"{self.global_step}-{self.epoch}-{self.epoch_step}"

    def meta(self) -> dict[str, Any]:
        """Return the content of meta.json: OneTrainer's entries and ours."""
        values = asdict(self)
        progress = {name: values.pop(name) for name in PROGRESS}
        return {"train_progress": progress, "onetrainer_gradio": values}

    @classmethod
    def from_meta(cls, path: Path) -> TrainState:
        """Return the state in a meta.json of this package or OneTrainer.

        :raises KeyError, ValueError: if the file is invalid.
        """
        meta = json.loads(path.read_text(encoding="utf-8"))
        progress = {name: int(meta["train_progress"][name]) for name in PROGRESS}
        # after a resume, OneTrainer counts the validations from the epoch on
        return cls(**progress, **meta.get("onetrainer_gradio", {"validations": progress["epoch"]}))

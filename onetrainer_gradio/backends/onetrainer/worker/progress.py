"""Turn what OneTrainer reports of its progress and charts into events."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

from .errors import problem_of
from .files import wait_for_unused_second
from .pausing import Pausing

# What a status of OneTrainer's contains -> phase, most telling first.
PHASES = (
    ("previous backup", "loading"),
    ("backup", "backing_up"),
    ("saving", "saving"),
    ("validation", "validating"),
    ("sampling", "sampling"),
    ("cach", "caching"),
    ("training", "training"),
    ("loading", "loading"),
    ("setup", "loading"),
    ("hugging face", "loading"),
)
# phase -> folder of the workspace whose entries OneTrainer names by the second
TIMED_FOLDERS = {"backing_up": "backup", "saving": "save"}
# Bars that say what the callbacks say better.
OWN_BARS = frozenset({"epoch", "step"})
BAR_PHASES = frozenset({"loading", "caching", "validating"})
# What OneTrainer calls of the writer of its charts.
CHART_METHODS = ("add_scalar", "add_image", "flush", "close")
LOSS, SMOOTH_LOSS, RATE, VALIDATION = "loss/train_step", "smooth_loss/train_step", "lr/", "loss/validation_step/"


class Progress(Pausing):
    """The part of a run that listens to callbacks and charts."""

    def callbacks(self) -> Any:
        """Return the callbacks. OneTrainer ignores whatever they raise, so errors are reported before."""
        functions = {
            "on_update_train_progress": self.guarded(self.on_progress),
            "on_update_status": self.guarded(self.on_status),
        }
        return self.onetrainer["TrainCallbacks"](**functions)

    def on_status(self, status: str) -> None:
        """Take one of OneTrainer's status texts."""
        self.settle()
        words = status.lower()
        phase = next((phase for word, phase in PHASES if word in words), None)
        if phase is not None:
            self.enter(phase)
        if phase in TIMED_FOLDERS and self.config is not None:
            wait_for_unused_second(os.path.join(self.config.workspace_dir, TIMED_FOLDERS[phase]))
        if phase == "training" and not self.planned:
            self.first_rates = self.rates_of_optimizer()
        if phase == "sampling":
            self.round_open, self.round_custom = True, False
            self.sampled, self.sampling_error = 0, ""

    def on_bar(self, name: str, done: int, total: int) -> None:
        """Take the state of a progress bar of OneTrainer or of a library."""
        if name not in OWN_BARS and self.phase in BAR_PHASES:
            self.progress(done, total, name)

    def listen_to_scalars(self, board: Any) -> None:
        """Read loss and learning rates on their way to TensorBoard. Charts that can't be written don't end the training."""
        for method in CHART_METHODS:
            if hasattr(board, method):
                setattr(board, method, self.chart(getattr(board, method)))
        original = board.add_scalar

        def add_scalar(name: str, value: Any, *rest: Any, **named: Any) -> Any:
            self.note_scalar(name, value)
            return original(name, value, *rest, **named)

        board.add_scalar = add_scalar

    def chart(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            try:
                return method(*values, **named)
            except OSError as error:
                text = f"Can't write OneTrainer's TensorBoard logs ({problem_of(error)}). Training continues without them."
                self.warn("charts", text, "workspace_dir")
                return None

        return call

    def note_scalar(self, name: str, value: Any) -> None:
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError) as error:  # the last is a tensor's of more than one number
            self.warn("bridge_scalar", f"OneTrainer's scalar {name} isn't a number ({problem_of(error)}).")
            return
        if name.startswith(VALIDATION):
            self.validation[name[len(VALIDATION) :]] = number
        else:
            self.scalars[name] = number

    def on_progress(self, progress: Any, epoch_length: int, epochs: int) -> None:
        """Take the progress after a batch and after an epoch; ``epoch_length`` is OneTrainer's greatest step."""
        self.settle()
        loss = self.scalars.pop(LOSS, None)
        if loss is not None:
            self.report_step(progress, int(epoch_length), int(epochs), loss)
        if progress.epoch_step > 0:
            self.pending_gradients = loss is None
        if self.max_steps and progress.global_step >= self.max_steps:
            self.limit_reached = True
        if not self.pending_gradients and not self.limit_reached:
            self.hold()

    def report_step(self, progress: Any, epoch_length: int, epochs: int, loss: float) -> None:
        rates = {name[len(RATE) :]: self.scalars.pop(name) for name in list(self.scalars) if name.startswith(RATE)}
        accumulated = max(1, int(getattr(self.config, "gradient_accumulation_steps", 1) or 1))
        if not self.planned:
            self.planned, self.rates = True, list(rates)
            self.report_plan(epoch_length, epochs, accumulated)
            # several groups may share a name, and then the rates can't be assigned
            self.upcoming = dict(zip(rates, self.first_rates, strict=True)) if len(rates) == len(self.first_rates) else {}
        used, self.upcoming = self.upcoming, rates
        now = time.monotonic()
        seconds, self.step_at = now - self.step_at, now
        self.wire.event(
            "step_done",
            update_step=progress.global_step // accumulated,
            global_step=progress.global_step,
            epoch=progress.epoch,
            epoch_step=progress.epoch_step,
            epoch_sample=progress.epoch_sample,
            loss=loss,
            smooth_loss=self.scalars.pop(SMOOTH_LOSS, loss),
            grad_norm=self.norms.take(),
            learning_rates=[used.get(name, math.nan) for name in self.rates],
            seconds=seconds,
            images=int(self.config.batch_size) * accumulated,
        )

    def rates_of_optimizer(self) -> list[float]:
        """Return the learning rate of each parameter group before the first update; OneTrainer charts only later ones."""
        try:
            # optimizers that estimate the step size themselves keep it as "d"; OneTrainer charts the product
            return [float(group["lr"]) * float(group.get("d", 1.0)) for group in self.trainer.model.optimizer.param_groups]
        except (AttributeError, KeyError, TypeError, ValueError):  # a revision that keeps them elsewhere
            return []

    def report_plan(self, epoch_length: int, epochs: int, accumulated: int) -> None:
        total = epoch_length * epochs
        total = min(total, self.max_steps) if self.max_steps else total
        try:
            trained = sum(item.numel() for item in self.trainer.parameters if item.requires_grad)
        except (AttributeError, TypeError):  # a revision that keeps them elsewhere or otherwise: the number is only shown
            trained = 0
        self.wire.event(
            "run_planned",
            total_steps=total,
            steps_per_epoch=epoch_length,
            total_updates=total // accumulated,
            epochs=epochs,
            first_step=self.first_step,
            images=epoch_length * int(self.config.batch_size),
            trainable_parameters=trained,
            learning_rates=self.rates,
        )

"""Print the run log: a console line for each phase, epoch, sample, backup and save, in the training process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from onetrainer_gradio.events import (
    BackupCreated,
    BackupFailed,
    CommandCompleted,
    Emit,
    Event,
    ModelSaved,
    PhaseChanged,
    Resumed,
    RunEnded,
    RunPlanned,
    RunStarted,
    SampleGenerated,
    SaveFailed,
    StepDone,
    ValidationCompleted,
    WarningIssued,
)
from onetrainer_gradio.vocabulary import BEFORE_TRAINING, ENDS, PHASES

PROGRESS_EVERY_S = 60.0


class RunLog:
    """An ``emit`` that prints the events that it forwards."""

    def __init__(self, emit: Emit, console: TextIO | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._console = console
        self._clock = clock
        self._phase = ""
        self._plan: RunPlanned | None = None
        self._epoch: int | None = None
        self._printed_at = clock()

    def __call__(self, event: Event, /) -> None:
        """Print a line for the event, if it has one, then forward it."""
        text = self._line(event)
        if text:
            self._print(event.at, text)
        self._emit(event)

    def _line(self, event: Event) -> str:
        if isinstance(event, StepDone):
            return self._step(event)
        if isinstance(event, PhaseChanged):
            return self._phase_line(event)
        if isinstance(event, RunPlanned):
            self._plan = event
        line = _LINES.get(type(event))
        return line(event) if line else ""

    def _phase_line(self, event: PhaseChanged) -> str:
        # back to training after each sample and backup is not worth a line
        quiet = event.phase == self._phase or (event.phase == "training" and self._phase not in ("", *BEFORE_TRAINING, "paused"))
        self._phase = event.phase
        self._printed_at = self._clock()
        text = PHASES.get(event.phase, event.phase)
        return "" if quiet else f"{text}: {event.detail}" if event.detail else text

    def _step(self, event: StepDone) -> str:
        before, self._epoch = self._epoch, event.epoch
        new_epoch = before is not None and event.epoch > before
        if not new_epoch and self._clock() - self._printed_at < PROGRESS_EVERY_S:
            return ""
        self._printed_at = self._clock()
        steps = f"step {event.global_step}" + (f" of {self._plan.total_steps}" if self._plan else "")
        loss = f"loss {event.loss:.4g}, smoothed {event.smooth_loss:.4g}"
        if not new_epoch:
            return f"{steps.capitalize()}, {loss}"
        epochs = f" of {self._plan.epochs}" if self._plan else ""
        return f"Epoch {event.epoch}{epochs} finished at {steps}, {loss}"

    def _print(self, at: float, text: str) -> None:
        # control characters in names and messages would be commands to a terminal
        clean = "".join(each if each.isprintable() else " " for each in text)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
        console = self._console or sys.stderr
        line = f"{stamp} {clean}\n".encode("utf-8", "backslashreplace").decode("utf-8")
        try:
            console.write(line)
            console.flush()
        except (OSError, ValueError):  # a full disk or a closed console: the journal has it, too
            return


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _started(event: RunStarted) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in event.versions.items())
    return f"Run started with the engine {event.backend}, process {event.pid}{f' ({versions})' if versions else ''}"


def _planned(event: RunPlanned) -> str:
    return (
        f"Plan: {event.total_steps} steps in {event.epochs} epochs of {event.steps_per_epoch} steps, {event.images} images, "
        f"{event.trainable_parameters:,} trainable parameters"
    )


def _validated(event: ValidationCompleted) -> str:
    return f"Validation loss {event.total:.4g} at step {event.global_step}"


def _refused(event: CommandCompleted) -> str:
    return f"Command {event.command} rejected: {event.reason}" if event.outcome == "refused" else ""


def _ended(event: RunEnded) -> str:
    how = f" ({event.signal})" if event.signal else ""
    cause = f": {event.error.message if event.error else 'no reason given'}{how}" if event.reason in ("failed", "lost") else "."
    return f"Run {ENDS[event.reason].lower()}{cause}"


_LINES: dict[type[Any], Callable[[Any], str]] = {
    RunStarted: _started,
    RunPlanned: _planned,
    Resumed: lambda event: f"Resumed from the backup {event.path} at step {event.global_step}",
    SampleGenerated: lambda event: f"Sample generated at step {event.global_step} in {event.seconds:.1f} s: {event.path}",
    BackupCreated: lambda event: f"Backup written at step {event.global_step} ({_size(event.bytes)}): {event.path}",
    BackupFailed: lambda event: f"Error: the backup {event.path} can't be written: {event.error.message}",
    ModelSaved: lambda event: f"Model saved at step {event.global_step} ({_size(event.bytes)}): {event.path}",
    SaveFailed: lambda event: f"Error: the model {event.path} can't be saved: {event.error.message}",
    ValidationCompleted: _validated,
    WarningIssued: lambda event: (
        f"Warning: {event.message}{f' ({event.path})' if event.path and event.path not in event.message else ''}"
    ),
    CommandCompleted: _refused,
    RunEnded: _ended,
}

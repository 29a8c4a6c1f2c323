"""The lines that a run prints on its console."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import pytest

from onetrainer_gradio.backends.run_log import RunLog
from onetrainer_gradio.events import (
    BackupCreated,
    BackupFailed,
    CommandCompleted,
    ErrorInfo,
    Event,
    ModelSaved,
    PhaseChanged,
    PhaseProgress,
    RunEnded,
    RunPlanned,
    RunStarted,
    StepDone,
    WarningIssued,
)

PLAN = RunPlanned(
    total_steps=20,
    steps_per_epoch=10,
    total_updates=20,
    epochs=2,
    first_step=0,
    images=10,
    trainable_parameters=12345,
    learning_rates=("unet",),
)


def step(number: int, epoch: int) -> StepDone:
    return StepDone(
        update_step=number,
        global_step=number,
        epoch=epoch,
        epoch_step=number % 10,
        epoch_sample=number % 10,
        loss=0.25,
        smooth_loss=0.5,
        grad_norm=None,
        learning_rates=(1e-4,),
        seconds=0.1,
        images=1,
    )


@dataclass
class Printed:
    """A run log with its own console and clock."""

    console: io.StringIO = field(default_factory=io.StringIO)
    passed: list[Event] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.log = RunLog(self.passed.append, self.console, lambda: self.now)

    def lines(self, *events: Event) -> list[str]:
        for event in events:
            self.log(event)
        return [line.split(" ", 2)[2] for line in self.console.getvalue().splitlines()]


def test_a_run_prints_phases_epochs_and_files() -> None:
    """A successful run prints a line for each phase, epoch, backup and model, and none for each step."""
    phases = [PhaseChanged(phase=phase) for phase in ("loading", "caching", "training", "backing_up", "training", "saving")]
    loading, caching, training, backing_up, back, saving = phases
    backup = BackupCreated(path="/w/backup", global_step=10, epoch=1, epoch_step=0, bytes=1_230_000)
    model = ModelSaved(path="/m/lora.safetensors", final=True, global_step=20, bytes=5)
    log = Printed()
    assert log.lines(
        RunStarted(backend="builtin", pid=7, versions={"torch": "2.13.0"}),
        loading, caching, PLAN, training, *(step(number, 0) for number in range(1, 10)), step(10, 1),
        backing_up, backup, back, step(11, 1), saving, model, RunEnded(reason="completed"),
    ) == [
        "Run started with the engine builtin, process 7 (torch 2.13.0)",
        "Loading the model",
        "Caching images and captions",
        "Plan: 20 steps in 2 epochs of 10 steps, 10 images, 12,345 trainable parameters",
        "Training",
        "Epoch 1 of 2 finished at step 10 of 20, loss 0.25, smoothed 0.5",
        "Writing a backup",
        "Backup written at step 10 (1.23 MB): /w/backup",
        "Saving the model",
        "Model saved at step 20 (5 B): /m/lora.safetensors",
        "Run finished.",
    ]  # fmt: skip


def test_a_long_epoch_prints_a_line_a_minute() -> None:
    """A terminal shows that it continues."""
    log = Printed()
    log.lines(PLAN, PhaseChanged(phase="training"))
    before = len(log.lines(*(step(number, 0) for number in range(1, 5))))
    log.now = 61.0
    assert log.lines(step(5, 0), step(6, 0))[before:] == ["Step 5 of 20, loss 0.25, smoothed 0.5"]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (WarningIssued(code="x", message="Image broken", path="/a.png"), "Warning: Image broken (/a.png)"),
        (
            BackupFailed(path="/b", error=ErrorInfo(type="X", message="No space")),
            "Error: the backup /b can't be written: No space",
        ),
        (CommandCompleted(command_id="1", command="pause", outcome="refused", reason="ended"), "Command pause rejected: ended"),
        (RunEnded(reason="failed", error=ErrorInfo(type="X", message="Out of memory")), "Run failed: Out of memory"),
        (WarningIssued(code="x", message="a\nb\x1b[31m\ud800"), "Warning: a b [31m "),
    ],
)
def test_what_goes_wrong_is_a_line(event: Event, line: str) -> None:
    """There is one line for each, without control characters and lone surrogates of file names."""
    assert Printed().lines(event) == [line]


def test_every_event_is_passed_on_whatever_happens_to_the_console() -> None:
    """A closed or full console doesn't end a run, and progress within a phase prints nothing."""

    class Full(io.StringIO):
        def write(self, text: Any) -> int:
            raise OSError(28, "No space left on device")

    passed: list[Event] = []
    events = [PhaseChanged(phase="loading"), PhaseProgress(phase="loading", done=1, total=2), step(1, 0)]
    for console in (Full(), io.StringIO()):
        console.close() if not isinstance(console, Full) else None
        log = RunLog(passed.append, console)
        for event in events:
            log(event)
    assert passed == events * 2

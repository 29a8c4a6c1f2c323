"""Compute the state of a run from its journal, for the page, REST and Python."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from onetrainer_gradio.events import (
    CommandCompleted,
    CommandReceived,
    EndReason,
    Event,
    ModelSaved,
    PhaseChanged,
    PhaseProgress,
    Resumed,
    RunEnded,
    RunPlanned,
    RunStarted,
    SampleGenerated,
    StopEscalated,
    WarningIssued,
)
from onetrainer_gradio.service.runs.metrics import FIXED_COLUMNS

SPEED_UPDATES = 50
_NUMBERS = {name: index for index, name in enumerate(FIXED_COLUMNS)}
_PROGRESS = ("epoch", "epoch_step", "epoch_sample", "global_step")
THREAD_NOTE = "thread_cannot_be_killed"

# phase -> the seed's word for it
_STATUS = {
    "queued": "starting",
    "starting": "starting",
    "loading": "starting",
    "caching": "starting",
    "stopping": "stopping",
}
_END_STATUS = {"completed": "completed", "stopped": "completed", "failed": "error", "lost": "error"}

ACTIONS = ("start", "stop", "pause", "resume", "sample", "backup", "save")


def finite(value: float | None) -> float | None:
    """Return the number, or None if JSON can't represent it."""
    return value if value is not None and math.isfinite(value) else None


def model_title(step: int, total: int, reason: EndReason | None) -> str:
    """Return what to call the model that a run saved at its end: a run that didn't reach its last step has no final model."""
    if reason in (None, "completed") or not total or step >= total:
        return f"Final model, step {step}"
    verb = "Stopped" if reason == "stopped" else "Ended"
    return f"{verb} at step {step} of {total}: model so far"


class RunView:
    """The state of a run from its events and rows. Not thread-safe: its owner holds a lock."""

    def __init__(self, run_id: str, name: str, backend: str, checkout: str = "") -> None:
        self.run_id = run_id
        self.name = name
        self.backend = backend
        self.checkout = checkout
        self.phase = "starting"
        self.phase_detail = ""
        self.phase_done = 0
        self.phase_total = 0
        self.paused = False
        self.stop_asked = False
        self.planned: RunPlanned | None = None
        self.ended: RunEnded | None = None
        self.started_at: float | None = None
        self.escalated: StopEscalated | None = None
        self.stop_note = ""
        self.warnings = 0
        self.warning: str | None = None
        self.answers: dict[str, CommandCompleted] = {}
        self.waiting: dict[str, CommandReceived] = {}
        self.samples = 0
        self.last_sample = 0
        self.final_saved: ModelSaved | None = None
        self.final_file = 0
        self.resumed_step: int | None = None
        self.resumed_run = ""
        self.seq = 0
        self._at = 0
        self.row = 0
        self._last: Sequence[float] = ()
        self._recent: list[tuple[float, float, float, float]] = []
        self._groups: tuple[str, ...] = ()

    def apply(self, event: Event | None, seq: int) -> None:
        """Apply the event on line ``seq``."""
        self.seq, self._at = max(self.seq, seq), seq
        fold = _FOLDS.get(type(event))
        if event is not None and fold is not None:
            fold(self, event)

    def apply_rows(self, columns: Sequence[str], rows: Any, first_row: int) -> None:
        """Apply the rows of steps starting at row number ``first_row``."""
        if not len(rows):
            return
        if first_row != self.row:
            self._recent.clear()  # rows in between were skipped: they must not count as one fast step
        self.row = first_row + len(rows)
        self._groups = tuple(name.removeprefix("lr/") for name in columns[len(FIXED_COLUMNS) :])
        steps, seconds, images = (_NUMBERS[name] for name in ("global_step", "seconds", "images"))
        for row in rows[-SPEED_UPDATES - 1 :]:
            self._recent.append((float(row[steps]), float(row[seconds]), float(row[images]), float(row[_NUMBERS["at"]])))
        del self._recent[: -SPEED_UPDATES - 1]
        self._last = [float(value) for value in rows[-1]]

    @property
    def status(self) -> str:
        """Return the status word of the contract."""
        if self.ended is not None:
            return _END_STATUS.get(self.ended.reason, "error")
        if self.stop_asked or self.escalated is not None:
            return "stopping"
        return _STATUS.get(self.phase, "running")

    @property
    def active(self) -> bool:
        """Return whether the run has not ended."""
        return self.ended is None

    def speed(self) -> tuple[float | None, float | None]:
        """Return steps (micro-batches) and images per second over the newest updates."""
        recent = self._recent[1:]
        seconds = sum(item[1] for item in recent)
        if not recent or seconds <= 0 or not math.isfinite(seconds):
            return None, None
        return (recent[-1][0] - self._recent[0][0]) / seconds, sum(item[2] for item in recent) / seconds

    def number(self, name: str) -> float | None:
        """Return a value of the newest step."""
        return finite(self._last[_NUMBERS[name]]) if self._last else None

    def state(self) -> dict[str, Any]:
        """Return the state object, without the service's part (``can``, ``why``, the queue)."""
        planned, ended, error = self.planned, self.ended, self.ended.error if self.ended else None
        speed, samples_per_second = self.speed()
        progress = {name: int(self.number(name) or 0) for name in _PROGRESS}
        if not self._last and (start := self._start_step()) is not None:
            progress["global_step"] = start
        total = planned.total_steps if planned else 0
        left = max(0, total - progress["global_step"])
        until = ended.at if ended else time.time()
        return {
            "is_training": ended is None,
            "status": self.status,
            "progress": progress,
            "max_step": planned.steps_per_epoch if planned else 0,
            "max_epoch": planned.epochs if planned else 0,
            "error": error.message if error else None,
            "error_info": vars(error).copy() if error else None,
            "end_reason": ended.reason if ended else None,
            "end_signal": ended.signal if ended else "",
            "exit_code": ended.exit_code if ended else None,
            "run_id": self.run_id,
            "name": self.name,
            "backend": self.backend,
            "checkout": self.checkout,
            "phase": None if ended else self.phase,
            "phase_detail": "" if ended else self.phase_detail,
            "phase_done": 0 if ended else self.phase_done,
            "phase_total": 0 if ended else self.phase_total,
            "paused": self.paused and ended is None,
            "speed": speed,
            "samples_per_second": samples_per_second,
            "eta_s": left / speed if speed and planned and ended is None else None,
            "total_steps": total,
            "first_step": planned.first_step if planned else 0,
            "update_step": int(self.number("update_step") or 0),
            "total_updates": planned.total_updates if planned else 0,
            "images": planned.images if planned else 0,
            "trainable_parameters": planned.trainable_parameters if planned else 0,
            "loss": self.number("loss"),
            "smooth_loss": self.number("smooth_loss"),
            "grad_norm": self.number("grad_norm"),
            "learning_rates": dict(zip(self._groups, map(finite, self._last[len(FIXED_COLUMNS) :]), strict=False)),
            "stop": self._stop(),
            "started_at": self.started_at,
            "ended_at": ended.at if ended else None,
            "elapsed_s": max(0.0, until - self.started_at) if self.started_at else None,
            "waiting_commands": self._waiting() if ended is None else [],
            "samples": self.samples,
            "last_sample": f"{self.run_id}.{self.last_sample}" if self.last_sample else None,
            "final_model": self.final_saved.path if self.final_saved else None,
            "final_model_file": str(self.final_file) if self.final_saved else None,
            "final_model_title": self._model_title(total),
            "warnings_count": self.warnings,
            "warning": self.warning,
            "seq": self.seq,
            "row": self.row,
        }

    def _model_title(self, total: int) -> str | None:
        if self.final_saved is None:
            return None
        return model_title(self.final_saved.global_step, total, self.ended.reason if self.ended else None)

    def _waiting(self) -> list[dict[str, Any]]:
        return [
            {"command_id": one.command_id, "command": one.command, "since": one.at, "by": one.by} for one in self.waiting.values()
        ]

    def _start_step(self) -> int | None:
        if self.planned is not None:
            return self.planned.first_step
        return self.resumed_step

    def _stop(self) -> dict[str, Any] | None:
        if self.ended is not None or not (self.stop_asked or self.escalated):
            return None
        stage, deadline = (self.escalated.stage, self.escalated.deadline) if self.escalated else ("finish_step", 0.0)
        remaining = max(0.0, deadline - time.time()) if deadline else None
        return {"stage": stage, "deadline": deadline, "remaining_s": remaining, "note": self.stop_note}

    def _started(self, event: RunStarted) -> None:
        self.started_at = event.at

    def _phase_changed(self, event: PhaseChanged) -> None:
        self.phase, self.phase_detail = event.phase, event.detail
        self.phase_done = self.phase_total = 0
        if event.phase == "paused":
            self.paused = True
        elif event.phase in ("training", "stopping"):
            self.paused = False

    def _phase_progress(self, event: PhaseProgress) -> None:
        self.phase_done, self.phase_total = event.done, event.total
        self.phase_detail = event.detail or self.phase_detail

    def _plan(self, event: RunPlanned) -> None:
        self.planned = event

    def _sampled(self, event: SampleGenerated) -> None:
        self.samples += 1
        self.last_sample = self._at

    def _saved(self, event: ModelSaved) -> None:
        if event.final:
            self.final_saved, self.final_file = event, self._at

    def _warned(self, event: WarningIssued) -> None:
        self.warnings += 1
        self.warning = event.message
        if event.code == THREAD_NOTE:
            self.stop_note = event.message

    def _resumed(self, event: Resumed) -> None:
        self.resumed_step, self.resumed_run = event.global_step, event.run

    def _received(self, event: CommandReceived) -> None:
        if event.command_id not in self.answers:
            self.waiting[event.command_id] = event

    def _answer(self, event: CommandCompleted) -> None:
        self.waiting.pop(event.command_id, None)
        self.answers[event.command_id] = event

    def _stop_escalated(self, event: StopEscalated) -> None:
        self.escalated = event

    def _end(self, event: RunEnded) -> None:
        self.ended = event


_FOLDS: dict[type[Any], Callable[[RunView, Any], None]] = {
    RunStarted: RunView._started,
    PhaseChanged: RunView._phase_changed,
    PhaseProgress: RunView._phase_progress,
    RunPlanned: RunView._plan,
    SampleGenerated: RunView._sampled,
    ModelSaved: RunView._saved,
    WarningIssued: RunView._warned,
    Resumed: RunView._resumed,
    CommandReceived: RunView._received,
    CommandCompleted: RunView._answer,
    StopEscalated: RunView._stop_escalated,
    RunEnded: RunView._end,
}


def idle_state(*, initialized: bool, name: str = "", backend: str = "") -> dict[str, Any]:
    """Return the state object without a run."""
    view = RunView("", name, backend)
    state = view.state()
    state.update(is_training=False, status="initialized" if initialized else "idle", run_id=None, phase=None)
    return state


def permissions(state: dict[str, Any], *, queue_full: bool, other: str = "") -> tuple[dict[str, bool], dict[str, str | None]]:
    """Return the possible actions in a state, and a sentence for each impossible one.

    ``other`` is the name of a run on another device; empty if there is none.
    """
    why: dict[str, str | None] = dict.fromkeys(ACTIONS)
    active, stopping = bool(state["is_training"]), state["status"] == "stopping"
    if queue_full:
        why["start"] = "Another run is already queued."
    elif active and not stopping:
        why["start"] = f"The run “{state['name'] or state['run_id']}” is still running. Stop it, or wait for it to finish."
    elif other:
        why["start"] = f"The run “{other}” is still running. Stop it, or wait for it to finish."
    for action in ACTIONS[1:]:
        if not active:
            why[action] = "No run is active."
    if active and stopping:
        for action in ACTIONS[2:]:
            why[action] = "The run is stopping."
    elif active:
        if state["paused"]:
            why["pause"] = "The run is already paused."
        else:
            why["resume"] = "The run isn't paused."
        if state["phase"] == "queued":
            for action in ACTIONS[2:]:
                why[action] = "The run is queued."
    return {action: why[action] is None for action in ACTIONS}, why

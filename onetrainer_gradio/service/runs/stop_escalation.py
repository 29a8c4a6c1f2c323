"""Escalate a stop that always ends: finish the step -> interrupt -> terminate -> kill, each stage with a deadline.

The escalation has no process: it gets the time, the phase and the Stops that were given, and returns the stage that begins. The
supervisor applies it to its worker; the panel does if the supervisor is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onetrainer_gradio.commands import Stop
from onetrainer_gradio.events import StopEscalated, StopStage

STOP_STAGES: tuple[StopStage, ...] = ("finish_step", "interrupt", "terminate", "kill")
WRITING_PHASES = frozenset({"backing_up", "saving"})
# A backup of a large model takes minutes: its clock starts again this often before the escalation gives up on it.
MAX_EXTENSIONS = 10
# A second press within this time is a double click, not impatience.
DOUBLE_CLICK_S = 1.0


@dataclass(frozen=True)
class StopTimeouts:
    """Seconds from each stage to the next."""

    finish_step_s: float = 60.0
    interrupt_s: float = 15.0
    terminate_s: float = 10.0
    kill_s: float = 10.0

    def of(self, stage: StopStage) -> float:
        """Return the seconds of the stage."""
        return {"finish_step": self.finish_step_s, "interrupt": self.interrupt_s, "terminate": self.terminate_s}.get(
            stage, self.kill_s
        )


class StopEscalation:
    """The current stage of a stop, and the start of the next one."""

    def __init__(self, times: StopTimeouts, stages: Sequence[StopStage] = STOP_STAGES) -> None:
        self._times = times
        self._stages = tuple(stages)
        self._index = -1
        self._deadline = 0.0
        self._escalated_at = 0.0
        self._stops_seen = 0
        self._writing = ""
        self._extensions = 0

    @property
    def stage(self) -> StopStage | None:
        """Return the current stage, or None before the first Stop."""
        return self._stages[self._index] if self._index >= 0 else None

    @property
    def deadline(self) -> float:
        """Return when the next stage begins, in seconds since the epoch."""
        return self._deadline

    @property
    def overdue(self) -> bool:
        """Return whether the last stage is reached: it can only be repeated."""
        return self._index == len(self._stages) - 1

    def look(self, now: float, stops: Sequence[Stop], phase: str) -> StopEscalated | None:
        """Return the stage that begins now (or gets a new deadline), or None if nothing changes."""
        new = stops[self._stops_seen :]
        self._stops_seen = len(stops)
        escalated = [self._escalated_for(stop, now) for stop in new]
        if any(escalated):
            return self._event()
        if self._index < 0:
            return None
        if self.stage == "finish_step" and self._extended(now, phase):
            return self._event()
        if now >= self._deadline:
            if self.overdue:
                if self.stage != "kill":
                    return None
                self._deadline = now + self._times.kill_s
                return self._event()
            self._index += 1
            self._deadline = now + self._times.of(self._stages[self._index])
            return self._event()
        return None

    def _escalated_for(self, stop: Stop, now: float) -> bool:
        first, top = self._index < 0, len(self._stages) - 1
        if not first and not stop.now and now - self._escalated_at < DOUBLE_CLICK_S:
            return False
        self._index = min(1 if first and stop.now else self._index + 1, top)
        self._escalated_at = now
        self._deadline = now + self._times.of(self._stages[self._index])
        return True

    def _extended(self, now: float, phase: str) -> bool:
        if phase not in WRITING_PHASES:
            self._writing = ""
            return False
        if phase != self._writing:
            self._writing, self._extensions = phase, 0
        elif now < self._deadline:
            return False
        if self._extensions >= MAX_EXTENSIONS:
            return False
        self._extensions += 1
        self._deadline = now + self._times.finish_step_s
        return True

    def _event(self) -> StopEscalated:
        return StopEscalated(stage=self._stages[self._index], deadline=self._deadline)

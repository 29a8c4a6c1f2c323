"""Report phases, progress, warnings and answers of a run, and check for a stop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from onetrainer_gradio.commands import Command, Control
from onetrainer_gradio.events import CommandCompleted, Emit, Event, Phase, PhaseChanged, PhaseProgress, WarningIssued, tag

PROGRESS_INTERVAL_S = 0.1


class StopRequested(Exception):  # noqa: N818 - a signal, not an error
    """A stop was requested while the run loads, caches or samples."""


@dataclass
class RunReporter:
    """The interface to the outside, with the current phase."""

    emit: Emit
    control: Control
    phase: Phase = "starting"
    warned: set[tuple[str, str]] = field(default_factory=set)
    _reported_s: float = 0.0

    def enter(self, phase: Phase, detail: str = "") -> None:
        """Report that the run enters a phase, once."""
        if phase != self.phase or detail:
            self.phase = phase
            self.emit(PhaseChanged(phase=phase, detail=detail))

    def progress(self, done: int, total: int, detail: str = "") -> None:
        """Report the progress of the phase; at most ten times a second, and always at the end."""
        now = time.monotonic()
        if done == total or now - self._reported_s >= PROGRESS_INTERVAL_S:
            self._reported_s = now
            self.emit(PhaseProgress(phase=self.phase, done=done, total=total, detail=detail))

    def warn(self, warning: WarningIssued) -> None:
        """Report a warning; the same one only once."""
        if (key := (warning.code, warning.path)) not in self.warned:
            self.warned.add(key)
            self.emit(warning)

    def subscribe(self, listener: Emit) -> None:
        """Pass every further event to ``listener``, too, after it was emitted."""
        emit = self.emit

        def both(event: Event) -> None:
            emit(event)
            listener(event)

        self.emit = both

    def report(self, event: Event) -> None:
        """Report any other event."""
        self.emit(event)

    def done(self, command: Command, result: str = "") -> None:
        """Report that the command is done."""
        self.emit(CommandCompleted(command_id=command.id, command=tag(type(command)), outcome="done", result=result))

    def refuse(self, command: Command, reason: str) -> None:
        """Report that the command was rejected."""
        self.emit(CommandCompleted(command_id=command.id, command=tag(type(command)), outcome="refused", reason=reason))

    def raise_if_stop_requested(self) -> None:
        """Raise if a stop is waiting.

        :raises StopRequested: if a stop is waiting.
        """
        if self.control.stop_requested():
            raise StopRequested

"""Hold the state of one run, and report warnings, phases and progress."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from .commands import CommandInbox
from .errors import OutcomeProbe, problem_of
from .norms import GradientNorms

PROGRESS_EVERY_S = 0.1
# OneTrainer accepts no commands in the meantime: a stop interrupts it.
INTERRUPTED = frozenset({"loading", "caching"})


class RunState:
    """The state of one run, and what every part of it reports."""

    def __init__(self, inbox: CommandInbox, onetrainer: dict[str, Any], body: dict[str, Any]) -> None:
        self.inbox, self.wire, self.onetrainer = inbox, inbox.wire, onetrainer
        self.printed: Callable[[], list[str]] = list
        self.document: dict[str, Any] = body["config"]
        self.resume_from: str = body.get("resume_from") or ""
        self.max_steps: int = body.get("max_steps") or 0
        self.own_backups: list[str] = body.get("own_backups") or []
        # whether the result is saved even if no step is left, because the run that trained it was killed before
        self.save_untrained: bool = bool(body.get("save_untrained"))
        # a file at the destination that no run wrote: it keeps its content under another name
        self.foreign_file: str = body.get("foreign_file") or ""
        self.stops = 0
        self.descriptors: list[int] = body["descriptors"]
        self.config: Any = None
        self.trainer: Any = None
        self.phase = "queued"
        self.stopping = self.interrupted = self.limit_reached = False
        self.norms = GradientNorms(sys.modules.get("torch"))
        self.scalars: dict[str, float] = {}
        self.validation: dict[str, float] = {}
        self.rates: list[str] = []
        # OneTrainer charts the rates of the next update: these are the ones of the update to come
        self.upcoming: dict[str, float] = {}
        self.first_rates: list[float] = []
        self.planned = False
        self.first_step = 0
        self.pending_gradients = False
        self.step_at = time.monotonic()
        self.warned: set[str] = set()
        self.progress_at = 0.0
        # the round of images that is being generated, the backup that is being written, and who asked for them
        self.sampled = 0
        self.sampling_error = ""
        self.round_open = self.round_custom = False
        self.asked: dict[str, list[dict[str, Any]]] = {"sample_default": [], "backup_now": [], "save_now": []}
        self.custom: dict[str, dict[str, Any]] = {}
        self.backup: tuple[str, str] | None = None
        self.closing = self.ending = self.saved_finally = self.end_backed_up = False

    def guarded(self, function: Callable[..., None]) -> Callable[..., None]:
        def call(*values: Any) -> None:
            with OutcomeProbe(self.report_unpassed):
                function(*values)

        return call

    def report_unpassed(self, error: BaseException | None) -> None:
        """Report an error of ours where OneTrainer would only print it, or not even that."""
        if isinstance(error, Exception):
            traceback.print_exception(error)
            self.warn("bridge_callback", f"A callback of OneTrainer failed: {problem_of(error)}.")

    def warn(self, code: str, message: str, path: str = "") -> None:
        """Issue a warning, once."""
        if message not in self.warned:
            self.warned.add(message)
            self.wire.event("warning_issued", code=code, message=message, path=path)

    def phase_is(self, phase: str) -> None:
        if phase != self.phase:
            self.phase = phase
            self.wire.event("phase_changed", phase=phase)

    def enter(self, phase: str) -> None:
        """Report the phase if it changes; a run that is stopping doesn't return to training."""
        with self.inbox.changed:
            if self.stopping and phase in ("training", "paused", *INTERRUPTED):
                return
            self.phase_is(phase)

    def progress(self, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - self.progress_at >= PROGRESS_EVERY_S:
            self.progress_at = now
            self.wire.event("phase_progress", phase=self.phase, done=done, total=total, detail=detail)

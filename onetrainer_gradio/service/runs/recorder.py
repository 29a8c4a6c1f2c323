"""Where a run's events go: steps into the metrics, everything else into the journal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from onetrainer_gradio.commands import Command
from onetrainer_gradio.events import (
    ChildProcessStarted,
    CommandCompleted,
    CommandReceived,
    Event,
    PhaseChanged,
    PhaseProgress,
    RunEnded,
    RunPlanned,
    StepDone,
    WarningIssued,
)
from onetrainer_gradio.service.host.lock import FolderLock
from onetrainer_gradio.service.runs.child_process import record_child_process
from onetrainer_gradio.service.runs.control import unanswered
from onetrainer_gradio.service.runs.file_preserver import FilePreserver
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.metrics import MetricsWriter

FLUSH_EVERY_S = 0.2
PROGRESS_EVERY_S = 0.2
ROWS_KEPT_WITHOUT_DISK = 100_000
LAST_TRY_S = 5.0
# When a run's end is reported, its files are recorded, unless they are so large that hashing them takes longer.
SETTLE_S = 2.0


class Recorder:
    """The ``emit`` of a run. A disk that takes nothing keeps the events waiting and the training going.

    ``received`` names every command the run was given: what the backend left unanswered is answered when the run ends, just
    before its RunEnded, so that RunEnded is the last line. ``notify`` is called after each write (a follower in this process).
    """

    def __init__(
        self,
        folder: Path,
        received: Callable[[], Iterable[Command]] = tuple,
        *,
        notify: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        last_try_s: float = LAST_TRY_S,
    ) -> None:
        self._last_try_s = last_try_s
        self._folder = folder
        self._journal = Journal(folder / "journal.jsonl")
        self._metrics = MetricsWriter(folder / "metrics.bin")
        self._files = FilePreserver(folder)
        self._received = received
        self._notify = notify
        self._clock = clock
        self._lock = threading.RLock()
        self._answered: set[str] = set()
        self._authors: dict[str, str] = {}
        self._waiting: deque[Event] = deque()
        self._flushed_at = -FLUSH_EVERY_S
        self._progress: tuple[str, float] = ("", 0.0)
        self._lost_rows = 0
        self._complained = False
        self._ended = False
        self._end_waits = False

    @property
    def ended(self) -> bool:
        """Whether RunEnded was recorded."""
        return self._ended

    def __call__(self, event: Event, /) -> None:
        """Record the event; never raises."""
        if isinstance(event, RunEnded):
            self._end(event)
            return
        with self._lock:
            if self._takes_nothing():
                return
            if isinstance(event, StepDone):
                self._metrics.add(event)
                if self._clock() - self._flushed_at >= FLUSH_EVERY_S:
                    self.flush(force=False)
                return
            if isinstance(event, PhaseProgress) and not self._worth_telling(event):
                return
            if isinstance(event, CommandCompleted):
                if event.command_id in self._answered:
                    return
                self._answered.add(event.command_id)
                event = replace(event, by=event.by or self._authors.pop(event.command_id, ""))  # backends don't have it
            if isinstance(event, CommandReceived):
                self._authors[event.command_id] = event.by
            if isinstance(event, ChildProcessStarted):
                self._record_child_process(event)
            if isinstance(event, RunPlanned):
                self._metrics.plan(event.learning_rates)
            self._files.take(event)  # before the file is reported
            self._waiting.append(event)
            self.flush(force=isinstance(event, PhaseChanged))

    def flush(self, *, force: bool = True) -> None:
        """Write what waits; rows of steps only now and then unless forced."""
        with self._lock:
            if self._end_waits:
                return
            before = len(self._waiting)
            due = self._clock() - self._flushed_at >= FLUSH_EVERY_S
            rows = self._metrics.waiting() if force or due else 0
            try:
                if rows:
                    self._flushed_at = self._clock()
                    self._metrics.flush()
                self._report_lost_rows()
                while self._waiting:
                    self._journal.append(self._waiting[0])
                    self._waiting.popleft()
            except OSError as error:
                self._no_disk(error)
            wrote = bool(rows) or len(self._waiting) < before
        if wrote:
            self._notify()

    def close(self) -> None:
        """Write what waits and let go of the files; an end that waits for the disk is left to whoever finishes the run."""
        self._files.close()
        with self._lock:
            self.flush()
            self._journal.close()
            self._metrics.close()

    def _record_child_process(self, event: ChildProcessStarted) -> None:
        try:
            record_child_process(self._folder, event.pid)
        except OSError as error:
            self._no_disk(error)

    def _worth_telling(self, event: PhaseProgress) -> bool:
        phase, at = self._progress
        now = self._clock()
        if event.phase == phase and event.done < event.total and now - at < PROGRESS_EVERY_S:
            return False
        if self._complained:
            return False
        self._progress = (event.phase, now)
        return True

    def _takes_nothing(self) -> bool:
        return self._ended or self._end_waits

    def _end(self, event: RunEnded) -> None:
        with self._lock:
            if self._takes_nothing():
                return
        self._files.settle(SETTLE_S)
        give_up_at = self._clock() + self._last_try_s
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # the folder is gone, or a frozen process holds the lock: the end counts more
                stack.enter_context(FolderLock(self._folder))
            stack.enter_context(self._lock)  # after that of the folder, as for a command: otherwise each would wait for the other
            if self._takes_nothing():
                return
            self._waiting.extend(unanswered(self._received(), self._answered, event.reason))
            self._waiting.append(event)
            self.flush()
            while self._waiting and self._clock() < give_up_at:
                time.sleep(0.2)
                self.flush()
            self._ended = not self._waiting
            self._end_waits = not self._ended
        self._notify()

    def _no_disk(self, error: OSError) -> None:
        self._lost_rows += self._metrics.drop_oldest(ROWS_KEPT_WITHOUT_DISK)
        if not self._complained:
            self._complained = True
            print(f"Can't write the run's records: {error}. Training continues.", file=sys.stderr, flush=True)

    def _report_lost_rows(self) -> None:
        if not self._complained or self._metrics.waiting():
            return
        lost = f" {self._lost_rows} steps are missing from the chart." if self._lost_rows else ""
        self._journal.append(
            WarningIssued(
                code="records_delayed",
                message=f"The run's records couldn't be written for a while (disk full?). Training continued.{lost}",
                path=str(self._folder),
            )
        )
        self._complained = False
        self._lost_rows = 0

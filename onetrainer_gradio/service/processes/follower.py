"""Follow the active run in one thread for all viewers: read new data and publish it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onetrainer_gradio.events import PhaseProgress, SampleGenerated, tag
from onetrainer_gradio.service.host.atomic import open_file
from onetrainer_gradio.service.processes.run_handle import RunHandle
from onetrainer_gradio.service.runs.feed import Feed
from onetrainer_gradio.service.runs.metrics import Rows
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.runs.samples import sample_dict

_LOG = logging.getLogger(__name__)
LOOK_EVERY_S = 0.1
SEND_EVERY_S = 0.25
# More rows than this aren't sent: a viewer that receives the new row count reads the curve again.
MAX_ROWS = 2000
_LOG_BYTES = 32 << 10
_PAGE = 500
CONTRACT_KEYS = ("is_training", "status", "progress", "max_step", "max_epoch", "error")
# A change of one of these is published at once, of the others with the next metrics.
_AT_ONCE = (
    "status",
    "phase",
    "paused",
    "error",
    "end_reason",
    "warnings_count",
    "samples",
    "total_steps",
    "run_id",
    "queued_run_id",
    "waiting_commands",
    "loaded_until",
)


class Tail:
    """The position of the viewers in one run; new data is sent as messages."""

    def __init__(self, run: Run, feed: Feed, *, from_start: bool) -> None:
        self.run = run
        self._feed = feed
        self._seq = 0 if from_start else run.journal.length()
        self._row = 0 if from_start else run.metrics.count()
        self._log = ConsoleTail(run.folder / "console.log", from_start=from_start)
        self._sent_at = 0.0

    def look(self, *, everything: bool = False) -> bool:
        """Send new data and return whether there was any. Metrics and log lines are sent at most four times a second."""
        changed = self._events()
        if everything or time.monotonic() - self._sent_at >= SEND_EVERY_S:
            sent = self._rows()
            sent = self._lines() or sent
            if sent:
                self._sent_at = time.monotonic()
            changed = changed or sent
        return changed

    def _events(self) -> bool:
        changed = False
        while entries := self.run.journal.since(self._seq, _PAGE):
            changed = True
            for entry in entries:
                kind = entry.body["type"]
                if kind == _SAMPLE_MADE:
                    sample = sample_dict(self.run.id, entry.seq, entry.body)
                    brief = {key: sample[key] for key in ("id", "path", "prompt", "step")}
                    self._feed.publish(f"sample_{entry.body.get('kind', 'default')}", run_id=self.run.id, sample=sample, **brief)
                if kind != _PROGRESSED:
                    event = entry.body
                    self._feed.publish("event", run_id=self.run.id, journal_seq=entry.seq, event=event)
            self._seq = entries[-1].seq
        return changed

    def _rows(self) -> bool:
        count = self.run.metrics.count()
        if count <= self._row:
            return False
        first = max(self._row, count - MAX_ROWS)
        rows = self.run.metrics.rows(first, count)
        columns = list(self.run.metrics.columns())
        self._feed.publish("metrics", run_id=self.run.id, row=first, columns=columns, rows=finite_rows(rows))
        self._row = first + len(rows)
        return True

    def _lines(self) -> bool:
        offset, lines = self._log.read()
        if lines:
            self._feed.publish("log", run_id=self.run.id, offset=offset, lines=lines)
        return bool(lines)


_SAMPLE_MADE = tag(SampleGenerated)
_PROGRESSED = tag(PhaseProgress)


def finite_rows(rows: Rows) -> list[list[float | None]]:
    """Return the rows as JSON numbers: integers without decimals, values that aren't finite as null."""
    return [[_number(value) for value in row] for row in rows.tolist()]


def _number(value: float) -> float | int | None:
    if value != value or value in (float("inf"), float("-inf")):
        return None
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.8g}") if abs(value) < 1e8 else value


class ConsoleTail:
    """Read new lines of a console log; of a line that overwrites itself (a progress bar), only the last state."""

    def __init__(self, path: Path, *, from_start: bool) -> None:
        self._path = path
        self._offset = 0 if from_start else _size(path)
        self._rest = b""

    def read(self) -> tuple[int, list[str]]:
        """Return the byte offset after the new lines, and the new lines."""
        size = _size(self._path)
        if size == self._offset:
            return self._offset, []
        if size - self._offset > _LOG_BYTES:
            self._offset, self._rest = size - _LOG_BYTES, b""
        try:
            descriptor = open_file(self._path)
            if descriptor is None:
                return self._offset, []
            with os.fdopen(descriptor, "rb") as file:
                file.seek(self._offset)
                data = file.read(size - self._offset)
        except OSError:
            return self._offset, []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LOG_BYTES:]
        return self._offset, [console_line(line) for line in lines]


def console_line(line: bytes) -> str:
    """Return a line as a terminal would finally show it."""
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Follower:
    """The thread. Without an active run it sleeps until it is woken.

    ``parked`` is called with a run handle that has ended its run and waits for the next one, ``gone`` with one that has exited.
    ``kind`` is the type of the messages with the state.
    """

    def __init__(
        self,
        feed: Feed,
        state: Callable[[], dict[str, Any]],
        *,
        parked: Callable[[RunHandle], None],
        gone: Callable[[RunHandle], None],
        kind: str = "training_state",
    ) -> None:
        self._feed = feed
        self._state = state
        self._parked = parked
        self._gone = gone
        self._kind = kind
        self._reported_parked: RunHandle | None = None
        self._changed = threading.Condition()
        self._woken = False
        self._closing = False
        self._run_handle: RunHandle | None = None
        self._tail: Tail | None = None
        self._sent: tuple[Any, ...] = ()
        self._sent_progress: tuple[Any, ...] = ()
        self._sent_at = 0.0
        self._thread: threading.Thread | None = None

    def follow(self, run_handle: RunHandle, *, from_start: bool) -> None:
        """Start following this run."""
        with self._changed:
            self._run_handle, self._tail = run_handle, Tail(run_handle.run, self._feed, from_start=from_start)
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._loop, name="follow", daemon=True)
                self._thread.start()
        self.wake()

    def wake(self) -> None:
        """Check for new data at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Block until something happens in the run, or the time is over."""
        with self._changed:
            self._changed.wait(timeout_s)

    def leave(self) -> None:
        """End the thread without waiting for it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread and wait for it; closing twice is harmless."""
        self.leave()
        with self._changed:
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10.0)

    def _loop(self) -> None:
        while True:
            with self._changed:
                if not self._closing and not self._woken:
                    self._changed.wait(LOOK_EVERY_S if self._run_handle is not None else None)
                self._woken = False
                if self._closing:
                    return
                run_handle, tail = self._run_handle, self._tail
            if run_handle is None or tail is None:
                continue
            try:
                self._look(run_handle, tail)
            except OSError as error:  # a disk that fails for a while must not end the following
                _LOG.warning("Can't read the run %s: %s", run_handle.run.id, error)
                self._pause()

    def _pause(self) -> None:
        with self._changed:
            self._woken = False
            self._changed.wait(1.0)

    def _look(self, run_handle: RunHandle, tail: Tail) -> None:
        alive = run_handle.look()
        parked = alive and run_handle is not self._reported_parked and run_handle.loaded_until() is not None
        changed = tail.look(everything=not alive or parked)
        if parked:
            self._reported_parked = run_handle
            self._parked(run_handle)
        if not alive:
            with self._changed:
                if self._run_handle is run_handle:
                    self._run_handle = self._tail = None
            self._gone(run_handle)
        self.publish_state(force=not alive or parked)
        if changed or not alive or parked:
            with self._changed:
                self._changed.notify_all()

    def publish_state(self, *, force: bool = False) -> None:
        """Publish the state if it changed: important changes at once, numbers at intervals."""
        state = self._state()
        stop = state["stop"] or {}
        now = time.monotonic()
        at_once = (*(state.get(key) for key in _AT_ONCE), *(stop.get(key) for key in ("stage", "deadline", "note")))
        progress = (state["row"], state["phase_done"], state["phase_total"], state["seq"])
        due = progress != self._sent_progress and now - self._sent_at >= SEND_EVERY_S
        if force or due or at_once != self._sent:
            self._sent, self._sent_progress, self._sent_at = at_once, progress, now
            self._feed.publish(self._kind, state=state, **{key: state[key] for key in CONTRACT_KEYS})

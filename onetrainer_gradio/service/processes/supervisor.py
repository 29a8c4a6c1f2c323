"""Supervise the worker of a run: outlive the panel, escalate a stop, and record how the worker ended.

Started as ``python -P -m onetrainer_gradio.service.processes.supervisor RUN_FOLDER`` in its own session. It imports neither
torch nor pydantic nor numpy, so it costs a few megabytes. A worker that keeps a backend loaded after its run gets the next run
from here, or is ended when it isn't needed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from onetrainer_gradio.commands import Stop
from onetrainer_gradio.events import PhaseChanged, WarningIssued
from onetrainer_gradio.memory_kills import CounterReader, oom_kill_counters
from onetrainer_gradio.service.host import process
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.module_process import child_environment, module_command, own_session
from onetrainer_gradio.service.processes.handover import HandOver
from onetrainer_gradio.service.runs.cause import end_of_worker
from onetrainer_gradio.service.runs.child_process import ChildProcess
from onetrainer_gradio.service.runs.control import CommandFolder
from onetrainer_gradio.service.runs.ending import finish, note_exit
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.orphans import find_unreported_outputs
from onetrainer_gradio.service.runs.run_folder import FolderWatch
from onetrainer_gradio.service.runs.stop_escalation import StopEscalation, StopTimeouts

LOOK_EVERY_S = 0.2
SUPERVISOR_HEARTBEAT = "supervisor_heartbeat"
LOOKS_FOR_END = 5
# A worker that has recorded its end but hangs while exiting (a library's threads, a driver) is killed after this time.
LINGER_S = float(os.environ.get("ONETRAINER_GRADIO_LINGER_S") or 10.0)
# A child process whose worker died backs up and saves what it has; a large model takes its time.
ORPHAN_S = float(os.environ.get("ONETRAINER_GRADIO_ORPHAN_S") or 900.0)
# A run folder that is missing for this long does not come back; a network drive that was away for a moment does.
MISSING_S = 60.0
FORCED = frozenset({"interrupt", "terminate", "kill"})


def stop_timeouts(run_folder: Path) -> StopTimeouts:
    """Return the seconds of the stop escalation in the run's options."""
    record = read_json(run_folder / "run.json")
    options = record.get("options", {}) if isinstance(record, dict) else {}
    names = ("finish_step_s", "interrupt_s", "terminate_s")
    return StopTimeouts(**{name: float(options[name]) for name in names if name in options})


class PhaseWatch:
    """The current phase of a run, read from its journal on request."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._position = 0
        self._phase = "starting"

    def phase(self) -> str:
        """Return the phase of the newest PhaseChanged."""
        while entries := self._journal.since(self._position):
            self._position = entries[-1].seq
            for entry in entries:
                if isinstance(event := entry.event(), PhaseChanged):
                    self._phase = event.phase
        return self._phase


class StopWatch:
    """Escalate a stop for one process; used by the supervisor, and by the panel if the supervisor is gone."""

    def __init__(self, run_folder: Path, worker_pid: int) -> None:
        self.folder = run_folder
        self._commands = CommandFolder(run_folder)
        self._journal = Journal(run_folder / "journal.jsonl")
        self._phases = PhaseWatch(self._journal)
        self._pid = worker_pid
        self._linger_until: float | None = None
        self._orphan_until: float | None = None
        self._outputs_reported = False
        self._folder_watch = FolderWatch(run_folder)
        self._gone_at: float | None = None
        self.asked: list[Stop] = []
        """Accept stops without a file, from the panel for a run whose folder is gone or can't be written."""
        self.child_process = ChildProcess(run_folder)
        self.escalation = StopEscalation(stop_timeouts(run_folder))

    @property
    def folder_gone(self) -> bool:
        """Return whether the folder of the run is gone; then it isn't waited for."""
        return self._gone_at is not None

    def look(self) -> None:
        """Act if it is due."""
        stops, phase = [*self._commands.stops(), *self.asked], self._phases.phase()
        if self._folder_watch.gone():
            # the worker backs up and ends by itself; its progress is not visible, so it has as long as a backup may take
            self._gone_at = self._gone_at or time.monotonic()
            late = time.monotonic() - self._gone_at >= ORPHAN_S
            stops, phase = [*self.asked, *([Stop(now=True)] if late else [])], "backing_up"
        if not stops:
            return
        stage = self.escalation.look(time.time(), stops, phase)
        if stage is None or self._journal.ended():
            return
        if not self.folder_gone:
            _append_quietly(self._journal, stage)
        self._act(stage.stage)

    def linger_from_now(self) -> None:
        """Start the time limit of a worker that waited after its end; the waiting doesn't count."""
        self._linger_until = None

    def look_after_end(self) -> None:
        """End a worker that recorded its end but doesn't exit: terminate it, then kill it."""
        now = time.monotonic()
        if self._linger_until is None:
            self._linger_until = now + LINGER_S
        elif now >= self._linger_until + LINGER_S:
            process.kill(self._pid)
        elif now >= self._linger_until:
            process.terminate(self._pid)

    def wait_for_child_process(self) -> bool:
        """Return whether the child process still runs after the end of the worker.

        If the worker died, the child finishes its step, backs up and saves; if it must exit, it is ended at once. Files that
        it wrote without a listener are recorded here.
        """
        if not self.child_process.alive():
            self._report_unreported_outputs()
            return False
        now = time.monotonic()
        if self._orphan_until is None:
            end = self._journal.ended()
            # nobody requested the end of a crashed run
            wanted = self.escalation.stage not in FORCED and (end is None or end.body.get("reason") == "lost")
            self._orphan_until = now + (ORPHAN_S if wanted else 0.0)
            if end is None and wanted:
                text = "The training process crashed. OneTrainer finishes its step, backs up and saves before it exits."
                _append_quietly(self._journal, WarningIssued(code="companion_finishes", message=text))
        self.look()
        if now >= self._orphan_until:
            self.child_process.kill()
        return True

    def _report_unreported_outputs(self) -> None:
        if self._outputs_reported or not self.child_process.identity.created or self._journal.ended():
            return
        self._outputs_reported = True
        try:
            events = find_unreported_outputs(self.folder, self._journal)
        except OSError as error:  # the end of the run is recorded even so
            print(f"Can't find the last written files: {error}", file=sys.stderr, flush=True)
            return
        for event in events:
            _append_quietly(self._journal, event)

    def _act(self, stage: str) -> None:
        if self._orphan_until is None:
            {"interrupt": process.interrupt, "terminate": process.terminate, "kill": process.kill}.get(stage, _nothing)(self._pid)
        elif stage == "interrupt":  # where the worker lives, it hands the interrupt on
            self.child_process.interrupt()
        if stage == "terminate":
            self.child_process.terminate()
        elif stage == "kill":
            self.child_process.kill()

    def close(self) -> None:
        """Close the journal and the folder."""
        self._journal.close()
        self._folder_watch.close()


def touch_heartbeat(run_folder: Path) -> None:
    """Show the panel that the supervisor works: a frozen one can't complete a stop."""
    with contextlib.suppress(OSError):
        descriptor = os.open(run_folder / SUPERVISOR_HEARTBEAT, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.utime(descriptor) if os.utime in os.supports_fd else os.utime(run_folder / SUPERVISOR_HEARTBEAT)
        finally:
            os.close(descriptor)


def _nothing(pid: int) -> None:
    return


def _append_quietly(journal: Journal, event: Any) -> None:
    try:
        journal.append(event)
    except OSError as error:  # a full disk must not keep a stop from happening
        print(f"Can't write the journal: {error}", file=sys.stderr, flush=True)


class Worker:
    """The training process, for one run after another."""

    def __init__(self, run_folder: Path) -> None:
        log = os.open(run_folder / "console.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._process = subprocess.Popen(
            module_command("onetrainer_gradio.service.processes.worker", str(run_folder)),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=child_environment(),
            **own_session(),
        )
        os.close(log)
        self.gone = threading.Event()
        threading.Thread(target=self._wait, daemon=True, name="wait-for-worker").start()

    def _wait(self) -> None:
        self._process.wait()
        self.gone.set()

    @property
    def pid(self) -> int:
        """Return its ID, which is also that of its group."""
        return self._process.pid

    @property
    def status(self) -> int:
        """Return how it ended, as in subprocess."""
        return self._process.returncode

    def give(self, run_folder: Path) -> None:
        """Give the waiting worker its next run."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{run_folder}\n".encode())
        self._process.stdin.flush()

    def let_exit(self) -> None:
        """Let it exit after its run, or at once if it waits."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()


def supervise(run_folder: Path, *, counters: CounterReader = oom_kill_counters) -> int:
    """Start the worker of a run, wait for its end, and record it; the same for the following runs of the worker."""
    worker: Worker | None = None
    following: Path | None = run_folder
    while following is not None:
        run_folder, before = following, counters()
        _note(run_folder / "supervisor.json", os.getpid())
        worker = _carrying(run_folder, worker)
        _note(run_folder / "worker.json", worker.pid)
        watch = StopWatch(run_folder, worker.pid)
        parked = _until_parked_or_gone(run_folder, worker, watch)
        if not parked:
            _clear_away(worker, watch)
        _finish(run_folder, 0 if parked else worker.status, watch, before, counters)
        following = _wait_for_the_next(run_folder, worker, watch) if parked else None
        if parked and following is None:
            _clear_away(worker, watch)
        watch.close()
    return 0


def _note(path: Path, pid: int) -> None:
    """Write the processes of the run; a full disk must not end the supervisor."""
    try:
        write_json(path, process.ProcessIdentity.of(pid).as_dict(), durable=False, make_folder=False)
    except OSError as error:
        print(f"Can't write {path.name}: {error}", file=sys.stderr, flush=True)


def _carrying(run_folder: Path, waiting: Worker | None) -> Worker:
    """Return the worker of the run: the waiting one, or a new one if there is none or it has exited."""
    if waiting is not None and not waiting.gone.is_set():
        with contextlib.suppress(OSError):
            waiting.give(run_folder)
            return waiting
    return Worker(run_folder)


def _until_parked_or_gone(run_folder: Path, worker: Worker, watch: StopWatch) -> bool:
    """Watch the run. Return True if it has ended and the worker waits for another one."""
    journal, after = Journal(run_folder / "journal.jsonl"), HandOver(run_folder)
    looks = 0
    while not worker.gone.wait(LOOK_EVERY_S):
        looks += 1
        watch.look()
        touch_heartbeat(run_folder)
        if looks % LOOKS_FOR_END == 0 and journal.ended():
            watch.look_after_end()
        if after.parked_until() is not None:
            return True
    return False


def _wait_for_the_next(run_folder: Path, worker: Worker, watch: StopWatch) -> Path | None:
    """Return the folder of the waiting worker's next run, or None if the worker has exited without one."""
    after = HandOver(run_folder)
    until = after.parked_until() or 0.0
    watch.child_process.alive()  # remembers its identity, in case the folder is deleted
    while run_folder.is_dir() and not worker.gone.wait(LOOK_EVERY_S):
        touch_heartbeat(run_folder)
        decision = after.decision()
        if decision is not None and decision.folder is not None:
            return decision.folder
        if decision is not None or _time_is_up(after, until):
            break
    worker.let_exit()
    watch.linger_from_now()
    while not worker.gone.wait(LOOK_EVERY_S):
        watch.look_after_end()
    return None


def _time_is_up(after: HandOver, until: float) -> bool:
    """Return whether the worker has waited long enough; the next check shows whether the panel decided otherwise meanwhile."""
    now = time.time()
    if now >= until:
        try:
            after.end()
        except OSError:  # a full disk
            return True
    return now >= until + LINGER_S


def _clear_away(worker: Worker, watch: StopWatch) -> None:
    """End remaining processes in the groups of worker and child process, which still use memory; zombies don't count."""
    while watch.wait_for_child_process():
        touch_heartbeat(watch.folder)
        time.sleep(LOOK_EVERY_S)
    give_up_at = time.monotonic() + LINGER_S
    while (process.kill_group(worker.pid) or watch.child_process.kill()) and time.monotonic() < give_up_at:
        time.sleep(LOOK_EVERY_S / 4)


def _finish(run_folder: Path, status: int, watch: StopWatch, before: Any, counters: CounterReader) -> None:
    end = end_of_worker(status, watch.escalation.stage, before, counters())
    give_up_at = time.monotonic() + MISSING_S
    while run_folder.is_dir() or time.monotonic() < give_up_at:
        if watch.folder_gone:
            return
        try:
            finish(run_folder, end, killed=bool(end.signal))
            note_exit(run_folder, exit_code=end.exit_code, by_signal=end.signal, stage=watch.escalation.stage)
            return
        except OSError as error:  # a full disk: the end is worth waiting for
            print(f"Can't record the end of the run yet: {error}", file=sys.stderr, flush=True)
            touch_heartbeat(run_folder)
            time.sleep(5.0)


def main(arguments: list[str]) -> int:
    """Supervise the worker of the run folder given as the only argument."""
    # the supervisor ends with its worker, not before: when both are terminated (a shutdown), the cause is still recorded
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    return supervise(Path(arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

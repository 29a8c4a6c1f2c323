"""Control a run: a supervisor with its worker process, or a thread of this process; the follower polls it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from onetrainer_gradio.backends import execute_run
from onetrainer_gradio.backends.keep_loaded import KeepLoaded
from onetrainer_gradio.commands import Command, Stop
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.errors import CommandRefusedError, WorkerDiedError
from onetrainer_gradio.events import ErrorInfo, RunEnded, WarningIssued
from onetrainer_gradio.process_birth import boot_id
from onetrainer_gradio.service.host import process
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.lock import FolderLock
from onetrainer_gradio.service.host.module_process import child_environment, module_command, own_session
from onetrainer_gradio.service.host.process import ProcessIdentity, interrupt, kill, terminate
from onetrainer_gradio.service.processes.handover import HandOver
from onetrainer_gradio.service.processes.supervisor import (
    SUPERVISOR_HEARTBEAT,
    StopWatch,
    stop_timeouts,
)
from onetrainer_gradio.service.processes.worker import TOKEN_VARIABLE, final_commands, load_run, preparation, with_token
from onetrainer_gradio.service.runs.cause import end_of_lost_run
from onetrainer_gradio.service.runs.child_process import ChildProcess
from onetrainer_gradio.service.runs.control import CommandFolder, QueueControl, received_event
from onetrainer_gradio.service.runs.ending import finish, note_exit, send
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.runs.recorder import Recorder
from onetrainer_gradio.service.runs.run_folder import FolderWatch, process_file
from onetrainer_gradio.service.runs.stop_escalation import StopEscalation
from onetrainer_gradio.service.runs.view import THREAD_NOTE

# A supervisor touches its file five times a second, also while it waits for a full disk.
FROZEN_S = 8.0
FOLDER_GONE = "The run's folder no longer exists. The run writes a backup to its workspace and ends."
# How long a run folder may stand without its supervisor's name in it: the panel was killed between the two.
GRACE_S = 10.0

SIGNALS = (interrupt, terminate, kill)


class RunHandle(Protocol):
    """The interface between the service and a running run."""

    run: Run

    def send(self, command: Command) -> None:
        """Send a command to the run.

        :raises CommandRefusedError: if it has ended.
        """
        ...

    def look(self) -> bool:
        """Do what is due. Return False when the run has ended and nothing of it is left in memory."""
        ...

    def loaded_until(self) -> float | None:
        """Return until when the loaded backend of an ended run waits for the next one (seconds since the epoch), else None."""
        ...

    def hand_over(self, run: Run, *, token: str) -> RunHandle | None:
        """Let the waiting process execute a run. Return None if it can't, or no longer."""
        ...

    def release(self) -> None:
        """End the waiting process. The run handle is done when it has exited."""
        ...

    def processes(self) -> list[tuple[str, int]]:
        """Return role and ID of each process of the run."""
        ...

    def folder_gone(self) -> bool:
        """Return whether the folder of the run was deleted, moved or replaced."""
        ...

    def heartbeat_age_s(self) -> float | None:
        """Return the seconds since the last heartbeat of the run's process, or None if unknown."""
        ...

    def close(self) -> None:
        """Handle the end of the panel."""
        ...


class DetachedRun:
    """A run in separate processes, started by this panel or an earlier one."""

    def __init__(self, run: Run, supervisor: subprocess.Popen[bytes] | None = None, *, token: str | None = None) -> None:
        self.run = run
        self._supervisor_process = supervisor
        self._token = token  # None: an earlier panel's, which this one has no record of
        self._identities = {"supervisor": ProcessIdentity.of(supervisor.pid)} if supervisor else {}
        self._watch: StopWatch | None = None
        self._after = HandOver(run.folder)
        self._signals = 0
        self._folder = FolderWatch(run.folder)
        self._heartbeat_watch = HeartbeatWatch(process_file(run.folder, SUPERVISOR_HEARTBEAT))
        self._asked: list[Stop] = []

    @classmethod
    def start(cls, run: Run, *, data_folder: Path, token: str = "") -> DetachedRun:
        """Start supervisor and worker.

        :raises WorkerDiedError: if no process can be started.
        :raises OSError: if the run's folder can't be written.
        """
        log = os.open(run.folder / "console.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            supervisor = subprocess.Popen(
                module_command("onetrainer_gradio.service.processes.supervisor", str(run.folder)),
                cwd=data_folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment({TOKEN_VARIABLE: token} if token else None),
                **own_session(),
            )
        except OSError as error:
            raise WorkerDiedError(f"Can't start the training process: {error}") from error
        finally:
            os.close(log)
        with contextlib.suppress(OSError):  # started is started: the supervisor writes it, too
            write_json(
                run.folder / "supervisor.json", ProcessIdentity.of(supervisor.pid).as_dict(), durable=False, make_folder=False
            )
        return cls(run, supervisor, token=token)

    def send(self, command: Command) -> None:
        """Write the command to the run's folder. A stop that can't be written is sent to the worker as a signal.

        Each further one escalates: interrupt, terminate, kill. There is no backup, which couldn't be written either. If the
        folder was deleted, the panel escalates the stop itself: the run is backing up to its workspace.
        """
        if self._folder.gone() or not self.run.folder.is_dir():
            if not isinstance(command, Stop):
                raise CommandRefusedError(FOLDER_GONE, value=self.run.id)
            self._asked.append(command)
            return
        try:
            send(self.run.folder, command)
        except OSError:
            worker = self._identity("worker")
            if not isinstance(command, Stop) or not worker.alive() or not self.run.folder.is_dir():
                raise
            escalate = SIGNALS[min(self._signals, len(SIGNALS) - 1)]
            self._signals += 1
            escalate(worker.pid)

    def look(self) -> bool:
        """Watch the supervisor, and if it is missing or frozen, the worker."""
        for role in ("worker", "child_process"):
            self._identity(role)  # remembered, in case the folder is deleted
        if not self._supervisor_alive():
            return self._watch_without_supervisor()
        if self._asked:
            self._own_watch().look()
        if self._heartbeat_watch.frozen() and self._supervisor_wanted():
            process.kill(self._identity("supervisor").pid)
        return True

    def _supervisor_alive(self) -> bool:
        supervisor = self._supervisor_process  # another thread may hand it over meanwhile
        if supervisor is not None:
            return supervisor.poll() is None
        return self._identity("supervisor").alive()

    def _supervisor_wanted(self) -> bool:
        """Return whether the supervisor has work: a stop to escalate, or an end to record."""
        worker = self._identity("worker")
        return bool(CommandFolder(self.run.folder).stops() or (worker.pid and not worker.alive()) or self.run.ended())

    def _own_watch(self) -> StopWatch:
        if self._watch is None:
            self._watch = StopWatch(self.run.folder, self._identity("worker").pid)
        self._watch.asked = self._asked
        return self._watch

    def folder_gone(self) -> bool:
        """Return whether the folder of the run was deleted, moved or replaced."""
        return self._folder.gone()

    def loaded_until(self) -> float | None:
        """Return until when the worker waits."""
        if (until := self._after.parked_until()) is None or self._after.decision() is not None:
            return None
        alive = self._identity("supervisor").alive() and self._identity("worker").alive()
        return until if alive and not self._heartbeat_watch.frozen() else None

    def hand_over(self, run: Run, *, token: str) -> DetachedRun | None:
        """Give the run to the waiting worker if it has the same backend and Hugging Face token."""
        same = run.record.backend == self.run.record.backend and self._token is not None and token == self._token
        supervisor = self._identity("supervisor")
        if not same or self.loaded_until() is None or not self._after.give(run.folder):
            return None
        with contextlib.suppress(OSError):  # the decision is final: the supervisor writes it, too
            write_json(run.folder / "supervisor.json", supervisor.as_dict(), durable=False)
        following = DetachedRun(run, self._supervisor_process, token=token)
        self._supervisor_process = None
        return following

    def release(self) -> None:
        """Let the supervisor end the waiting worker."""
        if self._after.parked_until() is not None:
            with contextlib.suppress(OSError):  # a full disk, or a deleted run: then the supervisor ends it by itself
                self._after.end()

    def _identity(self, role: str) -> ProcessIdentity:
        if role not in self._identities:
            known = ProcessIdentity.from_dict(read_json(process_file(self.run.folder, f"{role}.json")))
            if known is not None and known.pid != os.getpid():  # a run on a thread of this process: nothing here may end that
                self._identities[role] = known
        return self._identities.get(role) or ProcessIdentity(0, "", "")

    def _watch_without_supervisor(self) -> bool:
        worker, gone = self._identity("worker"), not self.run.folder.is_dir() or self._folder.gone()
        ended = self.run.ended()
        if worker.alive():
            watch = self._own_watch()
            if ended:
                watch.look_after_end()
            else:
                watch.look()
            return True
        if self._wait_for_child_process(worker.pid):
            return True
        if ended and not gone and not (self.run.folder / "exit.json").exists():
            with contextlib.suppress(OSError):  # the supervisor would have written it
                note_exit(self.run.folder)
        if ended or gone:
            return False
        if not worker.pid and self._supervisor_process is None and time.time() - self.run.record.created_at < GRACE_S:
            return True
        try:
            rebooted = self._rebooted(worker)
            finish(self.run.folder, self._end(worker, rebooted=rebooted), killed=not rebooted)
            note_exit(self.run.folder)
        except OSError:
            return True  # a full disk; the next check retries
        return False

    def _wait_for_child_process(self, worker_pid: int) -> bool:
        child_process = ChildProcess(self.run.folder)
        if not child_process.alive():
            child_process.kill()  # what it left behind in its group
            return False
        self._watch = self._watch or StopWatch(self.run.folder, worker_pid)
        return self._watch.wait_for_child_process()

    def _rebooted(self, worker: ProcessIdentity) -> bool:
        known = worker if worker.pid else self._identity("supervisor")
        return bool(known.boot) and known.boot != boot_id()

    def _end(self, worker: ProcessIdentity, *, rebooted: bool) -> RunEnded:
        stage = self._watch.escalation.stage if self._watch else None
        if stage in ("interrupt", "terminate", "kill"):
            return RunEnded(reason="stopped")
        if not worker.pid and CommandFolder(self.run.folder).stops():  # it was stopped before it had begun
            return RunEnded(reason="stopped")
        supervisor = self._supervisor_process
        if not worker.pid and supervisor is not None:
            code = supervisor.returncode
            message = f"The training process could not be started: its supervisor ended with code {code}."
            error = ErrorInfo(type="WorkerDiedError", message=message, suggestion="Check the end of the console log.")
            return RunEnded(reason="failed", error=error, exit_code=code)
        return end_of_lost_run(rebooted=rebooted, in_process=False)

    def processes(self) -> list[tuple[str, int]]:
        """Return supervisor, worker and child process that are alive."""
        known = [(role, self._identity(role)) for role in ("supervisor", "worker", "child_process")]
        return [(role, identity.pid) for role, identity in known if identity.pid and identity.alive()]

    def heartbeat_age_s(self) -> float | None:
        """Return the seconds since the worker last touched its heartbeat."""
        try:
            return max(0.0, time.time() - (self.run.folder / "heartbeat").stat().st_mtime)
        except OSError:
            return None

    def close(self) -> None:
        """Leave the processes of a run running without the panel, and end one that waits for the next run."""
        self.release()
        if self._watch is not None:
            self._watch.close()
        self._folder.close()


class HeartbeatWatch:
    """Detect whether a process that touches a file every second is frozen; only time in which the panel itself ran counts."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._beat = 0
        self._silent_s = 0.0
        self._looked_at = clock()

    def frozen(self) -> bool:
        """Return whether the file hasn't been touched for some seconds; False where there is none."""
        now = self._clock()
        passed_s, self._looked_at = now - self._looked_at, now
        try:
            beat = self._path.stat().st_mtime_ns
        except OSError:
            beat = 0
        if beat != self._beat or not beat:
            self._beat, self._silent_s = beat, 0.0
        else:
            self._silent_s += min(passed_s, 1.0)  # time in which the machine slept or the panel was stopped doesn't count
        return self._silent_s >= FROZEN_S


class ThreadRun:
    """A run in a thread of this process. A thread can't be killed: its stop escalation has one stage and then a note."""

    def __init__(
        self, run: Run, *, token: str = "", notify: Callable[[], None] = lambda: None, keep_loaded: KeepLoaded | None = None
    ) -> None:
        self.run = run
        self._token = token
        self._keep_loaded = keep_loaded if keep_loaded is not None else KeepLoaded()
        self._loaded_until = 0.0
        self._deciding = threading.Lock()
        self._control = QueueControl()
        self._recorder = Recorder(run.folder, self._control.received, notify=notify)
        self._notify = notify
        self._stops: list[Stop] = []
        self._escalation = StopEscalation(stop_timeouts(run.folder), stages=("finish_step",))
        self._noted = False
        self._folder = FolderWatch(run.folder)
        self._reported_gone = False
        self._config = TrainConfig()
        self._thread = threading.Thread(target=self._work, name=f"run-{run.id}", daemon=True)

    def start(self) -> ThreadRun:
        """Start training."""
        self._config, _ = load_run(self.run.folder)
        write_json(self.run.folder / "worker.json", ProcessIdentity.of(os.getpid()).as_dict(), durable=False)
        self._thread.start()
        return self

    def _work(self) -> None:
        config, options = load_run(self.run.folder)
        with (self.run.folder / "console.log").open("a", encoding="utf-8") as console:
            config = with_token(config, self._token)
            stays = self._keep_loaded if options.keep_loaded_s else None
            before = preparation(self.run.folder, config, self._recorder)
            execute_run(
                options.backend, config, self._recorder, self._control, options, console=console, keep_loaded=stays, before=before
            )
        self._loaded_until = time.time() + (options.keep_loaded_s or 0.0)
        self._recorder.close()
        with contextlib.suppress(OSError):
            note_exit(self.run.folder)
        self._notify()

    def send(self, command: Command) -> None:
        """Put the command into the run's queue."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # the folder is gone: the command reaches the thread all the same
                stack.enter_context(FolderLock(self.run.folder))
            if self._recorder.ended:
                raise CommandRefusedError("The run has already ended", value=self.run.id)
            with contextlib.suppress(OSError):
                CommandFolder(self.run.folder).note_stop(command)
            if isinstance(command, Stop):
                self._stops.append(command)
            self._recorder(received_event(command))
            self._control.put(command)

    def look(self) -> bool:
        """Write waiting events and escalate a stop."""
        self._recorder.flush(force=False)
        if not self._reported_gone and self._folder.gone():
            self._reported_gone = True
            for command in final_commands(self._config):
                self._control.put(command)
        stage = self._escalation.look(time.time(), tuple(self._stops), self.run.state()["phase"] or "") if self._stops else None
        if stage is not None:
            self._recorder(stage)
        if self._stops and not self._noted and time.time() >= self._escalation.deadline:
            self._noted = True
            message = "The run doesn't respond to the stop, and a thread can't be killed. Restart the panel to end it."
            self._recorder(WarningIssued(code=THREAD_NOTE, message=message))
        if self._thread.is_alive():
            return True
        if not self.run.ended() and not self._reported_gone:
            end = RunEnded(reason="failed", error=ErrorInfo(type="WorkerDiedError", message="The training thread has ended."))
            try:
                finish(self.run.folder, end)
            except OSError:
                return True
        with self._deciding:
            if self.loaded_until() is not None:
                return True
            self._loaded_until = 0.0
            kept = self._keep_loaded
        kept.close()
        return False

    def loaded_until(self) -> float | None:
        """Return until when OneTrainer waits, which is a separate process in any case."""
        waits = not self._thread.is_alive() and time.time() < self._loaded_until and self._keep_loaded.holds()
        return self._loaded_until if waits else None

    def hand_over(self, run: Run, *, token: str) -> ThreadRun | None:
        """Let a run in another thread of this process use the loaded backend, which this run no longer closes."""
        with self._deciding:
            if run.record.backend != self.run.record.backend or self.loaded_until() is None:
                return None
            following = ThreadRun(run, token=token, notify=self._notify, keep_loaded=self._keep_loaded).start()
            self._keep_loaded = KeepLoaded()
        return following

    def release(self) -> None:
        """Let the next ``look`` end it."""
        self._loaded_until = 0.0

    def processes(self) -> list[tuple[str, int]]:
        """Return no processes."""
        return []

    def folder_gone(self) -> bool:
        """Return whether the folder of the run was deleted, moved or replaced."""
        return self._folder.gone()

    def heartbeat_age_s(self) -> float | None:
        """Return None: unknown for a thread."""
        return None

    def close(self) -> None:
        """Stop the run and wait as long as its options allow: it can't continue without the panel."""
        if self._thread.is_alive():
            with contextlib.suppress(CommandRefusedError):
                self.send(Stop(by="panel"))
            self._thread.join(stop_timeouts(self.run.folder).finish_step_s)
        self._keep_loaded.close()


def adopt(run: Run) -> RunHandle:
    """Return the run handle of a run that another panel started and that hasn't ended.

    :raises OSError: if the end of a lost run cannot be recorded.
    """
    identity = ProcessIdentity.from_dict(read_json(run.folder / "worker.json"))
    if run.options().in_process or (identity is not None and identity.pid == os.getpid()):
        rebooted = identity is not None and identity.boot != boot_id()
        finish(run.folder, end_of_lost_run(rebooted=rebooted, in_process=True), killed=not rebooted)
    return DetachedRun(run)

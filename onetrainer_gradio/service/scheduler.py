"""Decide which run trains: start, queue, hand over, adopt after a restart, and stop."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onetrainer_gradio.backends import error_info
from onetrainer_gradio.commands import Command, Stop
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import CommandRefusedError, RunConflictError, RunNotFoundError, WorkerDiedError
from onetrainer_gradio.events import CommandCompleted, ErrorInfo, PhaseChanged, RunEnded
from onetrainer_gradio.service.host.atomic import raising_storage_error
from onetrainer_gradio.service.host.system import RunProcess
from onetrainer_gradio.service.people.roles import author
from onetrainer_gradio.service.processes.follower import Follower
from onetrainer_gradio.service.processes.run_handle import FOLDER_GONE, DetachedRun, RunHandle, ThreadRun, adopt
from onetrainer_gradio.service.runs.cause import end_of_lost_run
from onetrainer_gradio.service.runs.control import CommandFolder
from onetrainer_gradio.service.runs.ending import recorded_end
from onetrainer_gradio.service.runs.feed import Feed
from onetrainer_gradio.service.runs.orphans import BACKUP_FOLDER, newest_backup
from onetrainer_gradio.service.runs.record import Run, RunStore
from onetrainer_gradio.service.runs.run_folder import process_file
from onetrainer_gradio.service.runs.view import idle_state, permissions
from onetrainer_gradio.service.service_settings import ServiceSettings

_LOG = logging.getLogger(__name__)
RELEASE_WAITS_S = 15.0
# The processes of this many runs before a queued one may still exist; older ones have exited.
_STILL_ENDING = 3
# This many runs of earlier panels are checked before the panel is ready, the older ones in the background.
_LOOKED_AT_FIRST = 100
_COMMANDS_KEPT = 1000


@dataclass(frozen=True)
class OtherRun:
    """A run on another device than the current one, and what follows it."""

    run_handle: RunHandle
    follower: Follower


class RunScheduler:
    """Owns which run is current, which one waits for its end, and the processes of all runs. Safe from any thread.

    ``token`` gives the Hugging Face token of a run that starts. The state is about the current run. One more run can wait for
    the end of its processes. Runs of the queue can train on other devices at the same time; when the current run is gone,
    the oldest of them becomes the current one. ``freed`` is called when the processes of a run are gone or wait for the next one.
    """

    def __init__(
        self,
        runs: RunStore,
        feed: Feed,
        settings: ServiceSettings,
        token: Callable[[], str],
        freed: Callable[[], None] = lambda: None,
    ) -> None:
        self.prepared: tuple[TrainConfig, RunOptions] | None = None
        """The configuration that is set for the next start; the state shows that there is one."""
        self._runs = runs
        self._feed = feed
        self._settings = settings
        self._token = token
        self._freed = freed
        self._lock = threading.RLock()
        self._run_handle: RunHandle | None = None
        self._current: Run | None = None
        self._queued: Run | None = None
        self._others: dict[str, OtherRun] = {}
        self._asked: dict[str, Run] = {}
        self._closed = False
        self._closing = threading.Event()
        self._follower = Follower(feed, self.state, parked=self._parked, gone=self._gone)

    def open(self) -> None:
        """Continue or end the unfinished runs of an earlier panel."""
        with self._lock:
            self._runs.remove_unfinished()
            ids = self._runs.ids()
            recent = [self._runs.get(run_id) for run_id in ids[:_LOOKED_AT_FIRST]]
            self._current = next((run for run in recent if not run.record.imported), None)
            unfinished = [run for run in recent if not run.ended()]
            waiting = [run for run in reversed(recent) if self._take_up(run)]
            if self._run_handle is None:
                self._wait_for_the_last_of([run for run in recent if run not in waiting])
            for run in waiting:
                self._queued, self._current = run, run
                if self._run_handle is None:
                    self._start_waiting()
            if self._current is not None and self._run_handle is None:
                self._see_off(self._current)
            for run in {run.id: run for run in (self._current, *unfinished) if run is not None and run.ended()}.values():
                run.complete_files(self._closing)
        if ids:
            self._settle(ids[_LOOKED_AT_FIRST:])

    def close(self) -> None:
        """End the threads; detached runs continue, a run in a thread is stopped. Closing twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._closing.set()
            run_handle, found = self._run_handle, list(self._others.values())
        for other in (run_handle, *(each.run_handle for each in found)):
            if other is not None:
                other.close()
        for follower in (self._follower, *(each.follower for each in found)):
            follower.close()

    def publish(self) -> None:
        """Publish the state to all viewers now."""
        self._follower.publish_state(force=True)

    def prepare(self, config: TrainConfig, options: RunOptions) -> None:
        """Set the configuration of the next start.

        :raises RunConflictError: if a run is active.
        """
        with self._lock:
            self.raise_if_busy()
            self.prepared = (config, options)
        self.publish()

    def release(self, run_id: str) -> None:
        """Wait until the processes of an ended run have exited, and unload what they keep loaded.

        :raises RunConflictError: if they haven't in time.
        """
        run = self._runs.get(run_id)
        give_up_at = time.monotonic() + RELEASE_WAITS_S
        while run.ended() and (run_handle := self._handle_of(run_id)) is not None:
            if run_handle.loaded_until() is not None:
                run_handle.release()
            if time.monotonic() >= give_up_at:
                raise RunConflictError(
                    f"The process of the run {run_id} hasn't exited yet", value=run_id, suggestion="Try again in a moment."
                )
            self._follower.wake()
            self._follower.wait(0.1)

    def _settle(self, older: Sequence[str]) -> None:
        """Update the index of the runs in the background, and end older runs that an earlier panel left unfinished."""
        not_taken_up = set(older)

        def end_left_over(run_id: str) -> None:
            if run_id in not_taken_up and not (run := self._runs.get(run_id)).ended():
                self._end_left_over(run)

        self._runs.listing.catch_up(end_left_over)

    def _end_left_over(self, run: Run) -> None:
        with self._lock:
            waiting = self._take_up(run)
        if waiting:  # a run that many others were queued after is outdated
            run.record_end(RunEnded(reason="stopped"))

    def _take_up(self, run: Run) -> bool:
        """Continue or end an unfinished run of an earlier panel. Return True if it is still queued."""
        try:
            return self._taken_up(run)
        except OSError as error:  # a file of one run that can't be read or written must not keep the panel from starting
            _LOG.warning("Can't continue the run %s: %s", run.id, error)
            run.assume_ended(end_of_lost_run(rebooted=False, in_process=run.options().in_process))
            return False

    def _taken_up(self, run: Run) -> bool:
        if run.journal.ended():
            return False
        if (end := recorded_end(run.folder)) is not None:
            run.record_end(end)
            return False
        started = any(process_file(run.folder, name).exists() for name in ("supervisor.json", "worker.json"))
        if not started and run.state()["phase"] == "queued":
            return True
        run_handle = adopt(run)
        if run_handle.look():
            if self._run_handle is None:
                self._run_handle, self._current = run_handle, run
                self._follower.follow(run_handle, from_start=False)
            else:
                self._follow_other(run_handle, from_start=False)
        return False

    def _follow_other(self, run_handle: RunHandle, *, from_start: bool) -> None:
        follower = Follower(self._feed, run_handle.run.state, parked=self._parked_other, gone=self._gone_other, kind="run_state")
        self._others[run_handle.run.id] = OtherRun(run_handle, follower)
        follower.follow(run_handle, from_start=from_start)

    def _parked_other(self, run_handle: RunHandle) -> None:
        """Let the process of a run on another device exit: only the current one hands its process on."""
        run_handle.release()

    def _gone_other(self, run_handle: RunHandle) -> None:
        self._keep_result(run_handle)
        with self._lock:
            found = self._others.get(run_handle.run.id)
            if found is not None and found.run_handle is run_handle:
                self._others.pop(run_handle.run.id)
                found.follower.leave()
        self._follower.wake()
        self._freed()

    def launch_on_other_device(self, run: Run) -> None:
        """Start a new run on a device that no other run uses, in separate processes.

        :raises StorageError: if the run's folder can't be written.
        """
        with self._lock, raising_storage_error("the run's folder"):
            run.journal.append(PhaseChanged(phase="starting", detail="loading libraries"))
            try:
                run_handle = DetachedRun.start(run, data_folder=self._settings.data_folder, token=self._token())
            except WorkerDiedError as error:
                run.record_end(RunEnded(reason="failed", error=error_info(error)))
                return
            self._follow_other(run_handle, from_start=True)

    def occupants(self) -> list[Run]:
        """Return the runs that wait for a process or whose processes haven't exited, the current one first."""
        with self._lock:
            runs = [self._run_handle.run] if self._run_handle is not None else []
            return runs + [each.run_handle.run for each in self._others.values()] + ([self._queued] if self._queued else [])

    def _handle_of(self, run_id: str) -> RunHandle | None:
        with self._lock:
            if self._run_handle is not None and self._run_handle.run.id == run_id:
                return self._run_handle
            return self._others[run_id].run_handle if run_id in self._others else None

    def _wait_for_the_last_of(self, ended: Sequence[Run]) -> None:
        """Let a queued run wait for the processes of the previous one, which may still use memory."""
        for run in ended[:_STILL_ENDING]:
            run_handle = DetachedRun(run)
            if not run.options().in_process and run_handle.processes() and run_handle.loaded_until() is None:
                self._run_handle = run_handle
                self._follower.follow(run_handle, from_start=False)
                return

    def _see_off(self, run: Run) -> None:
        """Unload what an earlier panel's last run left loaded, because this panel doesn't know its Hugging Face token."""
        run_handle = DetachedRun(run)
        if not run.options().in_process and run_handle.loaded_until() is not None:
            run_handle.release()
            self._run_handle = run_handle
            self._follower.follow(run_handle, from_start=False)

    def launch(self, run: Run) -> None:
        """Start a new run, or queue it behind the previous one.

        :raises StorageError: if the run's folder can't be written.
        """
        with self._lock, raising_storage_error("the run's folder"):
            before, self._queued = (self._queued, self._current), run
            try:
                if self._run_handle is None or self._run_handle.loaded_until() is not None:
                    self._start_queued()
                else:
                    run.journal.append(PhaseChanged(phase="queued", detail=f"waiting for {self._run_handle.run.id} to finish"))
                self.prepared = None
            except OSError:
                self._queued, self._current = before
                raise

    def raise_if_busy(self) -> None:
        state = self.state()
        if not state["can"]["start"]:
            raise RunConflictError(str(state["why"]["start"]), value=state["run_id"])

    def _start_waiting(self) -> None:
        """Start the queued run; if it can't be started, it fails with the reason."""
        run = self._queued
        try:
            self._start_queued()
        except OSError as error:
            assert run is not None
            self._queued, self._current = None, run
            run.record_end(RunEnded(reason="failed", error=error_info(error)))

    def _start_queued(self) -> None:
        """Start the queued run in the loaded process of the last one if possible; otherwise unload that first.

        :raises OSError: if the run's folder can't be written.
        """
        run = self._queued
        if run is None:
            return
        token = self._token()
        if self._run_handle is not None:
            following = self._hand_on(self._run_handle, run, token)
            if following is None:
                self._run_handle.release()
                run.journal.append(PhaseChanged(phase="queued", detail="waiting for the last run's model to be unloaded"))
                return
            self._queued, self._current, self._run_handle = None, run, following
            self._follower.follow(following, from_start=True)
            return
        run.journal.append(PhaseChanged(phase="starting", detail="loading libraries"))
        self._queued, self._current = None, run
        try:
            run.settle(in_process=self._settings.in_process)  # a panel that was started otherwise may have queued it
            if self._settings.in_process:
                self._run_handle = ThreadRun(run, token=token, notify=self._follower.wake).start()
            else:
                self._run_handle = DetachedRun.start(run, data_folder=self._settings.data_folder, token=token)
        except WorkerDiedError as error:
            run.record_end(RunEnded(reason="failed", error=error_info(error)))
            return
        self._follower.follow(self._run_handle, from_start=True)

    @staticmethod
    def _hand_on(run_handle: RunHandle, run: Run, token: str) -> RunHandle | None:
        try:
            return run_handle.hand_over(run, token=token)
        except OSError:  # the event can't be written to disk
            return None

    def _parked(self, run_handle: RunHandle) -> None:
        """Note that a run has ended and its process waits for the next one."""
        run_handle.run.summary()
        with self._lock:
            if self._run_handle is run_handle and not self._closed:
                self._start_waiting()
        self._freed()

    def unload(self) -> bool:
        """Unload what the last run left loaded for the next one. Return whether there was anything."""
        with self._lock:
            run_handle = self._run_handle
            if run_handle is None or run_handle.loaded_until() is None:
                return False
            run_handle.release()
        self._follower.wake()
        return True

    def _keep_result(self, run_handle: RunHandle) -> None:
        if run_handle.folder_gone() or not run_handle.run.folder.is_dir():
            if run_handle.run.state()["is_training"]:  # else it was deleted after its end
                run_handle.run.assume_ended(_end_without_folder(run_handle.run))
        else:
            run_handle.run.summary()  # keeps it, while everything is read already
            run_handle.run.complete_files(self._closing)

    def _gone(self, run_handle: RunHandle) -> None:
        self._keep_result(run_handle)
        with self._lock:
            if self._run_handle is run_handle:
                self._run_handle = None
                if not self._closed:
                    self._start_waiting()
                    self._promote()
        self._freed()

    def _promote(self) -> None:
        """Make the oldest run on another device the current run."""
        if self._run_handle is not None or not self._others:
            return
        found = self._others.pop(next(iter(self._others)))
        found.follower.leave()
        self._run_handle, self._current = found.run_handle, found.run_handle.run
        self._follower.follow(found.run_handle, from_start=False)

    def state(self) -> dict[str, Any]:
        """Return the state object of the contract, with the possible actions."""
        with self._lock:
            run, run_handle, queued, initialized = self.shown(), self._run_handle, self._queued, self.prepared
            others = [each.run_handle.run for each in self._others.values()]
        loaded_until = run_handle.loaded_until() if run_handle is not None and run_handle.run.ended() else None
        if run is None or (initialized is not None and (run_handle is None or loaded_until is not None)):
            state = idle_state(initialized=initialized is not None, backend=self._settings.backend)
        else:
            state = run.state()
            if run_handle is not None and run_handle.run is run and state["is_training"] and run_handle.folder_gone():
                state |= {"status": "stopping", "phase": "stopping", "phase_detail": FOLDER_GONE}
        state["queued_run_id"] = queued.id if queued else None
        state["waits_for"] = _waited_for(run_handle) if queued is not None and run_handle is not None else None
        # between its RunEnded and the end of its process a run still holds memory: a new one waits for that
        state["process_running"] = run_handle is not None and loaded_until is None
        state["loaded_until"] = loaded_until
        state["heartbeat_age_s"] = run_handle.heartbeat_age_s() if state["process_running"] and run_handle is not None else None
        state["also_running"] = [other.id for other in others]
        state["can"], state["why"] = permissions(
            state, queue_full=queued is not None, other=others[0].name or others[0].id if others else ""
        )
        return state

    def shown(self) -> Run | None:
        """Return the run that the state is about: after the response to a start, the new one, even while it is queued."""
        if self._queued is not None:
            return self._queued
        if self._current is not None and self._was_deleted(self._current):
            self._current = None
        return self._current

    def _was_deleted(self, run: Run) -> bool:
        """Return whether the folder of an ended run was deleted; a training run without it is shown until its end."""
        if run.folder.is_dir() or run.end_assumed:
            return False
        return self._run_handle is None or self._run_handle.run is not run or bool(run.state()["end_reason"])

    def busy(self) -> bool:
        return self._run_handle is not None or self._feed.watched

    def run_processes(self) -> Iterator[RunProcess]:
        with self._lock:
            run_handles = [self._run_handle, *(each.run_handle for each in self._others.values())]
        for run_handle in run_handles:
            if run_handle is not None:
                yield from ((role, run_handle.run.id, pid) for role, pid in run_handle.processes())

    def wait_for(self, predicate: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
        """Block until ``predicate`` is true for the state. Return that state.

        :raises TimeoutError: if it isn't in time.
        """
        give_up_at = time.monotonic() + timeout_s
        while True:
            state = self.state()
            if predicate(state):
                return state
            left = give_up_at - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"Timed out after {timeout_s} s. The status is {state['status']}")
            self._follower.wait(min(left, 0.25))

    def answer(self, command_id: str, timeout_s: float = 0.0) -> dict[str, Any] | None:
        """Return the answer to a command of the current run, after at most ``timeout_s``, or None if there is none yet."""
        give_up_at = time.monotonic() + timeout_s
        while True:
            answer = self._answered(command_id)
            left = give_up_at - time.monotonic()
            if answer is not None or left <= 0:
                return _answer_dict(answer) if answer else None
            self._follower.wait(min(left, 0.25))

    def waiting_command(self, command_id: str) -> dict[str, Any] | None:
        """Return a command that the current run has received and not yet answered; None if it has none of that id."""
        with self._lock:
            asked = self._asked.get(command_id)
        waiting = (asked.state() if asked is not None else self.state())["waiting_commands"]
        return next((command for command in waiting if command["command_id"] == command_id), None)

    def _answered(self, command_id: str) -> CommandCompleted | None:
        with self._lock:
            asked = self._asked.get(command_id)
            runs = [asked] if asked is not None else [run for run in (self._queued, self._current) if run is not None]
        return next((answer for run in runs if (answer := run.answer(command_id))), None)

    def _note_command(self, command: Command, run: Run) -> None:
        """Remember the run of a command, whose answer is in that run even if the state is about another one later."""
        with self._lock:
            self._asked[command.id] = run
            while len(self._asked) > _COMMANDS_KEPT:
                self._asked.pop(next(iter(self._asked)))

    def stop(self, now: bool = False, run_id: str | None = None) -> str:
        """End the run after the step, with backup and save; ``now``, or a second call, escalates the stop at once.

        A queued run is removed from the queue. Meanwhile, the run that it waits for is stopped by its ID.

        :raises CommandRefusedError: if there is nothing to stop.
        :raises RunNotFoundError: if the run with this ID is neither active nor queued.
        """
        command = Stop(now=now, by=author())
        with self._lock:
            queued, run_handle = self._queued, self._run_handle
            if queued is not None and run_id in (None, queued.id):
                self._take_out_of_queue(queued, command)
                return command.id
            found = self._others.get(run_id or "")
        if found is not None:
            self._give(found.run_handle, command)
            return command.id
        current = run_handle.run if run_handle is not None else self._current
        if run_id is not None and (current is None or current.id != run_id):
            raise RunNotFoundError(f"The run {run_id} isn't running", value=run_id)
        if queued is None:
            return self.send("stop", command)
        if run_handle is None or run_handle.run.ended():
            raise CommandRefusedError(f"The run {run_id} has already ended", value="stop")
        self._give(run_handle, command)
        return command.id

    def _take_out_of_queue(self, queued: Run, command: Stop) -> None:
        self._note_command(command, queued)
        with contextlib.suppress(OSError):
            CommandFolder(queued.folder).send(command)
        queued.record_end(RunEnded(reason="stopped"))
        self._queued = None
        if self._run_handle is None or self._run_handle.run.ended():
            self._current = queued
        self._follower.wake()
        self._follower.publish_state(force=True)

    def send(self, action: str, command: Command, run_id: str | None = None) -> str:
        """Send a command to the current run, or to the one with this ID. Return the ID of the command.

        :raises CommandRefusedError: if the state of the run doesn't allow it.
        :raises RunNotFoundError: if the run with this ID isn't active.
        """
        found = self._others.get(run_id or "")
        if found is not None:
            state = found.run_handle.run.state()
            can, why = permissions(state, queue_full=False)
            if not can[action]:
                raise CommandRefusedError(str(why[action]), value=action)
            self._give(found.run_handle, command)
            return command.id
        state = self.state()
        if run_id is not None and state["run_id"] != run_id:
            raise RunNotFoundError(f"The run {run_id} isn't running", value=run_id)
        run_handle = self._run_handle
        if not state["can"][action] or run_handle is None:
            raise CommandRefusedError(str(state["why"][action] or "No run is active."), value=action)
        self._give(run_handle, command)
        return command.id

    def send_all(self, run_id: str, commands: Sequence[Command]) -> None:
        """Send several commands to an active run, which takes them in this order.

        :raises CommandRefusedError: if it has no process, or has ended.
        """
        run_handle = self._handle_of(run_id)
        if run_handle is None or run_handle.run.ended():
            raise CommandRefusedError(f"The run {run_id} isn't running", value=run_id)
        for command in commands:
            self._give(run_handle, command)

    def _give(self, run_handle: RunHandle, command: Command) -> None:
        command = replace(command, by=command.by or author())
        with raising_storage_error("the command"):
            run_handle.send(command)
        self._note_command(command, run_handle.run)
        run_handle.run.acknowledge(command)
        self._follower.wake()


def _end_without_folder(run: Run) -> RunEnded:
    """Return the end of a run whose folder was deleted during training, with the newest backup, the only remaining result."""
    folder = Path(run.record.workspace) / BACKUP_FOLDER
    backup = newest_backup(folder, run.record.created_at)
    left = f"Its last backup is {backup.path}." if backup else f"Look for its last backup in {folder}."
    message = f"The run's folder was deleted or moved during training, so the run ended. {left}"
    return RunEnded(reason="failed", error=ErrorInfo(type="StorageError", message=message))


def _waited_for(run_handle: RunHandle) -> dict[str, Any]:
    """Return the run that the queued one waits for, and the stage of its stop."""
    state = run_handle.run.state()
    return {key: state[key] for key in ("run_id", "name", "status", "phase", "is_training", "stop")}


def _answer_dict(answer: CommandCompleted) -> dict[str, Any]:
    return {key: getattr(answer, key) for key in ("command_id", "command", "outcome", "reason", "result")}

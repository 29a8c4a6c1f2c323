"""Provide the service, which the API, the page and Python call. Safe from any thread."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onetrainer_gradio import __version__
from onetrainer_gradio.backends import error_info
from onetrainer_gradio.commands import BackupNow, Command, Pause, Resume, SampleCustom, SampleDefault, SaveNow, Stop
from onetrainer_gradio.config.declarations.sample import SampleConfig
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.visibility import MODEL_TYPE
from onetrainer_gradio.config.files.documents import from_document, validated
from onetrainer_gradio.config.files.presets import DEMO_PRESET, PLACEHOLDERS, preset_families
from onetrainer_gradio.config.files.resolve import absolute, pack, resolve_paths
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.config.resume import nothing_left_of
from onetrainer_gradio.errors import (
    BackupNotFoundError,
    CommandRefusedError,
    ConfigInvalidError,
    RunConflictError,
    RunNotFoundError,
    StorageError,
    WorkerDiedError,
)
from onetrainer_gradio.events import CommandCompleted, ErrorInfo, PhaseChanged, RunEnded
from onetrainer_gradio.service.datasets.concepts import ConceptStore
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.engines.checkouts import PRESET_FOLDER, Checkouts, Sources, usual_places
from onetrainer_gradio.service.engines.new_sample import new_sample
from onetrainer_gradio.service.engines.preflight import Preflight
from onetrainer_gradio.service.engines.selection import Engines
from onetrainer_gradio.service.host.atomic import raising_storage_error
from onetrainer_gradio.service.host.folders import FolderBrowser
from onetrainer_gradio.service.host.path_guard import PathGuard
from onetrainer_gradio.service.host.secret_store import SecretStore
from onetrainer_gradio.service.host.system import GpuReader, NvmlReader, RunProcess, SystemMonitor
from onetrainer_gradio.service.processes.follower import Follower, console_line
from onetrainer_gradio.service.processes.run_handle import FOLDER_GONE, DetachedRun, RunHandle, ThreadRun, adopt
from onetrainer_gradio.service.runs.cause import end_of_lost_run
from onetrainer_gradio.service.runs.control import CommandFolder
from onetrainer_gradio.service.runs.ending import recorded_end
from onetrainer_gradio.service.runs.feed import Feed
from onetrainer_gradio.service.runs.orphans import BACKUP_FOLDER, newest_backup
from onetrainer_gradio.service.runs.record import Run, RunRecord, RunStore
from onetrainer_gradio.service.runs.run_folder import process_file
from onetrainer_gradio.service.runs.samples import SampleStore
from onetrainer_gradio.service.runs.view import idle_state, permissions
from onetrainer_gradio.service.service_settings import ServiceSettings, default_data_folder
from onetrainer_gradio.service.settings.availability import Availability
from onetrainer_gradio.service.settings.comparison import Comparison
from onetrainer_gradio.service.settings.configs import ConfigDocument, ConfigStore
from onetrainer_gradio.service.settings.form import FormSchema
from onetrainer_gradio.service.settings.libraries import Libraries
from onetrainer_gradio.service.settings.open_edits import OpenEdits
from onetrainer_gradio.versions import hardware, versions

_LOG = logging.getLogger(__name__)
DELETE_WAITS_S = 15.0
# Of so many runs before a queued one the processes may still be there; of older ones they are long gone.
_STILL_ENDING = 3
# Of the runs of former panels so many are looked at before the panel is ready, the older ones in the background.
_LOOKED_AT_FIRST = 100
_COMMANDS_KEPT = 1000
_SNAPSHOT_SAMPLES = 24
_SNAPSHOT_LINES = 200


class TrainerService:
    """Runs, the current settings, samples, machine readings, and the feed for all viewers.

    ``open`` adopts the runs of an earlier panel; after ``close``, detached runs continue.
    """

    def __init__(self, settings: ServiceSettings, *, gpus: Callable[[], GpuReader] = NvmlReader) -> None:
        self.settings = replace(settings, data_folder=settings.data_folder.expanduser().absolute())
        data = self.settings.data_folder
        data.mkdir(parents=True, exist_ok=True)
        roots = settings.allowed_roots
        self._roots = (data, *PLACEHOLDERS.values(), *roots) if roots else ()
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._run_handle: RunHandle | None = None
        self._current: Run | None = None
        self._queued: Run | None = None
        self._asked: dict[str, Run] = {}
        self._initialized: tuple[TrainConfig, RunOptions] | None = None
        self._opened = False
        self._closed = False
        self._closing = threading.Event()
        self.feed = Feed(self._snapshot)
        self.secrets = SecretStore(data / "secrets.json")
        sources = Sources(settings.checkouts, usual_places if settings.find_checkouts else tuple)
        self.checkouts = Checkouts(data, sources, closed=settings.closed_checkouts or bool(roots), changed=self._engines_changed)
        self.engines = Engines(
            data / "config" / "engine.json", self.checkouts, usual=settings.backend, changed=self._engines_changed
        )
        self.preflight = Preflight(data, self._roots, settings.backend, self.engines)
        self.form = FormSchema(self.engines.newer)
        self.libraries = Libraries(data / "config" / "libraries.json", roots=self._roots, taken=preset_families())
        self.configs = ConfigStore(
            data,
            preflight=self.preflight,
            roots=self._roots,
            libraries=self.libraries,
            newer=self.engines.newer,
            start_with=DEMO_PRESET if settings.demo else None,
            changed=self._config_changed,
        )
        self.runs = RunStore(data / "runs")
        self.open_edits = OpenEdits()
        self.folders = FolderBrowser(data, self._roots)
        self.comparison = Comparison(self.configs, self.runs)
        self.availability = Availability(self.engines, self.configs)
        self.images = ImageDecoder()
        self.samples = SampleStore(self.runs, data / "cache" / "thumbnails", self.images)
        self.concepts = ConceptStore(data, self._roots, data / "cache" / "concepts", decoder=self.images)
        self.system = SystemMonitor(
            data, busy=self._busy, run_processes=self._run_processes, publish=self._system_read, gpus=gpus
        )
        self._follower = Follower(self.feed, self.get_state, parked=self._parked, gone=self._gone)

    # life

    def open(self) -> None:
        """Adopt unfinished runs of an earlier panel and start reading the machine; opening twice is harmless."""
        with self._lock:
            if self._opened:
                return
            self._opened = True
            self.runs.remove_unfinished()
            ids = self.runs.ids()
            recent = [self.runs.get(run_id) for run_id in ids[:_LOOKED_AT_FIRST]]
            self._current = recent[0] if recent else None
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
        self._offer_their_presets()
        self.checkouts.read_all()
        self.system.start()

    def _settle(self, older: Sequence[str]) -> None:
        """Update the index of the runs in the background, and end older runs that an earlier panel left unfinished."""
        not_taken_up = set(older)

        def end_left_over(run_id: str) -> None:
            if run_id in not_taken_up and not (run := self.runs.get(run_id)).ended():
                self._end_left_over(run)

        self.runs.listing.catch_up(end_left_over)

    def _end_left_over(self, run: Run) -> None:
        with self._lock:
            waiting = self._take_up(run)
        if waiting:  # a run that was queued before so many others isn't wanted any more
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
        if run_handle.look() and self._run_handle is None:
            self._run_handle, self._current = run_handle, run
            self._follower.follow(run_handle, from_start=False)
        return False

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

    def close(self) -> None:
        """End the threads of the service; detached runs continue, a run in a thread is stopped. Closing twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._closing.set()
            run_handle = self._run_handle
        if run_handle is not None:
            run_handle.close()
        self._follower.close()
        self.checkouts.close()
        self.images.close()
        self.system.close()
        self.runs.listing.close()

    def __enter__(self) -> TrainerService:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # starting

    def initialize_trainer(self, config: TrainConfig, options: RunOptions | None = None) -> None:
        """Set the configuration that ``start_training`` starts.

        :raises RunConflictError: if a run is active.
        """
        with self._lock:
            self._refuse_start_if_busy()
            self._initialized = (config, options or RunOptions())
        self._follower.tell(force=True)

    def start_training(self) -> str:
        """Start the configuration of ``initialize_trainer``, else the current settings. Return the ID of the run at once.

        :raises ConfigInvalidError: with findings, if the pre-flight check finds errors.
        :raises RunConflictError: if a run is active.
        """
        with self._lock:
            config, options = self._initialized or (None, None)
        return self.start(config, options)

    def start(self, config: TrainConfig | None = None, options: RunOptions | None = None) -> str:
        """Start a run of ``config`` (None: the current settings) and return its ID at once.

        While the current run is stopping, the new one waits until its process has exited.

        :raises ConfigInvalidError: with findings, if the pre-flight check finds errors, or if a field of an open page has an
            invalid value and the current settings are used.
        :raises RunConflictError: if a run is active.
        """
        options = options or RunOptions()
        if config is None and not options.ignore_open_edits:
            self.open_edits.refuse()
        name = options.name or (self.configs.name() if config is None else None) or ""
        with self._starting:
            with self._lock:
                self._refuse_start_if_busy()
            config = self.configs.train_config() if config is None else config
            options = self.engines.settled(config, options)
            frozen = self._checked(config, options)
            run = self._new_run(frozen, options.model_copy(update={"name": name}))
            try:
                self._launch(run)
            except StorageError:
                self.runs.discard(run)
                raise
        self._follower.tell(force=True)
        return run.id

    def _launch(self, run: Run) -> None:
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
                self._initialized = None
            except OSError:
                self._queued, self._current = before
                raise

    def resume(self, run_id: str, backup: str | None = None, epochs: int | None = None) -> str:
        """Start a new run from a backup of an ended one: the newest, or the one with this file ID or name.

        A resumed run without its own backups resumes from its initial backup again. ``epochs`` replaces the number of epochs
        of the ended run.

        :raises BackupNotFoundError: if there is none.
        :raises ConfigInvalidError: if no epoch is left after the backup, or the settings are no longer valid.
        :raises RunConflictError: if the run hasn't ended, or another one is active.
        """
        run = self.runs.get(run_id)
        if not run.ended():
            raise RunConflictError(f"The run {run_id} hasn't ended", value=run_id, suggestion="Stop it first.")
        options = run.options()
        backups = [file for file in run.files() if file["kind"] == "backup"]
        chosen = [file for file in backups if backup in (None, file["id"], file["name"])]
        if not backups and backup is None and options.resume_from and Path(options.resume_from).is_dir():
            return self.start(_with_epochs(run, epochs), options.model_copy(update={"resumes_run": run_id}))
        if not chosen:
            raise BackupNotFoundError(
                f"The run {run_id} has no backup {backup!r}" if backup else f"The run {run_id} has no backup to resume from",
                value=backup,
                expected=", ".join(file["name"] for file in backups),
                suggestion="Start it from the beginning.",
            )
        file = run.open_file(chosen[-1]["id"])
        config = _with_epochs(run, epochs)
        # a step limit that is reached already has done its work: whoever resumes wants to go on
        limit = options.max_steps if options.max_steps and options.max_steps > file.global_step else None
        options = options.model_copy(update={"resume_from": str(file.path), "resumes_run": run_id, "max_steps": limit})
        return self.start(config, options)

    def delete_run(self, run_id: str) -> int:
        """Delete the folder of an ended run with the files that it keeps, and return the number of freed bytes.

        The files in its workspace and the output file stay. A loaded OneTrainer is unloaded first.

        :raises RunNotFoundError: if there is no run with this ID.
        :raises RunConflictError: if it, or its process, hasn't ended.
        """
        run = self.runs.get(run_id)
        give_up_at = time.monotonic() + DELETE_WAITS_S
        while run.ended() and (run_handle := self._run_handle) is not None and run_handle.run.id == run_id:
            if run_handle.loaded_until() is not None:
                run_handle.release()
            if time.monotonic() >= give_up_at:
                raise RunConflictError(
                    f"The process of the run {run_id} hasn't exited yet", value=run_id, suggestion="Try again in a moment."
                )
            self._follower.wake()
            self._follower.wait(0.1)
        return self.runs.delete(run_id)

    def _refuse_start_if_busy(self) -> None:
        state = self.get_state()
        if not state["can"]["start"]:
            raise RunConflictError(str(state["why"]["start"]), value=state["run_id"])

    def check(self, config: TrainConfig, options: RunOptions) -> None:
        """Run the pre-flight check for a configuration, without starting it.

        :raises ConfigInvalidError: with findings, if the check finds errors.
        """
        self._checked(config, options)

    def _checked(self, config: TrainConfig, options: RunOptions) -> TrainConfig:
        base = self.settings.data_folder
        # a run that resumes from a chosen backup doesn't continue from the last one
        checked = config.model_copy(update={"continue_last_backup": False}) if options.resume_from else config
        findings = list(self.preflight(checked, options.backend, options.checkout))
        placed = config.model_copy(update={"workspace_dir": str(absolute(config.workspace_dir, base))})
        over = nothing_left_of(placed, options, options.backend)
        if over is not None and not any(found.code == over.code and found.path == over.path for found in findings):
            findings.insert(0, over)
        if any(finding.severity == "error" for finding in findings):
            raise ConfigInvalidError(findings)
        return resolve_paths(pack(config, base), base)

    def _new_run(self, config: TrainConfig, options: RunOptions) -> Run:
        in_process = self.settings.in_process  # whatever the options say: only who starts the panel may load torch into it
        keep = self.settings.keep_loaded_s if options.keep_loaded_s is None else options.keep_loaded_s
        run_id = self.runs.new_id()
        # whatever was asked for: what the check allowed is what the run may read, and the panel's own folder stays
        own = {
            "run_id": run_id,
            "in_process": in_process,
            "keep_loaded_s": keep,
            "allowed_folders": tuple(str(root.resolve()) for root in self._roots),
            "panel_folder": str(self.settings.data_folder),
        }
        options = options.model_copy(update=own)
        gpus = tuple(str(gpu["name"]) for gpu in self.system.now()["gpus"])
        record = RunRecord(
            id=run_id,
            name=options.name,
            created_at=time.time(),
            backend=options.backend,
            workspace=config.workspace_dir,
            options=options.model_dump(mode="json"),
            versions=versions(),
            hardware=hardware(gpus),
            started_by=options.started_by,
            checkout=self.engines.record(options),
        )
        return self.runs.create(config, record)

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
        token = self.secrets.huggingface_token()
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
            run.settle(in_process=self.settings.in_process)  # a panel that was started otherwise may have queued it
            if self.settings.in_process:
                self._run_handle = ThreadRun(run, token=token, notify=self._follower.wake).start()
            else:
                self._run_handle = DetachedRun.start(run, data_folder=self.settings.data_folder, token=token)
        except WorkerDiedError as error:
            run.record_end(RunEnded(reason="failed", error=error_info(error)))
            return
        self._follower.follow(self._run_handle, from_start=True)

    @staticmethod
    def _hand_on(run_handle: RunHandle, run: Run, token: str) -> RunHandle | None:
        try:
            return run_handle.hand_over(run, token=token)
        except OSError:  # the disk does not take what would have to be told
            return None

    def _parked(self, run_handle: RunHandle) -> None:
        """Note that a run has ended and its process waits for the next one."""
        run_handle.run.summary()
        with self._lock:
            if self._run_handle is run_handle and not self._closed:
                self._start_waiting()

    def unload(self) -> bool:
        """Unload what the last run left loaded for the next one. Return whether there was anything."""
        with self._lock:
            run_handle = self._run_handle
            if run_handle is None or run_handle.loaded_until() is None:
                return False
            run_handle.release()
        self._follower.wake()
        return True

    def _gone(self, run_handle: RunHandle) -> None:
        if run_handle.folder_gone() or not run_handle.run.folder.is_dir():
            if run_handle.run.state()["is_training"]:  # else it was deleted after its end
                run_handle.run.assume_ended(_end_without_folder(run_handle.run))
        else:
            run_handle.run.summary()  # keeps it, while everything is read already
            run_handle.run.complete_files(self._closing)
        with self._lock:
            if self._run_handle is run_handle:
                self._run_handle = None
                if not self._closed:
                    self._start_waiting()

    # what is going on

    def get_state(self) -> dict[str, Any]:
        """Return the state object of the contract, with the possible actions."""
        with self._lock:
            run, run_handle, queued, initialized = self._shown(), self._run_handle, self._queued, self._initialized
        loaded_until = run_handle.loaded_until() if run_handle is not None and run_handle.run.ended() else None
        if run is None or (initialized is not None and (run_handle is None or loaded_until is not None)):
            state = idle_state(initialized=initialized is not None, backend=self.settings.backend)
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
        state["can"], state["why"] = permissions(state, queue_full=queued is not None)
        return state

    def _shown(self) -> Run | None:
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

    def _busy(self) -> bool:
        return self._run_handle is not None or self.feed.watched

    def _run_processes(self) -> Iterator[RunProcess]:
        run_handle = self._run_handle
        if run_handle is not None:
            yield from ((role, run_handle.run.id, pid) for role, pid in run_handle.processes())

    def wait_for(self, predicate: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
        """Block until ``predicate`` is true for the state. Return that state.

        :raises TimeoutError: if it isn't in time.
        """
        give_up_at = time.monotonic() + timeout_s
        while True:
            state = self.get_state()
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
        waiting = self.get_state()["waiting_commands"]
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

    # engines

    def engine_support(self, config: TrainConfig | Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the engine that would train a configuration (None: the current one), and the support of each engine.

        :raises ConfigInvalidError: if the configuration has values of a wrong type.
        """
        if config is None:
            config = self.configs.train_config()
        elif not isinstance(config, TrainConfig):
            config, _ = from_document(dict(config))
        present = self.engines.present(config)
        return {"choice": self.engines.choice(), "engine": present.id, "engines": self.engines.engine_support(config)}

    def import_list(
        self, checkout: str, kind: str, name: str, *, revision: int | None = None, add: bool = False
    ) -> ConfigDocument:
        """Import a list of concepts or samples of a checkout into the current settings.

        :raises CheckoutNotFoundError: if the checkout isn't registered.
        :raises ConfigNotFoundError: if it has no such list.
        :raises ConfigInvalidError: if its elements are invalid.
        :raises RevisionConflictError: if the settings changed since that revision.
        """
        items = self.checkouts.read_list(checkout, kind, name)
        present = self.configs.export()[kind] or []
        return self.configs.patch({kind: [*present, *items] if add else items}, revision)

    # commands

    def stop_training(self, now: bool = False, run_id: str | None = None) -> str:
        """End the run after the step, with backup and save; ``now``, or a second call, escalates the stop at once.

        A queued run is removed from the queue. Meanwhile, the run that it waits for is stopped by its ID.

        :raises CommandRefusedError: if there is nothing to stop.
        :raises RunNotFoundError: if the run with this ID is neither active nor queued.
        """
        command = Stop(now=now)
        with self._lock:
            queued, run_handle = self._queued, self._run_handle
            if queued is not None and run_id in (None, queued.id):
                self._take_out_of_queue(queued, command)
                return command.id
        current = run_handle.run if run_handle is not None else self._current
        if run_id is not None and (current is None or current.id != run_id):
            raise RunNotFoundError(f"The run {run_id} isn't running", value=run_id)
        if queued is None:
            return self._send("stop", command)
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
        self._follower.tell(force=True)

    def pause_training(self) -> str:
        """Wait after the current step. Return the ID of the command; the answer is an event.

        :raises CommandRefusedError: if no run is active, or the state doesn't allow it.
        """
        return self._send("pause", Pause())

    def resume_training(self) -> str:
        """Continue after a pause."""
        return self._send("resume", Resume())

    def new_sample(self, model_type: str = "") -> dict[str, Any]:
        """Return the parameters of a new sample of a model type; without one, of the current run's, else of the settings'."""
        if not model_type:
            state = self.get_state()
            training = self.runs.get(state["run_id"]).config() if state["is_training"] else self.configs.current().config
            model_type = str(training.get(MODEL_TYPE, ""))
        return new_sample(self.engines, model_type)

    def sample_default(self) -> str:
        """Generate samples for the configured prompts now."""
        return self._send("sample", SampleDefault())

    def sample_custom(self, params: dict[str, Any]) -> str:
        """Generate one sample; ``params`` are fields of SampleConfig, the others suit the current model.

        :raises ConfigInvalidError: with one finding for each invalid value.
        :raises ForbiddenPathError: if its base image is outside the allowed folders.
        """
        sample = validated(SampleConfig, self.new_sample() | params)
        for path in filter(None, (sample.base_image_path, sample.mask_image_path)):
            if self._roots:
                PathGuard(self._roots).resolve(path)
        return self._send("sample", SampleCustom(params=sample.model_dump(mode="json")))

    def backup(self) -> str:
        """Write a backup now."""
        return self._send("backup", BackupNow())

    def save(self) -> str:
        """Save the model now."""
        return self._send("save", SaveNow())

    def _send(self, action: str, command: Command) -> str:
        state = self.get_state()
        run_handle = self._run_handle
        if not state["can"][action] or run_handle is None:
            raise CommandRefusedError(str(state["why"][action] or "No run is active."), value=action)
        self._give(run_handle, command)
        return command.id

    def _give(self, run_handle: RunHandle, command: Command) -> None:
        with raising_storage_error("the command"):
            run_handle.send(command)
        self._note_command(command, run_handle.run)
        run_handle.run.acknowledge(command)
        self._follower.wake()

    # reporting

    def _snapshot(self) -> dict[str, Any]:
        state = self.get_state()
        run = self._shown()
        return {
            "state": state,
            **{key: state[key] for key in ("is_training", "status", "progress", "max_step", "max_epoch", "error")},
            "version": __version__,
            "config_revision": self.configs.revision(),
            "engine": self.engines.summary(),
            "samples": self.samples.latest(_SNAPSHOT_SAMPLES),
            "log": _log_lines(run),
            "log_offset": run.log()["size"] if run else 0,
            "row_columns": list(run.metrics.columns()) if run else [],
            "resources": self.system.now(),
        }

    def _config_changed(self, document: ConfigDocument, by: str) -> None:
        self.feed.publish("config", revision=document.revision, name=document.name, by=by)

    def _engines_changed(self) -> None:
        self._offer_their_presets()
        self.feed.publish("engine", engine=self.engines.summary())

    def _offer_their_presets(self) -> None:
        """Offer the presets of each registered checkout as a library."""
        wanted = {known.folder / PRESET_FOLDER for known in self.checkouts.all()}
        for library in self.libraries.all():
            if not library.kept and library.folder not in wanted:
                self.libraries.withdraw(library.title)
        for folder in sorted(wanted):
            if folder.is_dir():
                self.libraries.add(folder, kept=False)

    def _system_read(self, reading: dict[str, Any]) -> None:
        if self.feed.watched:
            self.feed.publish("system", resources=reading)


def _end_without_folder(run: Run) -> RunEnded:
    """Return the end of a run whose folder was deleted during training, with the newest backup, the only remaining result."""
    folder = Path(run.record.workspace) / BACKUP_FOLDER
    backup = newest_backup(folder, run.record.created_at)
    left = f"Its last backup is {backup.path}." if backup else f"Look for its last backup in {folder}."
    message = f"The run's folder was deleted or moved during training, so the run ended. {left}"
    return RunEnded(reason="failed", error=ErrorInfo(type="StorageError", message=message))


def _with_epochs(run: Run, epochs: int | None) -> TrainConfig:
    config, _ = from_document(run.config())
    return config if epochs is None else config.model_copy(update={"epochs": epochs})


def _waited_for(run_handle: RunHandle) -> dict[str, Any]:
    """Return the run that the queued one waits for, and the stage of its stop."""
    state = run_handle.run.state()
    return {key: state[key] for key in ("run_id", "name", "status", "phase", "is_training", "stop")}


def _answer_dict(answer: CommandCompleted) -> dict[str, Any]:
    return {key: getattr(answer, key) for key in ("command_id", "command", "outcome", "reason", "result")}


def _log_lines(run: Run | None) -> list[str]:
    if run is None:
        return []
    lines = run.log()["text"].splitlines()[-_SNAPSHOT_LINES:]
    return [console_line(line.encode()) for line in lines]


class _OnePerProcess:
    """The service of this process; the only module-level state, which the contract requires."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._service: TrainerService | None = None

    def get(self, settings: ServiceSettings | None) -> TrainerService:
        with self._lock:
            if self._service is None:
                self._service = TrainerService(settings or ServiceSettings(data_folder=default_data_folder()))
                self._service.open()
            elif settings is not None and settings.data_folder.expanduser().absolute() != self._service.settings.data_folder:
                raise RunConflictError(
                    f"This process already has a service, for {self._service.settings.data_folder}",
                    value=str(settings.data_folder),
                )
            return self._service


_ONE = _OnePerProcess()


def get_trainer_service(settings: ServiceSettings | None = None) -> TrainerService:
    """Return the service of this process, created and opened at the first call.

    :raises RunConflictError: if it already exists for another data folder.
    """
    return _ONE.get(settings)

"""Provide the service, which the API, the page and Python call. Safe from any thread."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onetrainer_gradio import __version__
from onetrainer_gradio.commands import BackupNow, Pause, Resume, SampleCustom, SampleDefault, SaveNow
from onetrainer_gradio.config.declarations.sample import SampleConfig
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.visibility import MODEL_TYPE
from onetrainer_gradio.config.enums import ModelType, TrainingMethod
from onetrainer_gradio.config.families.models import output_formats
from onetrainer_gradio.config.files.documents import from_document, validated
from onetrainer_gradio.config.files.presets import DEMO_PRESET, PLACEHOLDERS, preset_families
from onetrainer_gradio.config.files.resolve import absolute, pack, resolve_paths
from onetrainer_gradio.config.machine import Machine
from onetrainer_gradio.config.options import AutoResume, RunOptions
from onetrainer_gradio.config.repository_files import hub_cache
from onetrainer_gradio.config.resume import nothing_left, nothing_left_of
from onetrainer_gradio.errors import (
    BackupNotFoundError,
    CommandRefusedError,
    ConfigInvalidError,
    Finding,
    QueueItemNotFoundError,
    RunConflictError,
    RunNotFoundError,
    StorageError,
)
from onetrainer_gradio.events import WarningIssued
from onetrainer_gradio.service.auto_resume import AutoResumer, message_of
from onetrainer_gradio.service.datasets.concepts import ConceptStore
from onetrainer_gradio.service.datasets.datasets import Datasets
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.engines.checkouts import PRESET_FOLDER, Checkouts, Sources, default_places
from onetrainer_gradio.service.engines.conversion import LoraConverter
from onetrainer_gradio.service.engines.lower_memory import next_step
from onetrainer_gradio.service.engines.memory import MemoryEstimator
from onetrainer_gradio.service.engines.new_sample import new_sample
from onetrainer_gradio.service.engines.preflight import Preflight
from onetrainer_gradio.service.engines.selection import Engines
from onetrainer_gradio.service.generations import Generations
from onetrainer_gradio.service.host.data_version import prepare_version
from onetrainer_gradio.service.host.folders import FolderBrowser
from onetrainer_gradio.service.host.path_guard import PathGuard
from onetrainer_gradio.service.host.readiness import storage_problems
from onetrainer_gradio.service.host.secret_store import SecretStore
from onetrainer_gradio.service.host.system import GpuReader, NvmlReader, SystemMonitor
from onetrainer_gradio.service.hub.client import HubClient
from onetrainer_gradio.service.hub.data_copy import DataCopy
from onetrainer_gradio.service.hub.downloads import Downloads
from onetrainer_gradio.service.hub.models import HubModels
from onetrainer_gradio.service.hub.publishing import Publishing
from onetrainer_gradio.service.new_lora import NewLora
from onetrainer_gradio.service.notifications.center import Notifications
from onetrainer_gradio.service.notifications.from_queue import queue_notification
from onetrainer_gradio.service.notifications.notification import Notification
from onetrainer_gradio.service.people.people import People
from onetrainer_gradio.service.people.roles import Kind, acting, author
from onetrainer_gradio.service.processes.follower import console_line
from onetrainer_gradio.service.queue.dispatcher import Dispatcher
from onetrainer_gradio.service.queue.gpu_memory import GpuMemory
from onetrainer_gradio.service.queue.items import ItemChoices, devices_of, overlap
from onetrainer_gradio.service.queue.run_queue import Frozen, RunQueue
from onetrainer_gradio.service.queue.store import QUEUE_FILE, QueueStore
from onetrainer_gradio.service.quotas import Quotas
from onetrainer_gradio.service.results import Results
from onetrainer_gradio.service.runs.backups import BackupPruning
from onetrainer_gradio.service.runs.changes import RunChanges
from onetrainer_gradio.service.runs.feed import Feed
from onetrainer_gradio.service.runs.imports import WorkspaceImport
from onetrainer_gradio.service.runs.index import RunQuery
from onetrainer_gradio.service.runs.metric_blocks import MetricBlocks
from onetrainer_gradio.service.runs.overlay import Overlay
from onetrainer_gradio.service.runs.record import Run, RunRecord, RunStore
from onetrainer_gradio.service.runs.replay import Replay
from onetrainer_gradio.service.runs.samples import SampleStore
from onetrainer_gradio.service.scheduler import RunScheduler
from onetrainer_gradio.service.service_settings import ServiceSettings, default_data_folder
from onetrainer_gradio.service.settings.availability import Availability
from onetrainer_gradio.service.settings.comparison import Comparison
from onetrainer_gradio.service.settings.configs import ConfigDocument, ConfigStore
from onetrainer_gradio.service.settings.form import FormSchema
from onetrainer_gradio.service.settings.libraries import Libraries
from onetrainer_gradio.service.settings.open_edits import OpenEdits
from onetrainer_gradio.service.take_away import take_away
from onetrainer_gradio.service.usage import Usage
from onetrainer_gradio.versions import hardware, versions

_LOG = logging.getLogger(__name__)
_SNAPSHOT_SAMPLES = 24
_SNAPSHOT_LINES = 200
_NAMED_RUNS = 100


class TrainerService:
    """Runs, the current settings, samples, machine readings, and the feed for all viewers.

    ``open`` adopts the runs of an earlier panel; after ``close``, detached runs continue.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        gpus: Callable[[], GpuReader] = NvmlReader,
        machine: Callable[[], Machine] = Machine.here,
        estimator: Callable[[Path, tuple[Path, ...]], MemoryEstimator] = MemoryEstimator,
    ) -> None:
        self.settings = replace(settings, data_folder=settings.data_folder.expanduser().absolute())
        data = self.settings.data_folder
        data.mkdir(parents=True, exist_ok=True)
        prepare_version(data)
        roots = settings.allowed_roots
        self._roots = (data, *PLACEHOLDERS.values(), *roots) if roots else ()
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._opened = False
        self._closed = False
        self.feed = Feed(self._snapshot)
        self.people = People(data)
        self.secrets = SecretStore(data / "secrets.json")
        sources = Sources(settings.checkouts, default_places if settings.find_checkouts else tuple)
        self.checkouts = Checkouts(data, sources, closed=settings.closed_checkouts or bool(roots), changed=self._engines_changed)
        self.engines = Engines(
            data / "config" / "engine.json", self.checkouts, default=settings.backend, changed=self._engines_changed
        )
        self.memory = estimator(data, self._roots)
        self.converter = LoraConverter(data / "cache" / "converted")
        self.preflight = Preflight(data, self._roots, settings.backend, self.engines, self.memory_findings, machine)
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
        self.scheduler = RunScheduler(
            self.runs, self.feed, self.settings, self.secrets.huggingface_token, freed=lambda: self.dispatcher.look_soon()
        )
        self.overlay = Overlay(self.runs, MetricBlocks(data / "cache" / "metric_blocks"))
        self.imports = WorkspaceImport(self.runs, self._runs_changed)
        self.backup_pruning = BackupPruning(self._backups_in_use)
        self.run_changes = RunChanges(self.runs, self.delete_run, self._runs_changed)
        self.open_edits = OpenEdits()
        self.folders = FolderBrowser(data, self._roots)
        self.comparison = Comparison(self.configs, self.runs)
        self.availability = Availability(self.engines, self.configs)
        self.images = ImageDecoder()
        self.samples = SampleStore(self.runs, data / "cache" / "thumbnails", self.images)
        self.replay = Replay(self.runs, self.samples)
        self.concepts = ConceptStore(data, self._roots, data / "cache" / "concepts", decoder=self.images)
        self.datasets = Datasets(
            data,
            self._roots,
            self.concepts.thumbnails,
            self.images,
            token=self.secrets.huggingface_token,
            training=lambda: bool(self.get_state()["process_running"]),
            admit=lambda account, size: self.quotas.require(account, size),
            placed=lambda account, size: self.usage.note_bytes(account, size),
        )
        self.usage = Usage(
            self.runs, self.datasets.library.own, self.datasets.uploads.pending_bytes, self.people.accounts.id_of_name
        )
        self.quotas = Quotas(self.people.accounts, self.usage, lambda notification: self.notifications.post(notification))
        self.generations = Generations(
            data / "generations",
            self.runs,
            token=self.secrets.huggingface_token,
            training=lambda: bool(self.get_state()["process_running"]),
            roots=self._roots,
            images=self.images,
        )
        self.results = Results(self.runs, self.converter)
        self.hub = HubClient(self.secrets.huggingface_token)
        self.hub_models = HubModels(self.hub, self._trainable_here, self._hub_cache)
        self.downloads = Downloads(
            data / "downloads.json",
            self.hub,
            changed=lambda download: self.feed.publish("download", download=download),
            cache=self._hub_cache,
        )
        self.data_copy = DataCopy(
            data, self.hub, settings.push_to, settings.push_limit_bytes, self.feed, failing=self._notify_of_push
        )
        self.publishing = Publishing(self.runs, self.samples, self.images, self.hub, self._private_texts)
        images, runs = self.datasets.index, self.runs
        self.new_lora = NewLora(
            data, self.configs, self.engines, images, self.gpu_bytes, runs, self.comparison, self.preflight, self.hub_models
        )
        self.system = SystemMonitor(
            data, busy=self.scheduler.busy, run_processes=self.scheduler.run_processes, publish=self._system_read, gpus=gpus
        )
        store = QueueStore(data / QUEUE_FILE)
        self.dispatcher = Dispatcher(
            store,
            self.runs,
            self.scheduler,
            self._start_queued,
            GpuMemory(self.system.gpus, make_room=self.generations.make_room),
            changed=self._queue_changed,
            in_process=self.settings.in_process,
            used_s=self.usage.device_seconds,
            over_quota=self.quotas.exceeded,
        )
        self.queue = RunQueue(
            store,
            self._freeze,
            changed=self._queue_edited,
            waits=self.dispatcher.waits,
            is_run=self._is_run,
            used_s=self.usage.device_seconds,
            admit=self.quotas.require,
        )
        self.auto_resume = AutoResumer(
            data / "config" / "auto_resume.json",
            self.runs,
            self.queue,
            lambda config: next_step(config, self.memory),
            # a machine whose data folder is copied elsewhere may restart at any time
            initial=AutoResume(attempts=3 if settings.push_to else 0),
        )
        self.notifications = Notifications(
            data,
            self.runs,
            self.feed,
            self.secrets,
            public_only=settings.closed_checkouts or bool(roots),
            follow_up=self.auto_resume.follow_up,
            each_look=self.auto_resume.catch_up,
        )

    # life

    def open(self) -> None:
        """Adopt unfinished runs of an earlier panel and start reading the machine; opening twice is harmless."""
        with self._lock:
            if self._opened:
                return
            self._opened = True
        self.scheduler.open()
        self.notifications.open()
        self._offer_their_presets()
        self.checkouts.read_all()
        self.system.start()
        self.downloads.open()
        self.data_copy.open()
        if self.settings.runs_queue:
            self.dispatcher.start()

    def close(self) -> None:
        """End the threads of the service; detached runs continue, a run in a thread is stopped. Closing twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.dispatcher.close()
        self.scheduler.close()
        self.notifications.close()
        self.queue.store.close()
        self.checkouts.close()
        self.datasets.close()
        self.generations.close()
        self.publishing.close()
        self.downloads.close()
        self.data_copy.close()
        self.images.close()
        self.memory.close()
        self.converter.close()
        self.system.close()
        self.runs.listing.close()
        self.people.close()

    def not_ready(self) -> list[str]:
        """Return why the service can't be used at the moment, without paths; empty if it can."""
        with self._lock:
            if self._closed or not self._opened:
                return ["The panel is closing." if self._closed else "The panel is starting."]
        return storage_problems(self.settings.data_folder)

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
        self.scheduler.prepare(config, options or RunOptions())

    def start_training(self) -> str:
        """Start the configuration of ``initialize_trainer``, else the current settings. Return the ID of the run at once.

        :raises ConfigInvalidError: with findings, if the pre-flight check finds errors.
        :raises RunConflictError: if a run is active.
        """
        config, options = self.scheduler.prepared or (None, None)
        return self.start(config, options)

    def start(self, config: TrainConfig | None = None, options: RunOptions | None = None) -> str:
        """Start a run of ``config`` (None: the current settings) and return its ID at once.

        While the current run is stopping, the new one waits until its process has exited.

        :raises ConfigInvalidError: with findings, if the pre-flight check finds errors, or if a field of an open page has an
            invalid value and the current settings are used.
        :raises QuotaError: if the quota of who starts it is used up.
        :raises RunConflictError: if a run is active.
        """
        options, name = self._options_for(config, options)
        self.quotas.require(options.account)
        with self._starting:
            self.scheduler.raise_if_busy()
            config = self.configs.train_config() if config is None else config
            options = self.engines.settled(config, options)
            frozen = self._checked(config, options)
            with contextlib.suppress(StorageError):  # the queue's file can't be written; the run can start
                self.dispatcher.note_start(devices_of(frozen))
            run = self._new_run(frozen, options.model_copy(update={"name": name}))
            self._warn_of_memory(run, config)
            self._launch(run, self.scheduler.launch)
        self.scheduler.publish()
        return run.id

    def _options_for(self, config: TrainConfig | None, options: RunOptions | None) -> tuple[RunOptions, str]:
        options = options or RunOptions()
        if who := author():
            options = options.model_copy(update={"started_by": who})
        if acting().kind is not Kind.LOCAL:  # what the panel starts by itself belongs to the person who started the earlier run
            options = options.model_copy(update={"account": acting().account})
        if config is None and not options.ignore_open_edits:
            self.open_edits.refuse()
        if options.auto_resume is None and (default := self.auto_resume.default()).attempts:
            options = options.model_copy(update={"auto_resume": default})
        return options, options.name or (self.configs.name() if config is None else None) or ""

    def _warn_of_memory(self, run: Run, config: TrainConfig) -> None:
        """Record that a run is expected to need more VRAM than there is, if its estimate is known already."""
        with contextlib.suppress(OSError):  # the start reports a full disk
            for finding in self.memory_findings(config):
                run.journal.append(WarningIssued(code=finding.code, message=finding.message, path=finding.path))

    def _launch(self, run: Run, launch: Callable[[Run], None]) -> None:
        self.generations.make_room(str(run.config().get("train_device", "")))
        try:
            launch(run)
        except StorageError:
            self.runs.discard(run)
            raise

    # queue

    def enqueue(self, config: TrainConfig | None = None, options: RunOptions | None = None, **choices: Any) -> dict[str, Any]:
        """Add a run of ``config`` (None: the current settings) to the queue. Return its ``id``, ``place`` and more.

        ``choices`` are fields of ``ItemChoices``, such as ``priority=1`` or ``not_before``. ``queue`` has the other operations.

        :raises ConfigInvalidError: with findings, if the pre-flight check finds errors.
        :raises RunConflictError: if the queue is full.
        """
        return self.queue.add(config, options, ItemChoices(**choices))

    def can_start_now(self) -> bool:
        """Return whether a run can start at once: nothing trains, and no run of the queue is about to start."""
        if not self.get_state()["can"]["start"]:
            return False
        queue = self.queue.summary()
        return not queue["running"] and (queue["paused"] or queue["waiting"] == queue["held"])

    def start_or_enqueue(
        self, config: TrainConfig | None = None, options: RunOptions | None = None, *, queue: bool = True
    ) -> dict[str, Any]:
        """Start a run and return its ``run_id``. With ``queue``, one that can't start now is added to the queue instead.

        ``id`` and ``place`` are then those of the queued run, and ``run_id`` is None.

        :raises ConfigInvalidError: with findings, if the pre-flight check finds errors.
        :raises RunConflictError: if a run is active and ``queue`` is off, or the queue is full.
        """
        if not queue:
            return {"run_id": self.start(config, options)}
        if self.can_start_now():
            with contextlib.suppress(RunConflictError):  # another run was faster
                return {"run_id": self.start(config, options)}
        item = self.queue.add(config, options)
        return {"run_id": None, "id": item["id"], "place": item["place"]}

    def suspend_training(self, run_id: str | None = None, *, hold: bool = True) -> str:
        """Back up the current run, or the one with this ID, end it, and let it wait in the queue to be resumed.

        Return the ID of its item. With ``hold``, it waits until its owner releases it.

        :raises CommandRefusedError: if it isn't active.
        :raises RunNotFoundError: if there is no such run.
        """
        state = self.get_state()
        if run_id is None and not state["is_training"]:
            raise CommandRefusedError("No run is active.", value="suspend")
        return self.dispatcher.suspend(self.runs.get(run_id or state["run_id"]), hold=hold)

    def suspend_item(self, item_id: str, *, hold: bool = True) -> str:
        """Suspend the run of an item of the queue. Return the ID of the item.

        :raises QueueItemNotFoundError: if there is no such item.
        :raises CommandRefusedError: if it has no active run.
        """
        run_id = self.queue.get(item_id)["run_id"]
        if not run_id:
            raise CommandRefusedError("This run hasn't started", value=item_id)
        return self.suspend_training(run_id, hold=hold)

    def _freeze(self, config: TrainConfig | None, options: RunOptions | None, device: str) -> Frozen:
        """Return checked settings and options for a run of the queue."""
        options, name = self._options_for(config, options)
        config = self.configs.train_config() if config is None else config
        if device:
            config = config.model_copy(update={"train_device": device})
        options = self.engines.settled(config, options)
        return Frozen(self._checked(config, options), options.model_copy(update={"name": name}))

    def _start_queued(
        self, config: TrainConfig, options: RunOptions, devices: tuple[str, ...], claim: Callable[[str], bool], notes: list[str]
    ) -> Run | None:
        with self._starting:
            occupants = self.scheduler.occupants()
            if occupants and self.settings.in_process:
                return None
            if any(overlap(devices, self.dispatcher.devices_of(run)) for run in occupants):
                return None
            frozen = self._checked(config, options)
            run_id = self.runs.new_id()
            if not claim(run_id):
                return None
            run = self._new_run(frozen, options, run_id)
            with contextlib.suppress(OSError):  # the start reports a full disk
                for note in notes:
                    run.journal.append(WarningIssued(code="dataset_changed", message=note))
            self._warn_of_memory(run, config)
            self._launch(run, self.scheduler.launch_on_other_device if occupants else self.scheduler.launch)
        self.scheduler.publish()
        return run

    def _is_run(self, run_id: str) -> bool:
        try:
            self.runs.get(run_id)
        except RunNotFoundError:
            return False
        return True

    def _queue_edited(self, reason: str, item_id: str) -> None:
        self.dispatcher.wake()
        self._queue_changed(reason, item_id)

    def _queue_changed(self, reason: str, item_id: str) -> None:
        self._notify_of_queue(reason, item_id)
        self.feed.publish("queue_changed", reason=reason, item_id=item_id, queue=self._queue_summary())

    def _notify_of_queue(self, reason: str, item_id: str) -> None:
        try:
            item = self.queue.get(item_id) if item_id and reason == "held" else None
            found = queue_notification(reason, item, self.queue.summary(), self.dispatcher.waits())
        except (StorageError, QueueItemNotFoundError):  # removed meanwhile, or a disk that fails for a while
            return
        if found is not None:
            self.notifications.post(found)

    def _notify_of_push(self, why: str) -> None:
        title = f"The data folder can't be pushed to {self.settings.push_to}"
        text = f"{why} The panel tries again. If this machine loses its disk, what is new is lost."
        now = time.time()
        self.notifications.post(Notification(key=f"push:{now:.0f}", kind="push_failed", at=now, title=title, text=text))

    # resuming and deleting

    def start_again(self, run_id: str, name: str = "") -> str:
        """Start a new run from the beginning with the settings of a run, and with its name unless ``name`` is given.

        :raises RunNotFoundError: if there is no run with this ID.
        :raises ConfigInvalidError: if its settings are no longer valid.
        :raises RunConflictError: if a run is active.
        """
        return self.start(*self.settings_again(run_id, name))

    def settings_again(self, run_id: str, name: str = "") -> tuple[TrainConfig, RunOptions]:
        """Return the settings and options with which ``start_again`` starts.

        :raises RunNotFoundError: if there is no run with this ID.
        """
        run = self.runs.get(run_id)
        config, _ = from_document(run.config())
        fresh = {
            "name": name or run.name,
            "tags": run.tags,
            "resume_from": "",
            "resumes_run": "",
            "started_by": "",
            "account": "",
            "resumption": None,
            "queue_item": "",
        }
        return config.model_copy(update={"continue_last_backup": False}), run.options().model_copy(update=fresh)

    def resume(self, run_id: str, backup: str | None = None, epochs: int | None = None, *, current_settings: bool = False) -> str:
        """Start a new run from a backup of an ended one: the newest, or the one with this file ID or name.

        A resumed run without its own backups resumes from its initial backup again. ``epochs`` replaces the number of epochs
        of the ended run. With ``current_settings``, the new run has the settings of the form instead of those of the ended one.

        :raises BackupNotFoundError: if there is none.
        :raises ConfigInvalidError: if no epoch is left after the backup, or the settings are no longer valid.
        :raises RunConflictError: if the run hasn't ended, or another one is active.
        """
        return self.start(*self.settings_to_resume(run_id, backup, epochs, current_settings=current_settings))

    def settings_to_resume(
        self, run_id: str, backup: str | None = None, epochs: int | None = None, *, current_settings: bool = False
    ) -> tuple[TrainConfig, RunOptions]:
        """Return the settings and options with which ``resume`` starts.

        :raises BackupNotFoundError: if there is no such backup.
        :raises ConfigInvalidError: if no epoch is left after the backup.
        :raises RunConflictError: if the run hasn't ended.
        """
        run = self.runs.get(run_id)
        if not run.ended():
            raise RunConflictError(f"The run {run_id} hasn't ended", value=run_id, suggestion="Stop it first.")
        options = run.options().model_copy(update={"resumption": None, "resumes_run": run_id, "queue_item": ""})
        backups = [file for file in run.files() if file["kind"] == "backup"]
        chosen = [file for file in backups if backup in (None, file["id"], file["name"])]
        if not backups and backup is None and options.resume_from and Path(options.resume_from).is_dir():
            return self._to_resume(run, epochs, current_settings), options
        if not chosen:
            raise BackupNotFoundError(
                f"The run {run_id} has no backup {backup!r}" if backup else f"The run {run_id} has no backup to resume from",
                value=backup,
                expected=", ".join(file["name"] for file in backups),
                suggestion="Start it from the beginning.",
            )
        file = run.open_file(chosen[-1]["id"])
        config = self._to_resume(run, epochs, current_settings)
        limit = options.max_steps
        state = run.state()
        # wherever the model was moved to, a resume is meant to train further. A run that crashed after its save is finished
        if state["final_model"] and state["end_reason"] in ("completed", "stopped"):
            if limit and limit <= file.global_step:
                limit = None
            if (over := nothing_left(config, file.path, missing=False)) is not None:
                raise ConfigInvalidError([over])
        return config, options.model_copy(update={"resume_from": str(file.path), "max_steps": limit})

    def _to_resume(self, run: Run, epochs: int | None, current_settings: bool) -> TrainConfig:
        config = self.configs.train_config() if current_settings else from_document(run.config())[0]
        return config if epochs is None else config.model_copy(update={"epochs": epochs})

    def _trainable_here(self, model_type: str) -> tuple[bool, str]:
        """Return whether an engine of this machine trains a LoRA of a model type, and why not."""
        formats = output_formats(ModelType(model_type), TrainingMethod.LORA)
        if not formats:
            return False, "No engine trains a LoRA for it."
        wanted = {MODEL_TYPE: model_type, "training_method": TrainingMethod.LORA, "output_model_format": formats[0]}
        config = TrainConfig.model_validate(wanted)
        support = self.engines.engine_support(config)
        if any(engine["can"] for engine in support):
            return True, ""
        return False, next((str(engine["why"]) for engine in support if engine["why"]), "")

    def _hub_cache(self) -> str:
        """Return where a run with the current settings looks for models of the Hugging Face Hub ("": in the usual cache).

        :raises ForbiddenPathError: if that is outside the allowed folders.
        """
        chosen = self.configs.train_config().huggingface_cache_dir
        if not chosen:
            return ""
        folder = absolute(chosen, self.settings.data_folder)
        return hub_cache(PathGuard(self._roots).resolve(folder) if self._roots else folder)

    def _private_texts(self) -> tuple[str, ...]:
        """Return what must never be published: the token, and folders of this machine."""
        folders = (self.settings.data_folder, Path.home(), *self._roots)
        return tuple(filter(None, (self.secrets.huggingface_token(), *(str(each) for each in folders if len(each.parts) > 2))))

    def _backups_in_use(self) -> set[Path]:
        """Return the backups that runs that haven't ended, or wait in the queue, resume from."""
        active = self.runs.page(_NAMED_RUNS, None, RunQuery(statuses=("active",)))["runs"]
        chosen = (self.runs.get(line["id"]).options().resume_from for line in active)
        return {Path(folder) for folder in (*chosen, *self.queue.backups_to_resume()) if folder}

    def import_workspace(self, workspace: str, names: Sequence[str] = (), *, preview: bool = False) -> dict[str, Any]:
        """Add the runs that OneTrainer made in a workspace, which stays as it is; ``preview`` only lists them.

        :raises ForbiddenPathError: if the workspace is outside the allowed folders.
        :raises PathNotFoundError: if OneTrainer wrote nothing there.
        """
        folder = absolute(workspace, self.settings.data_folder)
        folder = PathGuard(self._roots).resolve(folder) if self._roots else Path(folder).resolve()
        if preview:
            return {"workspace": str(folder), "starts": self.imports.preview(folder)}
        return {"workspace": str(folder), **self.imports.add(folder, names)}

    def keep_as_sample(self, grid_id: str, number: int) -> dict[str, Any]:
        """Keep an image that was generated after a run as a sample of the run, and return the sample.

        :raises PathNotFoundError: if there is no such image, or it isn't finished.
        :raises RunNotFoundError: if the run was deleted.
        """
        sample = self.generations.keep(grid_id, number, self.samples)
        brief = {name: sample[name] for name in ("id", "path", "prompt", "step")}
        self.feed.publish("sample_custom", run_id=sample["run_id"], sample=sample, **brief)
        return sample

    def take_away(self, run_id: str, file_id: str) -> dict[str, Any]:
        """Return where a result is, and what ComfyUI, Forge, diffusers and OneTrainer do with it. See ``service/take_away.py``.

        :raises RunNotFoundError: if the run or its file doesn't exist.
        :raises ConfigValueError: if the file isn't a model.
        """
        return take_away(self.runs.get(run_id), file_id)

    def delete_run(self, run_id: str) -> int:
        """Delete the folder of an ended run with the files that it keeps, and return the number of freed bytes.

        The files in its workspace and the output file stay. A loaded training process is unloaded first.

        :raises RunNotFoundError: if there is no run with this ID.
        :raises RunConflictError: if it, or its process, hasn't ended.
        """
        self.scheduler.release(run_id)
        freed = self.runs.delete(run_id)
        self.overlay.forget(run_id)
        self.generations.forget(run_id)
        self.people.run_deleted(run_id)
        return freed

    def check(self, config: TrainConfig, options: RunOptions) -> None:
        """Run the pre-flight check for a configuration, without starting it.

        :raises ConfigInvalidError: with findings, if the check finds errors.
        """
        self._checked(config, options)

    def gpu_bytes(self) -> int | None:
        """Return the memory of the first GPU; None without a GPU."""
        sizes = [gpu["memory_total"] for gpu in self.system.now()["gpus"]]
        return sizes[0] if sizes else None

    def memory_findings(self, config: TrainConfig | None, wait_s: float = 0.0) -> tuple[Finding, ...]:
        """Return the pre-flight check's warning about VRAM for a configuration (None: the current settings).

        An estimate that isn't known yet is computed for at most ``wait_s`` seconds.
        """
        config = self.configs.train_config() if config is None else config
        return self.memory.findings(config, self.gpu_bytes() if config.train_device.startswith("cuda") else None, wait_s)

    def _checked(self, config: TrainConfig, options: RunOptions) -> TrainConfig:
        base = self.settings.data_folder
        # a run that resumes from a chosen backup doesn't continue from the last one
        checked = config.model_copy(update={"continue_last_backup": False}) if options.resume_from else config
        findings = list(self.preflight(checked, options.backend, options.checkout))
        placed = config.model_copy(update={"workspace_dir": str(absolute(config.workspace_dir, base))})
        options = options.model_copy(update={"unfinished": self._resumes_unfinished(options)})
        over = nothing_left_of(placed, options, options.backend, base)
        if over is not None and not any(found.code == over.code and found.path == over.path for found in findings):
            findings.insert(0, over)
        if any(finding.severity == "error" for finding in findings):
            raise ConfigInvalidError(findings)
        return resolve_paths(pack(config, base), base)

    def _resumes_unfinished(self, options: RunOptions) -> bool:
        """Return whether the run that a run resumes ended before it completed. Its result may be whole, but isn't recorded."""
        try:
            run = self.runs.get(options.resumes_run)
        except RunNotFoundError:
            return False
        return not run.record.imported and run.ended() and run.state()["end_reason"] != "completed"

    def _new_run(self, config: TrainConfig, options: RunOptions, run_id: str = "") -> Run:
        in_process = self.settings.in_process  # only the person who starts the panel may load torch into it
        keep = self.settings.keep_loaded_s if options.keep_loaded_s is None else options.keep_loaded_s
        run_id = run_id or self.runs.new_id()
        # whatever was requested, the run may read what the check allowed, and the panel's own folder stays
        own = {
            "run_id": run_id,
            "in_process": in_process,
            "keep_loaded_s": keep,
            "allowed_folders": tuple(str(root.resolve()) for root in self._roots),
            "panel_folder": str(self.settings.data_folder),
            "unfinished": self._resumes_unfinished(options),
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
        run = self.runs.create(config, record)
        if options.resumption is not None:
            with contextlib.suppress(OSError):  # the start reports a full disk
                run.journal.append(WarningIssued(code="auto_resume", message=message_of(options.resumption)))
        return run

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

    def unload(self) -> bool:
        """Unload what the last run left loaded for the next one. Return whether there was anything."""
        return self.scheduler.unload()

    def get_state(self) -> dict[str, Any]:
        """Return the state object of the contract, with the possible actions."""
        return self.scheduler.state()

    def wait_for(self, predicate: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
        """Block until ``predicate`` is true for the state. Return that state.

        :raises TimeoutError: if it isn't in time.
        """
        return self.scheduler.wait_for(predicate, timeout_s)

    def answer(self, command_id: str, timeout_s: float = 0.0) -> dict[str, Any] | None:
        """Return the answer to a command of the current run, after at most ``timeout_s``, or None if there is none yet."""
        return self.scheduler.answer(command_id, timeout_s)

    def waiting_command(self, command_id: str) -> dict[str, Any] | None:
        """Return a command that the current run has received and not yet answered; None if it has none of that id."""
        return self.scheduler.waiting_command(command_id)

    def stop_training(self, now: bool = False, run_id: str | None = None) -> str:
        """End the run after the step, with backup and save; ``now``, or a second call, escalates the stop at once.

        A queued run is removed from the queue. Meanwhile, the run that it waits for is stopped by its ID.

        :raises CommandRefusedError: if there is nothing to stop.
        :raises RunNotFoundError: if the run with this ID is neither active nor queued.
        """
        return self.scheduler.stop(now, run_id)

    def pause_training(self, run_id: str | None = None) -> str:
        """Wait after the current step. Return the ID of the command; the answer is an event.

        :raises CommandRefusedError: if no run is active, or the state doesn't allow it.
        """
        return self.scheduler.send("pause", Pause(), run_id)

    def resume_training(self, run_id: str | None = None) -> str:
        """Continue after a pause."""
        return self.scheduler.send("resume", Resume(), run_id)

    def new_sample(self, model_type: str = "") -> dict[str, Any]:
        """Return the parameters of a new sample of a model type; without one, of the current run's, else of the settings'."""
        if not model_type:
            state = self.get_state()
            training = self.runs.get(state["run_id"]).config() if state["is_training"] else self.configs.current().config
            model_type = str(training.get(MODEL_TYPE, ""))
        return new_sample(self.engines, model_type)

    def sample_default(self, run_id: str | None = None) -> str:
        """Generate samples for the configured prompts now."""
        return self.scheduler.send("sample", SampleDefault(), run_id)

    def sample_custom(self, params: dict[str, Any]) -> str:
        """Generate one sample; ``params`` are fields of SampleConfig, the others suit the current model.

        :raises ConfigInvalidError: with one finding for each invalid value.
        :raises ForbiddenPathError: if its base image is outside the allowed folders.
        """
        sample = validated(SampleConfig, self.new_sample() | params)
        for path in filter(None, (sample.base_image_path, sample.mask_image_path)):
            if self._roots:
                PathGuard(self._roots).resolve(path)
        return self.scheduler.send("sample", SampleCustom(params=sample.model_dump(mode="json")))

    def backup(self, run_id: str | None = None) -> str:
        """Write a backup now."""
        return self.scheduler.send("backup", BackupNow(), run_id)

    def save(self, run_id: str | None = None) -> str:
        """Save the model now."""
        return self.scheduler.send("save", SaveNow(), run_id)

    # reporting

    def _snapshot(self) -> dict[str, Any]:
        state = self.get_state()
        run = self.scheduler.shown()
        return {
            "state": state,
            **{key: state[key] for key in ("is_training", "status", "progress", "max_step", "max_epoch", "error")},
            "version": __version__,
            "config_revision": self.configs.revision(),
            "engine": self.engines.summary(),
            "queue": self._queue_summary(),
            "samples": self.samples.latest(_SNAPSHOT_SAMPLES),
            "log": _log_lines(run),
            "log_offset": run.log()["size"] if run else 0,
            "row_columns": list(run.metrics.columns()) if run else [],
            "resources": self.system.now(),
            "notification": self.notifications.newest(),
        }

    def _queue_summary(self) -> dict[str, Any] | None:
        try:
            return self.queue.summary()
        except StorageError as error:
            _LOG.warning("%s", error)
            return None

    def _config_changed(self, document: ConfigDocument, by: str) -> None:
        self.feed.publish("config", revision=document.revision, name=document.name, by=by, who=author())

    def _runs_changed(self, ids: Sequence[str]) -> None:
        self.feed.publish("runs", ids=list(ids[:_NAMED_RUNS]))

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
        self.dispatcher.look_for_changes()
        self.notifications.remind()
        with contextlib.suppress(StorageError, OSError):  # a disk that fails temporarily; the next check measures again
            self.quotas.look(self.scheduler.occupants())
        if self.feed.watched:
            self.feed.publish("system", resources=reading)


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

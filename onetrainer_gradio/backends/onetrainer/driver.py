"""Execute a run in a checkout's own Python, and forward events and commands."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from onetrainer_gradio import __version__, process_birth
from onetrainer_gradio.backends.backend import Backend, RunContext
from onetrainer_gradio.backends.console import CONSOLE
from onetrainer_gradio.backends.keep_loaded import KEEP_LOADED
from onetrainer_gradio.backends.onetrainer.bridge import Bridge, import_error
from onetrainer_gradio.backends.onetrainer.checkout import Checkout, find, inspect, require, state_of_modules
from onetrainer_gradio.backends.onetrainer.failure import death, error_of
from onetrainer_gradio.backends.onetrainer.folder_locks import lock_folders
from onetrainer_gradio.backends.onetrainer.readback import differences
from onetrainer_gradio.backends.onetrainer.resolve import Headless, headless
from onetrainer_gradio.backends.onetrainer.results import Results
from onetrainer_gradio.commands import Command, Control, Stop, encode_command
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.check.onetrainer import onetrainer_findings
from onetrainer_gradio.config.declarations.file_names import unusable_names
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.config.paths.backup_chain import Chain, belongs, chain_of_run, run_of, write_chain
from onetrainer_gradio.config.paths.placement import protect_places
from onetrainer_gradio.config.resume import (
    backup_to_resume,
    backups_in,
    no_step_left,
    nothing_left,
    nothing_left_of,
    read_progress,
    saves_result,
    steps_changed,
    total_steps,
)
from onetrainer_gradio.errors import CheckoutError, ConfigInvalidError, Finding, OutOfMemoryError, TrainerError
from onetrainer_gradio.events import (
    EVENT_BY_TAG,
    BackupCreated,
    ChildProcessStarted,
    CommandCompleted,
    Emit,
    Event,
    Outcome,
    PhaseChanged,
    Resumed,
    RunEnded,
    RunPlanned,
    RunStarted,
    StepDone,
    WarningIssued,
    decode,
    tag,
)
from onetrainer_gradio.memory_kills import Counters, killed_for_memory, oom_kill_counters
from onetrainer_gradio.versions import hardware

NAME = "onetrainer"
POLL_S = 0.05
# A first import on a slow disk takes minutes; one that hangs never ends.
IMPORT_S = float(os.environ.get("ONETRAINER_GRADIO_IMPORT_S") or 600.0)
# After an interrupt OneTrainer has this long to react, then its process is killed.
LET_GO_S = 5.0
_BEFORE_TRAINING = frozenset({"queued", "starting", "loading"})
# After these, the state of the GPU driver is unknown.
_DRIVER = re.compile(r"\b(CUDA|cuDNN|cuBLAS|NCCL|HIP|XPU|MPS)\b", re.IGNORECASE)
_ERROR_OUTPUT = 2
_MOVED_ASIDE = re.compile(r"\.unfinished-(?P<pid>[0-9]{1,18})-old-(?P<name>.+)", re.DOTALL)
_WRITING = frozenset({"backing_up", "saving"})
# The bridge sends no events for these; they are written here.
_NOT_EVENTS = frozenset({tag(RunStarted), tag(RunEnded), tag(ChildProcessStarted)})


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for the import, and for each stage of a stop that no supervisor escalates."""

    import_s: float = IMPORT_S
    finish_step_s: float = 60.0
    interrupt_s: float = 15.0
    terminate_s: float = 10.0


class OneTrainerBackend:
    """The backend of a OneTrainer checkout, which trains in its own Python."""

    title = "OneTrainer"

    def refusals(self, config: TrainConfig) -> tuple[Finding, ...]:
        """Return what can't be driven of what OneTrainer can do, what its code is known to fail on, and what it ignores."""
        return (*_findings(config), *onetrainer_findings(config))

    def run(self, config: TrainConfig, context: RunContext) -> Outcome:
        """Train; see :func:`run`."""
        return run(config, context.emit, context.control, context.options)


BACKEND: Backend = OneTrainerBackend()


def run(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Train with the checkout that the options name, or the first in the usual places.

    A OneTrainer that a former run left loaded is used again, if it is the same that would be loaded now; after the run it
    stays where the caller has a place for it, unless something went wrong that it may not have got over.

    :raises TrainerError: with the cause, when the run cannot continue.
    """
    if refused := tuple(finding for finding in BACKEND.refusals(config) if finding.severity == "error"):
        raise ConfigInvalidError(refused)
    over = nothing_left_of(config, options, NAME)
    if over is not None and over.severity == "error":
        raise ConfigInvalidError([over])
    checkout = chosen(options)
    python = require(checkout)
    token = config.secrets.huggingface_token
    folders = {"workspace_dir": Path(config.workspace_dir), "cache_dir": Path(config.cache_dir)}
    options = options.model_copy(update={"checkout": str(checkout.folder)})
    protect_places(config, options, by_name=True)
    results = Results(config)
    patience = Timeouts(finish_step_s=options.finish_step_s, interrupt_s=options.interrupt_s, terminate_s=options.terminate_s)
    keep_loaded = KEEP_LOADED.get()
    mark = (python, checkout.folder, state_of_modules(checkout.folder), token)
    with lock_folders(folders, f"OneTrainer in {checkout.folder}") as descriptors:
        put_back_replaced(Path(config.output_model_destination))
        kept = keep_loaded.take(mark) if keep_loaded is not None else None
        bridge = kept if isinstance(kept, Bridge) else Bridge(python, checkout.folder, token=token)
        emit(ChildProcessStarted(pid=bridge.pid, role=NAME))
        session = Session(bridge, checkout, results.marking(emit), control, patience, escalates=options.in_process)
        try:
            if not session.begin(config):
                return "stopped"
            return session.execute_run(config, options, descriptors)
        except KeyboardInterrupt:
            bridge.send({"type": "shutdown"})
            bridge.interrupt()
            bridge.status(LET_GO_S)
            raise
        finally:
            if keep_loaded is not None and bridge.can_stay and session.unharmed and bridge.usable():
                keep_loaded.keep(mark, bridge)
            else:
                bridge.close(patience_s=LET_GO_S if session.unharmed else 0.0)


def put_back_replaced(destination: Path) -> None:
    """Settle what a OneTrainer that was killed during its final save had moved aside; see ``move_linked_aside`` of the bridge.

    Another hard link has the bytes, so a file goes back only if nothing is at its place.
    """
    model = [Path(folder) for folder, _, _ in os.walk(destination)] if (destination / "model_index.json").is_file() else []
    for folder in (destination.parent, *model):
        for path in folder.glob(".unfinished-*-old-*"):
            found = _MOVED_ASIDE.fullmatch(path.name)
            if found is None or process_birth.created(int(found["pid"])) or not path.is_file():
                continue
            with contextlib.suppress(OSError):
                if os.path.lexists(folder / found["name"]):
                    path.unlink()
                else:
                    path.rename(folder / found["name"])


def chosen(options: RunOptions) -> Checkout:
    """Return the checkout of a run.

    :raises CheckoutError: when none is named and none is found.
    """
    python = Path(options.checkout_python) if options.checkout_python else None
    checkout = inspect(Path(options.checkout), python) if options.checkout else find()
    if checkout is None:
        raise CheckoutError(
            "No OneTrainer installation was found.",
            path="checkout",
            expected="a folder with OneTrainer in it",
            suggestion="Add it on the System tab, or start the panel with --onetrainer FOLDER.",
        )
    return checkout


def _findings(config: TrainConfig) -> Iterator[Finding]:
    yield from unusable_names(config)
    if config.multi_gpu:
        text = "The panel doesn't support Multi-GPU with OneTrainer, which trains in separate processes then."
        suggestion = "Turn off Multi-GPU, or start one run per GPU."
        yield Finding(
            "error", "multi_gpu", text, True, "one GPU per run", suggestion, code="bridge_multi_gpu", fix={"multi_gpu": False}
        )
    if config.cloud.enabled:
        text = "The panel doesn't support cloud training. It runs OneTrainer on its own machine."
        suggestion = "Turn off Enable cloud training, and run the panel on the cloud instance."
        fix = {"cloud.enabled": False}
        yield Finding("error", "cloud.enabled", text, True, "a run on this machine", suggestion, code="bridge_cloud", fix=fix)


@dataclass
class Session:
    """One bridge and the messages over it; several runs can follow each other.

    With ``escalates``, nobody else escalates a stop: one that has no effect then ends OneTrainer's process from here.
    """

    bridge: Bridge
    checkout: Checkout
    emit: Emit
    control: Control
    patience: Timeouts = field(default_factory=Timeouts)
    escalates: bool = False
    phase: str = "starting"
    unharmed: bool = False
    """Whether the last run left OneTrainer as it was: it ended as it should, or failed before it had trained anything."""
    _kills_before: Counters = field(default_factory=oom_kill_counters)
    _held: list[Command] = field(default_factory=list)
    _run_id: str = ""
    _chain: Chain = ()
    _config: TrainConfig = field(default_factory=TrainConfig)
    _max_steps: int | None = None
    _resumed: Path | None = None
    _stepped: bool = False
    _saves_result: bool = False
    _over: Finding | None = None
    _put_away: bool = True
    _stops: int = 0
    _stage: int = 0
    _stage_at: float = 0.0

    def begin(self, config: TrainConfig) -> bool:
        """Wait until OneTrainer is imported; return False if a stop came first.

        :raises CheckoutError: when it cannot be imported, or not within the time.
        """
        if self.bridge.greeting is not None:
            self.bridge.forget()
            self._started(config, self.bridge.greeting, "OneTrainer is loaded already")
            return True
        hello: Mapping[str, Any] = {}
        give_up_at = time.monotonic() + self.patience.import_s
        while True:
            self._held.extend(self.control.take())
            if stops := [command for command in self._held if isinstance(command, Stop)]:
                self._stopped_early(stops)
                return False
            if time.monotonic() >= give_up_at:
                raise CheckoutError(
                    f"Importing OneTrainer in {self.checkout.folder} took longer than {self.patience.import_s:.0f} seconds, "
                    "so its process was ended.",
                    value=str(self.checkout.folder),
                    suggestion="Check the console log. A disk or driver that doesn't respond is a common cause.",
                )
            try:
                body = self.bridge.next(POLL_S)
            except queue.Empty:
                continue
            if body is None:
                raise self._death()
            if body["type"] == "hello":
                hello = body
                self._started(config, body, "importing OneTrainer")
            elif body["type"] == "import_failed":
                raise import_error(body, self.checkout.folder, self.bridge.python)
            elif body["type"] == "imported":
                self.bridge.greeting = hello
                return True

    def execute_run(self, config: TrainConfig, options: RunOptions, held: Sequence[int] = ()) -> Outcome:
        """Execute one run from its settings to its end; ``held`` are the descriptors that hold its folders.

        :raises TrainerError: with the cause, when it failed; the bridge can run another one, unless its process ended.
        """
        self.unharmed, self._put_away = False, True
        self._run_id = options.run_id or f"{os.getpid()}-{time.time_ns()}"
        self._config, self._max_steps = config, options.max_steps
        self._resumed, self._stepped = None, False
        backup = backup_to_resume(config, options, NAME)
        self._chain = chain_of_run(self._run_id, backup)
        console = CONSOLE.get()
        ready = headless(config, options)
        for note in ready.notes:
            self.emit(note)
        order: dict[str, Any] = {
            "type": "run",
            "config": ready.document,
            "resume_from": options.resume_from,
            "max_steps": options.max_steps,
        }
        self._saves_result, self._over = False, None
        if backup is not None:
            self._saves_result = saves_result(config, options, backup)
            self._over = nothing_left(config, backup, options.max_steps, missing=self._saves_result)
        if self._over is not None:
            self._warn_of(self._over, backup)
        order["save_untrained"] = self._saves_result
        order["foreign_file"] = Results(config).foreign_file()
        order["own_backups"] = [
            str(backup) for backup in backups_in(Path(config.workspace_dir), whole=False) if belongs(backup, self._chain)
        ]
        self.bridge.begin(order, console.fileno() if console is not None else _ERROR_OUTPUT, held)
        for command in self._held:
            self.bridge.send(encode_command(command))
        self._held, self._stops, self._stage, self._stage_at = [], 0, 0, 0.0
        while True:
            self._pass_on_commands()
            try:
                body = self.bridge.next(POLL_S)
            except queue.Empty:
                continue
            if body is None:
                if self._stage:  # this side's stop ended it
                    return "stopped"
                raise self._death()
            if body["type"] == "run_done":
                return self._outcome(body, config)
            self._handle_message(body, ready)

    def _started(self, config: TrainConfig, body: Mapping[str, Any], detail: str) -> None:
        versions = {"onetrainer_gradio": __version__, "onetrainer": self.checkout.label, **body.get("versions", {})}
        if self.checkout.branch:
            versions["onetrainer_branch"] = self.checkout.branch
        self.emit(RunStarted(backend=NAME, pid=os.getpid(), versions=versions, hardware=hardware(device=config.train_device)))
        self.emit(PhaseChanged(phase="starting", detail=detail))

    def _stopped_early(self, stops: list[Stop]) -> None:
        self.emit(PhaseChanged(phase="stopping"))
        for command in self._held:
            early = command in stops
            self.emit(
                CommandCompleted(
                    command_id=command.id,
                    command=tag(type(command)),
                    outcome="done" if early else "refused",
                    reason="" if early else "the run is stopping",
                )
            )
        self._held = []

    def _pass_on_commands(self) -> None:
        for command in self.control.take():
            self.bridge.send(encode_command(command))
            if isinstance(command, Stop):
                self._stops += 1
                if self.escalates and (command.now or self._stops > 1):
                    self._escalate()
                self._stage_at = self._stage_at or time.monotonic()
        if self.escalates and self._stops and self.phase not in _WRITING:
            times = (self.patience.finish_step_s, self.patience.interrupt_s, self.patience.terminate_s)
            if self._stage < len(times) and time.monotonic() - self._stage_at >= times[self._stage]:
                self._escalate()

    def _escalate(self) -> None:
        self._stage += 1
        self._stage_at = time.monotonic()
        if self._stage == 1:
            self.bridge.interrupt()
        elif self._stage == 2:
            self.bridge.signal(signal.SIGTERM)
        else:
            self.bridge.signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def _handle_message(self, body: dict[str, Any], ready: Headless) -> None:
        kind = body["type"]
        if kind == "config":
            for difference in differences(ready.document, body["config"], to_document(TrainConfig(), packed=True)):
                self.emit(difference.warned())
        elif kind in EVENT_BY_TAG and kind not in _NOT_EVENTS:
            try:
                event = decode(body)
            except (KeyError, TypeError) as error:
                text = f"OneTrainer's process sent an unknown message: {error}"
                self.emit(WarningIssued(code="bridge_message", message=text))
                return
            if isinstance(event, PhaseChanged):
                self.phase = event.phase
            elif isinstance(event, WarningIssued) and event.code == "clean_up":
                self._put_away = False
            elif isinstance(event, RunPlanned):
                event = self._planned(event)
            self._stepped = self._stepped or isinstance(event, StepDone)
            self.emit(self._with_chain(event))

    def _planned(self, event: RunPlanned) -> RunPlanned:
        """Count the steps of a resumed run from its backup on; the bridge reports only the length of an epoch."""
        at = None if self._resumed is None else read_progress(self._resumed)
        if self._resumed is None or at is None:
            return event
        if (changed := steps_changed(at, event.steps_per_epoch, self._resumed)) is not None:
            self.emit(changed)
        total = total_steps(at, event.steps_per_epoch, self._config, self._max_steps)
        accumulation = max(1, self._config.gradient_accumulation_steps)
        return replace(event, total_steps=total, total_updates=total // accumulation)

    def _with_chain(self, event: Event) -> Event:
        """Write into a new backup which run made it, and add to a resume which run it continues."""
        if isinstance(event, Resumed):
            self._resumed = Path(event.path)
            self._chain = chain_of_run(self._run_id, self._resumed)
            return replace(event, run=run_of(Path(event.path)))
        if isinstance(event, BackupCreated):
            with contextlib.suppress(OSError):  # a full disk: no run deletes a backup that names none
                write_chain(Path(event.path), self._chain)
        return event

    def _outcome(self, body: Mapping[str, Any], config: TrainConfig) -> Outcome:
        if body["outcome"] == "interrupted":
            if self.escalates:
                return "stopped"
            raise KeyboardInterrupt
        if body["outcome"] in ("completed", "stopped"):
            self.unharmed = self._put_away
            if body["outcome"] == "completed" and self._resumed and not self._stepped and not config.only_cache:
                self._only_saved(config, self._resumed)
            return "completed" if body["outcome"] == "completed" else "stopped"
        phase = str(body.get("phase", ""))
        error = error_of(body.get("error") or {}, phase, config)
        # a wrong model path leaves nothing behind; a memory or driver error may
        refused = isinstance(error, OutOfMemoryError) or _DRIVER.search(error.message)
        self.unharmed = phase in _BEFORE_TRAINING and not refused and self._put_away
        raise error

    def _only_saved(self, config: TrainConfig, backup: Path) -> None:
        """Warn that a run trained no step, unless the check before it did.

        :raises ConfigInvalidError: if it didn't save the final model either, because that existed.
        """
        over = self._over or no_step_left(config, backup, missing=self._saves_result)
        if over.severity == "error":
            raise ConfigInvalidError([over])
        if self._over is None:
            self._warn_of(over, backup)

    def _warn_of(self, found: Finding, backup: Path | None) -> None:
        self.emit(WarningIssued(code=found.code, message=found.message, path=str(backup or "")))

    def _death(self) -> TrainerError:
        out_of_memory = killed_for_memory(self._kills_before, oom_kill_counters())
        return death(self.bridge.status(), self.phase, out_of_memory=out_of_memory)

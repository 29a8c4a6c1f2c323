"""The bridge's far end: runs in OneTrainer's own Python, with the checkout as working directory, and drives its trainer.

Started by path, so it imports nothing of this package: the standard library, and OneTrainer's own modules by their public names.

``python bridge_worker.py facts [PARENT]``
    writes one JSON object with what the checkout knows, and ends. It also ends when the process of the number PARENT is no more
    its parent: then nobody waits for the answer.
``python bridge_worker.py serve [SOCKET]``
    speaks JSON lines. Out, on what was standard output: ``hello``, then ``imported`` or ``import_failed``, then per run its
    events (those of ``onetrainer_gradio.events``, tag under ``type``), ``config`` with the settings that OneTrainer says it
    uses, and at last ``run_done``. In, on standard input: ``run``, commands (those of ``onetrainer_gradio.commands``),
    ``shutdown``. With a ``run`` come, over the socket of the number SOCKET, as many descriptors as it says: first that of the
    console log, then those that hold the run's folders; they are closed when the run is over. End of file on standard input means
    that the parent is dead: the step is finished, a backup and the model are saved, and the process ends.

What OneTrainer prints goes to standard error; of progress bars only the last state is kept, and now and then one between.
"""

from __future__ import annotations

import sys

OLDEST_PYTHON = (3, 10)
PROTOCOL = 1

if sys.version_info < OLDEST_PYTHON:
    sys.stdout.write(
        '{"type": "import_failed", "kind": "python", "message": "This is Python %d.%d."}\n' % (sys.version_info[:2])  # noqa: UP031
    )
    sys.stdout.flush()
    sys.exit(3)

import contextlib
import enum
import errno
import gc
import io
import json
import math
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, get_args, get_origin

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "mgds", "safetensors", "bitsandbytes")
BAR = re.compile(r"^(?P<name>[^|]*?):?\s*\d+%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+)\s*\[")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
RAISED = re.compile(r"^[\w.]*(Error|Exception|NotFound)\w*: (?!not an? )")
# OneTrainer prints a handful when it cannot load a model, the telling ones first.
RAISED_KEPT = 16
BAR_EVERY_S = 10.0
PROGRESS_EVERY_S = 0.1
PARENT_EVERY_S = 0.5
# Bars that say what the callbacks say better.
OWN_BARS = frozenset({"epoch", "step"})


# ---------------------------------------------------------------------------------------------------------------- speaking


class Wire:
    """The JSON lines to the parent; once the parent is dead they go nowhere."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")
        self._lock = threading.Lock()
        self.broken = False

    def send(self, kind: str, /, **values: Any) -> None:
        """One line."""
        text = json.dumps({"type": kind, **values}, ensure_ascii=True, default=str)
        with self._lock:
            if self.broken:
                return
            try:
                self._file.write(text + "\n")
                self._file.flush()
            except (OSError, ValueError):
                self.broken = True

    def event(self, kind: str, /, **values: Any) -> None:
        """One event, with its time."""
        self.send(kind, at=time.time(), **values)


class Console(io.TextIOBase):
    """What stands for standard output and error: it outlives a dead parent and a full disk, and tames progress bars."""

    def __init__(self, descriptor: int, on_bar: Callable[[str, int, int], None] = lambda name, done, total: None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lock = threading.RLock()
        self._pending = ""
        self._bar = ""
        self._bar_at = -BAR_EVERY_S
        self._bar_written = True
        self.on_bar = on_bar
        self.raised: list[str] = []
        """The errors that were printed, oldest first: some of OneTrainer's own name no cause."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What libraries ask for before they draw."""
        return "utf-8"

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        with self._lock:
            self._pending += ESCAPES.sub("", text)
            *whole, self._pending = re.split(r"[\r\n]", self._pending)
            for segment in whole:
                self._segment(segment)
            if BAR.match(self._pending):
                self._draw(self._pending)
        return len(text)

    def flush(self) -> None:
        return

    def continue_in(self, descriptor: int | None) -> None:
        """From here on everything goes to another log, also what native code prints."""
        if descriptor is not None:
            os.dup2(descriptor, self._descriptor)

    def settle(self) -> None:
        """Writes what has no line end yet."""
        with self._lock:
            pending, self._pending = self._pending, ""
            self._segment(pending)
            self._finish_bar()

    def _segment(self, text: str) -> None:
        if not text.strip():
            return
        if BAR.match(text):
            self._draw(text)
            return
        self._finish_bar()
        self._put(text)

    def _draw(self, text: str) -> None:
        found = BAR.match(text)
        if found is None or text == self._bar:
            return
        name, done, total = found["name"].strip(), int(found["done"]), int(found["total"])
        self._bar, self._bar_written = text, False
        if done >= total or time.monotonic() - self._bar_at >= BAR_EVERY_S:
            self._finish_bar()
        self.on_bar(name, done, total)

    def _finish_bar(self) -> None:
        if self._bar and not self._bar_written:
            self._bar_written = True
            self._bar_at = time.monotonic()
            self._put(self._bar.rstrip())

    def _put(self, line: str) -> None:
        if RAISED.match(line):
            printed_text = line.partition(": ")[2][:200]
            if printed_text not in self.raised:
                self.raised = [*self.raised, printed_text][-RAISED_KEPT:]
        with contextlib.suppress(OSError):
            os.write(self._descriptor, (line + "\n").encode("utf-8", "replace"))


# ---------------------------------------------------------------------------------------------------------------- facts


def attempt(body: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What the body of a run or of an import gives, or what it raises.

    The one place where anything at all is taken, for those alone to whom an error is the answer: a run, and an import.
    """
    try:
        return body(), None
    except BaseException as error:  # noqa: BLE001 - the body of a run: whatever is raised is the cause of its end
        return None, error


class OutcomeProbe:
    """Stands around something of OneTrainer's, is told how it went (None, or the error), and lets the error pass."""

    def __init__(self, report_outcome: Callable[[BaseException | None], None]) -> None:
        self._report_outcome = report_outcome

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._report_outcome(error)
        finally:
            if error is not None and not isinstance(error, Exception):
                raise error  # an interrupt gets out, also where telling it failed


def cause_of(error: BaseException) -> dict[str, Any]:
    """An error as data: kind, sentence, the file and line of OneTrainer's where it arose, and what lay beneath it."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    here = os.path.abspath(__file__)
    frames = [frame for frame in traceback.extract_tb(root.__traceback__) if os.path.abspath(frame.filename) != here]
    own = [frame for frame in frames if os.sep + "modules" + os.sep in frame.filename]
    places = own or frames
    place = places[-1] if places else None
    return {
        "kind": type(error).__name__,
        "message": first_line(error),
        "root_kind": type(root).__name__,
        "root_message": first_line(root),
        "errno": getattr(root, "errno", None),
        "filename": str(getattr(root, "filename", "") or ""),
        "name": str(getattr(root, "name", "") or ""),
        "where": f"{os.path.relpath(place.filename)}:{place.lineno}" if place is not None else "",
    }


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:600] if lines else ""


def library_versions() -> dict[str, str]:
    """Versions of what trains, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def plain(value: Any) -> Any:
    """A value of a setting as JSON."""
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if hasattr(value, "to_dict"):
        return {key: plain(item) for key, item in value.to_dict().items() if key != "__version"}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def type_name(kind: Any) -> str:
    """``list[ConceptConfig]`` for a list of concepts."""
    if get_origin(kind) is not None:
        inner = ", ".join(type_name(item) for item in get_args(kind))
        return f"{get_origin(kind).__name__}[{inner}]"
    return getattr(kind, "__name__", str(kind))


def defaults_of(kind: Any) -> Any:
    """An object of a configuration class with its defaults, None where the class wants to be asked otherwise."""
    try:
        return kind.default_values()
    except TypeError:  # it has to be told something more, such as the model type
        return None


def walk(config: Any, prefix: str, rows: list[list[Any]], enums: dict[str, list[str]]) -> None:
    """Adds a row (path, type, nullable, default) for each setting below ``config``."""
    for name, kind in config.types.items():
        path = prefix + name
        value = getattr(config, name)
        if hasattr(value, "types"):
            walk(value, path + ".", rows, enums)
            continue
        rows.append([path, type_name(kind), bool(config.nullables.get(name)), plain(value)])
        note_enum(kind, enums)
        for inner in get_args(kind):
            note_enum(inner, enums)
            if hasattr(inner, "default_values") and get_origin(kind) is list:
                element = defaults_of(inner)
                if element is not None and hasattr(element, "types"):
                    walk(element, path + "[].", rows, enums)


def note_enum(kind: Any, enums: dict[str, list[str]]) -> None:
    """Remembers the values of an enum."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        enums[kind.__name__] = [str(item) for item in kind]


def read_facts() -> dict[str, Any]:
    """What the checkout in the working directory knows of settings; its trainer is not imported for that."""
    from modules.util.config.TrainConfig import TrainConfig
    from modules.util.enum.ModelType import ModelType
    from modules.util.enum.TrainingMethod import TrainingMethod

    rows: list[list[Any]] = []
    enums: dict[str, list[str]] = {}
    config = TrainConfig.default_values()
    walk(config, "", rows, enums)
    for kind in (ModelType, TrainingMethod):
        note_enum(kind, enums)
    return {
        "type": "facts",
        "config_version": config.config_version,
        "fields": rows,
        "enums": enums,
        "model_types": [str(item) for item in ModelType],
        "sample_defaults": read_sample_defaults(ModelType),
        "versions": library_versions(),
    }


def read_methods() -> dict[str, list[str]]:
    """Which methods each model type can be trained with: the whole of OneTrainer is imported for that."""
    from modules.util import create
    from modules.util.enum.ModelType import ModelType
    from modules.util.enum.TrainingMethod import TrainingMethod

    asked = getattr(create, "get_model_setup_class", None) or create.create_model_loader
    return {
        str(model_type): [str(method) for method in TrainingMethod if asked(model_type, method) is not None]
        for model_type in ModelType
    }


def read_sample_defaults(model_types: Any) -> dict[str, dict[str, Any]]:
    """What a new sample of each model type begins with: the values in which the types differ."""
    from modules.util.config.SampleConfig import SampleConfig

    usual = plain(SampleConfig.default_values())
    try:
        every = {str(model_type): plain(SampleConfig.default_values(model_type)) for model_type in model_types}
    except TypeError:  # older revisions begin with the same values for every model
        return {}
    differ = [name for name in usual if any(each.get(name) != usual[name] for each in every.values())]
    return {model_type: {name: each[name] for name in differ} for model_type, each in every.items()} if differ else {}


# ---------------------------------------------------------------------------------------------------------------- driving

# What a status of OneTrainer's contains -> phase, most telling first.
PHASES = (
    ("previous backup", "loading"),
    ("backup", "backing_up"),
    ("saving", "saving"),
    ("validation", "validating"),
    ("sampling", "sampling"),
    ("cach", "caching"),
    ("training", "training"),
    ("loading", "loading"),
    ("setup", "loading"),
    ("hugging face", "loading"),
)
# Nothing can be asked of OneTrainer meanwhile: a stop interrupts it.
INTERRUPTED = frozenset({"loading", "caching"})
# phase -> folder of the workspace whose entries OneTrainer names by the second
TIMED_FOLDERS = {"backing_up": "backup", "saving": "save"}
# What libraries say of a full disk where they do not pass on the error of the system.
FULL_WORDS = ("No space left", "os error 28", "os error 27", "os error 122", "Disk quota exceeded", "PytorchStreamWriter failed")
BAR_PHASES = frozenset({"loading", "caching", "validating"})
# What OneTrainer calls of the writer of its charts.
CHART_METHODS = ("add_scalar", "add_image", "flush", "close")
LOSS, SMOOTH_LOSS, RATE, VALIDATION = "loss/train_step", "smooth_loss/train_step", "lr/", "loss/validation_step/"
TOTAL = "total_average"
STOPPING = "the run is stopping"
COMMANDS = frozenset({"stop", "pause", "resume", "sample_default", "sample_custom", "backup_now", "save_now"})
COMMAND_ID = "onetrainer_gradio_command_id"
NO_SPACE = "Nothing was written. Is the disk full?"


def receive(place: int | None, count: int) -> list[int]:
    """The descriptors that the parent sends with a run."""
    if place is None or not count:
        return []
    with socket.socket(fileno=os.dup(place)) as way:
        descriptors = list(socket.recv_fds(way, 1, count)[1])
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors


def close(descriptors: list[int]) -> None:
    """Lets go of descriptors."""
    while descriptors:
        os.close(descriptors.pop())


class SamplingStopped(Exception):  # noqa: N818 - a signal, not an error
    """A stop was asked for while a picture is painted."""


class CommandInbox:
    """What the parent says, laid down by the thread that reads and taken by the one that trains."""

    def __init__(self, wire: Wire, place: int | None = None) -> None:
        self.wire = wire
        self.place = place
        self.changed = threading.Condition(threading.RLock())
        self.runs: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.driver: RunDriver | None = None
        self.orphaned = False
        self.over = False

    def listen(self) -> None:
        """Reads until the parent is gone; should the reading itself fail, nobody can say anything any more either."""
        try:
            for line in sys.stdin:
                if isinstance(body := document_in(line), dict):
                    self.receive_message(body)
        finally:
            self.on_parent_gone()

    def on_parent_gone(self) -> None:
        """The run that is going on is brought to its end, and there will be no other."""
        with self.changed:
            self.orphaned = self.over = True
            driver = self.driver
            if driver is None:
                leave(0)
            driver.request_stop()
            self.changed.notify_all()

    def receive_message(self, body: dict[str, Any]) -> None:
        """One line of the parent's."""
        kind = body.get("type")
        with self.changed:
            if kind == "run":
                body["descriptors"] = receive(self.place, body.get("descriptors", 0))
                self.runs.append(body)
            elif kind == "shutdown":
                self.over = True
            elif self.driver is None and kind == "stop" and self.runs:
                for run in self.runs:
                    close(run["descriptors"])
                self.runs.clear()
                self.answer(body)
                self.wire.send("run_done", outcome="stopped", error=None, phase="starting")
            elif self.driver is None and not self.runs:
                self.answer(body, "refused", "no run is going on")
            elif kind not in COMMANDS:
                self.answer(body, "refused", "OneTrainer does not know the command")
            elif kind == "stop" and self.driver is not None:
                self.driver.request_stop()
                self.answer(body)
            else:
                self.commands.append(body)
            self.changed.notify_all()

    def next_run(self, onetrainer: dict[str, Any]) -> RunDriver | None:
        """Waits for a run; None when there will be none."""
        with self.changed:
            self.changed.wait_for(lambda: self.runs or self.over)
            if not self.runs or self.orphaned:
                return None
            self.driver = RunDriver(self, onetrainer, self.runs.pop(0))
            return self.driver

    def take(self, kind: str) -> list[dict[str, Any]]:
        """The waiting commands of a kind."""
        with self.changed:
            taken = [body for body in self.commands if body.get("type") == kind]
            self.commands = [body for body in self.commands if body.get("type") != kind]
            return taken

    def answer(self, body: dict[str, Any], outcome: str = "done", reason: str = "", result: str = "") -> None:
        """The one answer to a command."""
        kind = body.get("type", "")
        self.wire.event(
            "command_completed", command_id=body.get("id", ""), command=kind, outcome=outcome, reason=reason, result=result
        )


class RunDriver:
    """One run: what OneTrainer calls, says and writes becomes events; what the parent says becomes what OneTrainer asks for."""

    def __init__(self, inbox: CommandInbox, onetrainer: dict[str, Any], body: dict[str, Any]) -> None:
        self.inbox, self.wire, self.onetrainer = inbox, inbox.wire, onetrainer
        self.printed: Callable[[], list[str]] = list
        self.document: dict[str, Any] = body["config"]
        self.resume_from: str = body.get("resume_from") or ""
        self.max_steps: int = body.get("max_steps") or 0
        self.own_backups: list[str] = body.get("own_backups") or []
        # a file at the destination that no run wrote: it keeps its content under another name
        self.foreign_file: str = body.get("foreign_file") or ""
        self.stops = 0
        self.descriptors: list[int] = body["descriptors"]
        self.config: Any = None
        self.trainer: Any = None
        self.phase = "queued"
        self.stopping = self.interrupted = self.limit_reached = False
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
        # the round of pictures that is being painted, the backup that is being written, and who asked for them
        self.sampled = 0
        self.sampling_error = ""
        self.round_open = self.round_custom = False
        self.asked: dict[str, list[dict[str, Any]]] = {"sample_default": [], "backup_now": [], "save_now": []}
        self.custom: dict[str, dict[str, Any]] = {}
        self.backup: tuple[str, str] | None = None
        self.closing = self.ending = self.saved_finally = self.end_backed_up = False

    # -- the run

    def execute_run(self) -> None:
        """From the settings to ``run_done``, which is said whatever arises on the way there."""
        outcome: str = "failed"
        failure: dict[str, Any] | None = {"kind": "BridgeError", "message": "how the run ended could not be told"}
        try:
            outcome, failure = self.outcome_of(*attempt(self.run_and_end))
        finally:
            try:
                self.report_left(attempt(self.finish)[1])
            finally:
                self.wire.send("run_done", outcome=outcome, error=failure, phase=self.phase)

    def run_and_end(self) -> str:
        """The run; one that a stop of ours interrupted is ended as after any stop."""
        try:
            return self.run()
        except KeyboardInterrupt:
            if not self.interrupted:
                raise
        return self.end_stopped()

    def outcome_of(self, outcome: str, error: BaseException | None) -> tuple[str, dict[str, Any] | None]:
        """How it ended, for ``run_done``. The error is not kept: its frames hold the model."""
        if error is None:
            return outcome, None
        if isinstance(error, KeyboardInterrupt):
            return "interrupted", None
        traceback.print_exception(error)
        return "failed", {**cause_of(error), "printed": self.printed()}

    def finish(self) -> None:
        """What is complete is told, what was asked for is answered, and nothing stays behind."""
        with self.inbox.changed:
            self.inbox.driver = None
            left, self.inbox.commands = self.inbox.commands, []
        with contextlib.ExitStack() as last:  # called from the last to the first, whatever the others raise
            last.callback(close, self.descriptors)
            last.callback(self.clean_up)
            last.callback(self.refuse, left)
            self.settle()

    def refuse(self, left: list[dict[str, Any]]) -> None:
        """Nothing can be asked of the run any more."""
        reason = STOPPING if self.stopping else "the run has ended"
        customs = (one for body in self.custom.values() for one in with_same(body))
        for body in (*left, *customs, *(one for asked in self.asked.values() for one in asked)):
            self.inbox.answer(body, "refused", reason)

    def report_left(self, error: BaseException | None) -> None:
        """What could not be put away spoils the run no more, and the next one can be tried."""
        if error is None:
            return
        traceback.print_exception(error)
        if isinstance(error, Exception):
            text = f"What OneTrainer left of the run could not be put away ({problem_of(error)}); the next run may fail for it."
            self.warn("clean_up", text)

    def run(self) -> str:
        """Trains; says how it ended."""
        try:
            self.enter("loading")
            if self.stopping:
                return "stopped"
            self.read_config()
            self.trainer = self.onetrainer["create_trainer"](self.config, self.callbacks(), self.commands())
            self.listen_to_scalars(self.trainer.tensorboard)
            self.trainer.start()
            self.hook_trainer()
            if not self.stopping:
                self.trainer.train()
        finally:
            with self.inbox.changed:
                self.closing = True
        return self.end_stopped() if self.stopping else self.end("completed")

    def end_stopped(self) -> str:
        """The end after a stop: what was trained is backed up and saved."""
        if self.inbox.orphaned and self.config is not None:
            self.config.backup_before_save = True
        return self.end("stopped")

    def end(self, outcome: str) -> str:
        with self.inbox.changed:
            self.ending = True
            if outcome == "stopped":
                self.phase_is("stopping")
        trained = bool(getattr(self.trainer, "one_step_trained", False))
        if self.trainer is not None and getattr(self.trainer, "model", None) is not None:
            self.trainer.end()
        self.settle()
        if trained and not self.saved_finally:
            raise OSError(28, NO_SPACE, str(self.config.output_model_destination))
        return outcome

    def clean_up(self) -> None:
        """Its chart server ends, and its memory is free."""
        trainer, self.trainer, self.config = self.trainer, None, None
        board, child = getattr(trainer, "tensorboard", None), getattr(trainer, "tensorboard_subprocess", None)
        with contextlib.ExitStack() as last:  # called from the last to the first, whatever the others raise
            last.callback(self.free_memory)
            if child is not None:
                last.callback(end_child, child)
            if board is not None:
                last.callback(board.close)
            trainer = board = child = None

    def free_memory(self) -> None:
        """The next run, here or elsewhere, finds the memory free."""
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def read_config(self) -> None:
        """The settings become OneTrainer's, and are told as it took them."""
        self.config = self.onetrainer["TrainConfig"].default_values().from_dict(self.document)
        try:
            used = self.config.to_pack_dict(secrets=False)
        except (AttributeError, TypeError, OSError, ValueError):
            # older revisions know no such method or no such word; newer ones read the files of concepts and prompts for it
            used = {key: value for key, value in self.config.to_dict().items() if key != "secrets"}
        self.wire.send("config", config=plain_document(used))
        if self.resume_from:
            self.config.continue_last_backup = True
            self.config.get_last_backup_path = lambda: self.resume_from
        elif self.config.continue_last_backup and self.config.get_last_backup_path() is None:
            self.warn("no_backup", "There is no backup to go on from; the run begins anew.", "continue_last_backup")

    def hook_trainer(self) -> None:
        """The model is there: painting and writing are listened to."""
        trainer = self.trainer
        trainer.model_saver.save = self.listen_to_saver(trainer.model_saver.save)
        trainer.model_sampler.sample = self.listen_to_sampler(trainer.model_sampler.sample)
        self.keep_foreign_backups(trainer)
        self.first_step = trainer.model.train_progress.global_step
        path = self.resume_from or (self.config.get_last_backup_path() if self.config.continue_last_backup else None)
        if path:
            self.wire.event("resumed", path=str(path), global_step=self.first_step)

    def keep_foreign_backups(self, trainer: Any) -> None:
        """Rolling backups delete only those of this run and of the runs that it resumes, where the revision has the function."""
        for kind in type(trainer).__mro__:
            name = f"_{kind.__name__.lstrip('_')}__prune_backups"
            if hasattr(trainer, name):
                setattr(trainer, name, self.prune)

    def prune(self, *_: Any, **__: Any) -> None:
        """Delete the oldest of the run's own backups, as many as are above the number to keep."""
        keep = int(self.config.rolling_backup_count)
        while len(self.own_backups) > keep > 0:
            delete_backup(self.own_backups.pop(0))

    # -- what OneTrainer says

    def callbacks(self) -> Any:
        """Its callbacks. OneTrainer swallows whatever they raise, so it is told before."""
        functions = {
            "on_update_train_progress": self.guarded(self.on_progress),
            "on_update_status": self.guarded(self.on_status),
        }
        return self.onetrainer["TrainCallbacks"](**functions)

    def guarded(self, function: Callable[..., None]) -> Callable[..., None]:
        def call(*values: Any) -> None:
            with OutcomeProbe(self.report_unpassed):
                function(*values)

        return call

    def report_unpassed(self, error: BaseException | None) -> None:
        """Something of ours went wrong where OneTrainer would only print it, or not even that."""
        if isinstance(error, Exception):
            traceback.print_exception(error)
            self.warn("bridge_callback", f"What OneTrainer tells could not be passed on: {problem_of(error)}.")

    def warn(self, code: str, message: str, path: str = "") -> None:
        """Something to know, once."""
        if message not in self.warned:
            self.warned.add(message)
            self.wire.event("warning_issued", code=code, message=message, path=path)

    def phase_is(self, phase: str) -> None:
        if phase != self.phase:
            self.phase = phase
            self.wire.event("phase_changed", phase=phase)

    def enter(self, phase: str) -> None:
        """The phase, said when it changes; a run that is stopping does not go back to training."""
        with self.inbox.changed:
            if self.stopping and phase in ("training", "paused", *INTERRUPTED):
                return
            self.phase_is(phase)

    def on_status(self, status: str) -> None:
        """One of OneTrainer's own sentences."""
        self.settle()
        words = status.lower()
        phase = next((phase for word, phase in PHASES if word in words), None)
        if phase is not None:
            self.enter(phase)
        if phase in TIMED_FOLDERS and self.config is not None:
            wait_for_unused_second(os.path.join(self.config.workspace_dir, TIMED_FOLDERS[phase]))
        if phase == "training" and not self.planned:
            self.first_rates = self.rates_of_optimizer()
        if phase == "sampling":
            self.round_open, self.round_custom = True, False
            self.sampled, self.sampling_error = 0, ""

    def on_bar(self, name: str, done: int, total: int) -> None:
        """A progress bar of OneTrainer's, or of a library."""
        if name not in OWN_BARS and self.phase in BAR_PHASES:
            self.progress(done, total, name)

    def progress(self, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - self.progress_at >= PROGRESS_EVERY_S:
            self.progress_at = now
            self.wire.event("phase_progress", phase=self.phase, done=done, total=total, detail=detail)

    def listen_to_scalars(self, board: Any) -> None:
        """Loss and learning rates go to its charts; they pass here. Charts that cannot be written do not end the training."""
        for method in CHART_METHODS:
            if hasattr(board, method):
                setattr(board, method, self.chart(getattr(board, method)))
        original = board.add_scalar

        def add_scalar(name: str, value: Any, *rest: Any, **named: Any) -> Any:
            self.note_scalar(name, value)
            return original(name, value, *rest, **named)

        board.add_scalar = add_scalar

    def chart(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            try:
                return method(*values, **named)
            except OSError as error:
                text = f"OneTrainer's charts cannot be written ({problem_of(error)}); the training goes on without them."
                self.warn("charts", text, "workspace_dir")
                return None

        return call

    def note_scalar(self, name: str, value: Any) -> None:
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError) as error:  # the last is a tensor's of more than one number
            self.warn("bridge_scalar", f"OneTrainer's chart {name} shows something that is no number ({problem_of(error)}).")
            return
        if name.startswith(VALIDATION):
            self.validation[name[len(VALIDATION) :]] = number
        else:
            self.scalars[name] = number

    def on_progress(self, progress: Any, epoch_length: int, epochs: int) -> None:
        """After a batch, and after an epoch: ``epoch_length`` is what OneTrainer calls the greatest step."""
        self.settle()
        loss = self.scalars.pop(LOSS, None)
        if loss is not None:
            self.report_step(progress, int(epoch_length), int(epochs), loss)
        if progress.epoch_step > 0:
            self.pending_gradients = loss is None
        if self.max_steps and progress.global_step >= self.max_steps:
            self.limit_reached = True
        if not self.pending_gradients and not self.limit_reached:
            self.hold()

    def report_step(self, progress: Any, epoch_length: int, epochs: int, loss: float) -> None:
        rates = {name[len(RATE) :]: self.scalars.pop(name) for name in list(self.scalars) if name.startswith(RATE)}
        accumulated = max(1, int(getattr(self.config, "gradient_accumulation_steps", 1) or 1))
        if not self.planned:
            self.planned, self.rates = True, list(rates)
            self.report_plan(epoch_length, epochs, accumulated)
            # several groups may share a name, and then nothing says whose rate is whose
            self.upcoming = dict(zip(rates, self.first_rates, strict=True)) if len(rates) == len(self.first_rates) else {}
        used, self.upcoming = self.upcoming, rates
        now = time.monotonic()
        seconds, self.step_at = now - self.step_at, now
        self.wire.event(
            "step_done",
            update_step=progress.global_step // accumulated,
            global_step=progress.global_step,
            epoch=progress.epoch,
            epoch_step=progress.epoch_step,
            epoch_sample=progress.epoch_sample,
            loss=loss,
            smooth_loss=self.scalars.pop(SMOOTH_LOSS, loss),
            grad_norm=None,
            learning_rates=[used.get(name, math.nan) for name in self.rates],
            seconds=seconds,
            images=int(self.config.batch_size) * accumulated,
        )

    def rates_of_optimizer(self) -> list[float]:
        """The learning rate of each parameter group, before the first update: OneTrainer charts the rates of later ones only."""
        try:
            # optimizers that estimate the step size themselves keep it as "d"; OneTrainer charts the product
            return [float(group["lr"]) * float(group.get("d", 1.0)) for group in self.trainer.model.optimizer.param_groups]
        except (AttributeError, KeyError, TypeError, ValueError):  # a revision that keeps them elsewhere
            return []

    def report_plan(self, epoch_length: int, epochs: int, accumulated: int) -> None:
        total = epoch_length * epochs
        total = min(total, self.max_steps) if self.max_steps else total
        try:
            trained = sum(item.numel() for item in self.trainer.parameters if item.requires_grad)
        except (AttributeError, TypeError):  # a revision that keeps them elsewhere or otherwise: the number is only shown
            trained = 0
        self.wire.event(
            "run_planned",
            total_steps=total,
            steps_per_epoch=epoch_length,
            total_updates=total // accumulated,
            epochs=epochs,
            first_step=self.first_step,
            images=epoch_length * int(self.config.batch_size),
            trainable_parameters=trained,
            learning_rates=self.rates,
        )

    # -- what OneTrainer writes

    def settle(self) -> None:
        """Tells what is complete now: a backup once OneTrainer has left it, a round of pictures, a validation."""
        if self.backup is not None:
            (path, failure), self.backup = self.backup, None
            self.report_backup(path, failure)
        if self.validation:
            losses, self.validation = self.validation, {}
            total = losses.pop(TOTAL, None)
            mean = total if total is not None else sum(losses.values()) / len(losses)
            self.wire.event(
                "validation_completed", global_step=self.trainer.model.train_progress.global_step, losses=losses, total=mean
            )
        if self.round_open:
            self.round_open = False
            if not self.round_custom:
                self.answer_default()
        if self.phase in ("sampling", "backing_up", "saving", "validating"):
            self.step_at = time.monotonic()

    def answer_default(self) -> None:
        asked, self.asked["sample_default"] = self.asked["sample_default"], []
        for body in asked:
            if self.sampled:
                self.inbox.answer(body)
            else:
                none = STOPPING if self.stopping else "no sample prompt is enabled"
                self.inbox.answer(body, "refused", self.sampling_error or none)

    def report_backup(self, path: str, failure: str) -> None:
        progress = self.trainer.model.train_progress
        size, unread = measured(path)
        failure = failure or unread or ("" if os.path.isdir(path) and size else NO_SPACE)
        asked = [*self.asked["backup_now"], *self.inbox.take("backup_now")]
        self.asked["backup_now"] = []
        if failure:
            self.wire.event("backup_failed", path=path, error=storage_error(failure, path))
        else:
            steps = {"global_step": progress.global_step, "epoch": progress.epoch, "epoch_step": progress.epoch_step}
            self.wire.event("backup_created", path=path, bytes=size, **steps)
        for body in asked:
            if failure:
                self.inbox.answer(body, "refused", failure)
            else:
                self.inbox.answer(body, result=path)

    def listen_to_saver(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Its saver writes backups, intermediate and final models; what it says about the outcome is not taken for granted."""

        def save(*values: Any, **named: Any) -> Any:
            model_format = str(named.get("output_model_format", values[2] if len(values) > 2 else ""))
            path = str(named.get("output_model_destination", values[3] if len(values) > 3 else ""))
            known = os.path.lexists(path)
            final = self.ending and model_format != "INTERNAL"
            aside = move_linked_aside(path) if model_format != "INTERNAL" else {}
            renamed = rename_file(path) if final and path == self.foreign_file and path not in aside else ""
            tell = self.guarded(partial(self.report_written, model_format, path, known, aside, renamed))
            with OutcomeProbe(tell):
                write = partial(original, *values, **named)
                return self.write_finally(path, write) if final else write()

        return save

    def write_finally(self, path: str, write: Callable[[], Any]) -> Any:
        """The final save. On a full disk it waits for space, so that the weights aren't lost; a backup of this step has them."""
        pause_s, stops, stopped = 1.0, self.stops, False
        while True:
            try:
                return write()
            except write_errors() as error:
                if self.end_backed_up or stopped or not is_disk_full(error):
                    raise
                stopped = not self.space_appeared(path, pause_s, stops)  # tried once more even then: there may be room by now
            pause_s = min(2 * pause_s, 30.0)

    def space_appeared(self, path: str, pause_s: float, stops: int) -> bool:
        """Waits until it is worth another try; False if there are more than so many ``stops`` before."""
        name = os.path.basename(path)
        self.wire.event("phase_changed", phase="saving", detail=f"No space left on disk. Waiting for space to save {name}")
        text = (
            f"No space left on disk for the final model {path}. The run keeps the weights in memory and tries again until there "
            "is space. Free up space, or stop the run to give up the weights."
        )
        self.warn("waiting_for_space", text, path)
        before, give_up_at = free_bytes(path), time.monotonic() + pause_s
        with self.inbox.changed:
            while self.stops == stops and time.monotonic() < give_up_at and free_bytes(path) < before + 1_000_000:
                self.inbox.changed.wait(min(0.5, pause_s))
            return self.stops == stops

    def report_written(
        self, model_format: str, path: str, known: bool, aside: dict[str, str], renamed: str, error: BaseException | None
    ) -> None:
        """The saver is back, with an error or without; ``known`` says that something of the name was there before.

        ``aside`` names the files that were renamed to make room for what was written, by where they were; ``renamed`` is the new
        name of a file that no run wrote, empty if there was none.
        """
        failure = problem_of(error) if error is not None else "" if os.path.exists(path) else NO_SPACE
        internal = model_format == "INTERNAL"
        # of a backup that failed OneTrainer removes what was written, unless it was interrupted
        if failure and not known and not (internal and isinstance(error, Exception)):
            self.remove_half(path)
        self.settle_aside(aside, put_back=bool(failure))
        if renamed and failure:
            os.replace(renamed, path)
        elif renamed:
            name = os.path.basename(renamed)
            self.warn("output_kept", f"{path} was not written by a run. It was renamed to {name}.", path)
        if internal:
            self.backup = (path, failure)  # OneTrainer is not done with it yet
            if not failure:
                self.own_backups.append(path)
                self.end_backed_up = self.ending
            return
        size, unread = measured(path) if not failure else (0, "")
        self.report_save(path, failure or unread, size)

    def settle_aside(self, aside: dict[str, str], *, put_back: bool) -> None:
        """Put back what was there before a save that failed; after one that succeeded, another link holds its bytes."""
        for path, renamed in aside.items():
            try:
                if put_back:
                    os.replace(renamed, path)
                else:
                    os.unlink(renamed)
            except OSError as error:
                self.warn("replaced_file", f"The earlier {path} is now in {renamed}: {problem_of(error)}.")

    def remove_half(self, path: str) -> None:
        """What was not written to its end is not left to be taken for a whole one."""
        if not os.path.lexists(path):
            return
        try:
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError as error:
            self.warn("half_written", f"{path} is only half written and could not be removed: {problem_of(error)}.")

    def report_save(self, path: str, failure: str, size: int) -> None:
        final = self.ending
        asked = [*self.asked["save_now"], *self.inbox.take("save_now")]
        self.asked["save_now"] = []
        if failure:
            if not final:
                self.wire.event("save_failed", path=path, error=storage_error(failure, path))
        else:
            self.saved_finally = self.saved_finally or final
            step = self.trainer.model.train_progress.global_step
            self.wire.event("model_saved", path=path, final=final, global_step=step, bytes=size)
        for body in asked:
            if failure:
                self.inbox.answer(body, "refused", failure)
            else:
                self.inbox.answer(body, result=path)

    def listen_to_sampler(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Its sampler paints one picture a call; where it lies, how it was made and how far it is are told."""

        def sample(*values: Any, **named: Any) -> Any:
            config = named.get("sample_config", values[0] if values else None)
            destination = unused(str(named.get("destination", values[1] if len(values) > 1 else "")))
            if "destination" in named:
                named["destination"] = destination
            elif len(values) > 1:
                values = (values[0], destination, *values[2:])
            body = self.custom.get(getattr(config, COMMAND_ID, ""))
            self.round_custom = self.round_custom or body is not None
            if body is None:  # whoever asked before a round that was due is served by it
                self.collect("sample_default")
            if self.stopping:
                self.answer_custom(body, "refused", STOPPING)
                return None
            tell = self.guarded(partial(self.report_sample, config, destination, body, time.monotonic()))
            try:
                with OutcomeProbe(tell):
                    self.choose_seed(config)
                    self.show_progress(named, config, custom=body is not None)
                    return original(*values, **named)
            except SamplingStopped:
                return None

        return sample

    def report_sample(
        self, config: Any, destination: str, body: dict[str, Any] | None, started: float, error: BaseException | None
    ) -> None:
        """The sampler is back, with an error or without."""
        if error is None:
            self.emit_sample(config, destination, time.monotonic() - started, body)
        elif isinstance(error, SamplingStopped):
            self.answer_custom(body, "refused", STOPPING)
        elif isinstance(error, Exception):
            self.report_sample_failure(body, f"The picture could not be painted: {problem_of(error)}")
        # an interrupt ends the run, and with it what was asked for is refused

    def report_sample_failure(self, body: dict[str, Any] | None, reason: str) -> None:
        self.sampling_error = reason
        self.answer_custom(body, "refused", reason)
        self.warn("sampling_failed", reason, "samples")

    def answer_custom(self, body: dict[str, Any] | None, outcome: str = "done", reason: str = "", result: str = "") -> None:
        """Answers who asked for a picture of their own, if somebody did."""
        if body is not None and self.custom.pop(body["id"], None) is not None:
            for one in with_same(body):
                self.inbox.answer(one, outcome, reason, result)

    def choose_seed(self, config: Any) -> None:
        """A random seed is drawn here, so that the picture can be painted again."""
        if getattr(config, "random_seed", False):
            config.random_seed = False
            config.seed = random.SystemRandom().randrange(2**31)

    def show_progress(self, named: dict[str, Any], config: Any, *, custom: bool) -> None:
        original = named.get("on_update_progress")
        enabled = [item for item in self.config.samples or () if item.enabled]
        number, count = self.sampled, 1 if custom else max(len(enabled), self.sampled + 1)

        def on_update_progress(done: int, total: int) -> None:
            if original is not None:
                original(done, total)
            self.progress(number * total + done, count * total, str(config.prompt))
            if self.stopping:
                raise SamplingStopped

        named["on_update_progress"] = on_update_progress

    def emit_sample(self, config: Any, destination: str, seconds: float, body: dict[str, Any] | None) -> None:
        folder, name = os.path.split(destination)
        try:
            made = sorted(item for item in os.listdir(folder) if item.startswith(name))
        except OSError:  # no folder, or none that can be read
            made = []
        if not made:
            self.report_sample_failure(body, "OneTrainer wrote no picture")
            return
        self.sampled += 1
        folder_name = os.path.basename(folder)
        progress = self.trainer.model.train_progress
        path = os.path.join(folder, made[0])
        index = folder_name.partition(" - ")[0]
        ema = getattr(self.trainer.model, "ema", None) is not None and not folder_name.endswith(" - no-ema")
        commands = [body] if body is not None else self.asked["sample_default"]
        self.wire.event(
            "sample_generated",
            path=path,
            kind="custom" if body is not None else "default",
            index=int(index) if index.isdecimal() and body is None else 0,
            prompt=config.prompt,
            negative_prompt=config.negative_prompt,
            width=config.width,
            height=config.height,
            seed=config.seed,
            diffusion_steps=config.diffusion_steps,
            cfg_scale=config.cfg_scale,
            noise_scheduler=str(config.noise_scheduler),
            global_step=progress.global_step,
            epoch=progress.epoch,
            epoch_step=progress.epoch_step,
            seconds=seconds,
            ema=ema,
            command_id=commands[0].get("id", "") if commands else "",
        )
        self.answer_custom(body, result=path)

    # -- what the parent says

    def request_stop(self) -> None:
        """A stop, or the parent's death: at once where nothing can be asked of OneTrainer, else at the end of the step."""
        with self.inbox.changed:
            first, self.stopping = not self.stopping, True
            self.stops += 1
            interrupt = first and self.phase in INTERRUPTED and not self.closing
            self.phase_is("stopping")
            if interrupt:
                self.interrupted = True
                interrupt_main_thread()
            self.inbox.changed.notify_all()

    def commands(self) -> Any:
        """OneTrainer asks for commands; it gets its own, and those of the parent at that moment."""
        driver = self
        kind: Any = self.onetrainer["TrainCommands"]

        class Commands(kind):  # type: ignore[misc]
            def get_stop_command(self) -> bool:
                return driver.stopping or driver.limit_reached or bool(super().get_stop_command())

            def get_and_reset_sample_default_command(self) -> bool:
                asked = super().get_and_reset_sample_default_command()
                return driver.collect("sample_default") or bool(asked)

            def get_and_reset_sample_custom_commands(self) -> list[Any]:
                return [*super().get_and_reset_sample_custom_commands(), *driver.collect_custom()]

            def get_and_reset_backup_command(self) -> bool:
                asked = super().get_and_reset_backup_command()
                return driver.collect("backup_now") or bool(asked)

            def get_and_reset_save_command(self) -> bool:
                asked = super().get_and_reset_save_command()
                return driver.collect("save_now") or bool(asked)

        return Commands()

    def collect(self, kind: str) -> bool:
        """Whether the parent asked for it; who asked is remembered for the answer."""
        taken = self.inbox.take(kind)
        self.asked[kind].extend(taken)
        return bool(taken)

    def collect_custom(self) -> list[Any]:
        """The pictures that the parent asked for, as OneTrainer's objects."""
        samples = []
        for body in merged(self.inbox.take("sample_custom")):
            self.custom[body["id"]] = body
            try:
                samples.append(self.sample_config(body))
            except (AttributeError, KeyError, TypeError, ValueError) as error:  # what values of another shape lead to
                self.answer_custom(body, "refused", f"these are no parameters of a picture: {problem_of(error)}")
        return samples

    def sample_config(self, body: dict[str, Any]) -> Any:
        kind, parameters = self.onetrainer["SampleConfig"], body.get("params", {})
        if not isinstance(parameters, dict):
            raise TypeError(f"{parameters!r:.100} is no object")
        try:
            sample = kind.default_values(self.config.model_type)
        except TypeError:  # older revisions have the same defaults for every model
            sample = kind.default_values()
        sample = sample.from_dict(parameters)
        sample.enabled = True
        setattr(sample, COMMAND_ID, body["id"])
        return sample

    def hold(self) -> None:
        """Waits on the training thread while the run is paused; pictures, backups and models can be asked for meanwhile."""
        for body in self.inbox.take("resume"):
            self.inbox.answer(body, "refused", "the run is not paused")
        pauses = self.inbox.take("pause")
        if not pauses or self.stopping:
            for body in pauses:
                self.inbox.answer(body, "refused", STOPPING)
            return
        self.enter("paused")
        for body in pauses:
            self.inbox.answer(body)
        try:
            while not self.stopping:
                with self.inbox.changed:
                    self.inbox.changed.wait_for(lambda: self.stopping or self.inbox.commands)
                for body in self.inbox.take("pause"):
                    self.inbox.answer(body, "refused", "the run is paused already")
                resumes = self.inbox.take("resume")
                for body in resumes:
                    self.inbox.answer(body)
                if resumes:
                    break
                if not self.stopping:
                    self.serve_paused()
                    self.enter("paused")
        finally:  # an error that gets out of here is told, and OneTrainer goes on training
            self.enter("training")
            self.step_at = time.monotonic()

    def serve_paused(self) -> None:
        """What OneTrainer's loop would do at its next step is done by the same functions of its now."""
        progress = self.trainer.model.train_progress
        device = getattr(self.trainer, "train_device", None) or self.config.train_device
        if self.collect("sample_default"):
            self.do_now("sample_default", partial(self.own("sample_during_training"), progress, device))
        if samples := self.collect_custom():
            self.do_now("", partial(self.own("sample_during_training"), progress, device, samples))
        for name, kind in (("backup", "backup_now"), ("save", "save_now")):
            if self.collect(kind):
                self.do_now(kind, partial(self.write_now, self.own(name), progress))
        self.settle()

    def own(self, name: str) -> Callable[..., Any]:
        """A function of the trainer that it keeps to itself."""
        function: Callable[..., Any] = getattr(self.trainer, f"_{type(self.trainer).__name__}__{name}", not_there)
        return function

    def write_now(self, write: Callable[..., Any], progress: Any) -> None:
        """As OneTrainer's loop does it: the model leaves the graphics memory meanwhile."""
        model = self.trainer.model
        if hasattr(model, "evict"):
            model.evict()
        else:  # the word of older revisions
            model.to(self.trainer.temp_device)
        try:
            write(progress, True)
        finally:
            self.trainer.model_setup.setup_train_device(model, self.config)

    def do_now(self, kind: str, function: Callable[[], Any]) -> None:
        """Carries it out; whoever asked is told why nothing came of it, and the run stays paused."""
        reason = "nothing came of it"
        try:
            function()
        except (AttributeError, TypeError, NotImplementedError):
            traceback.print_exc()
            reason = "this revision of OneTrainer cannot do that while it is paused; resume first"
        except (OSError, RuntimeError) as error:  # the disk's errors, and torch's: its memory, its device
            traceback.print_exc()
            reason = problem_of(error)
        self.settle()
        customs = [one for body in self.custom.values() for one in with_same(body)]
        for body in self.asked.get(kind, []) if kind else customs:
            self.inbox.answer(body, "refused", reason)
        if kind:
            self.asked[kind] = []
        else:
            self.custom.clear()


def merged(commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the commands for a sample; one with the same parameters as an earlier one is kept there, under ``same``."""
    first: dict[str, dict[str, Any]] = {}
    for body in commands:
        params = body.get("params")
        random_seed = not isinstance(params, dict) or params.get("random_seed")
        key = str(body.get("id")) if random_seed else json.dumps(params, sort_keys=True)
        if (earlier := first.setdefault(key, body)) is not body:
            earlier.setdefault("same", []).append(body)
    return list(first.values())


def with_same(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a command and those that it is carried out for, too."""
    return [body, *body.get("same", [])]


def not_there(*_: Any) -> NoReturn:
    """Stands for a function that a revision does not have."""
    raise NotImplementedError


def end_child(child: Any) -> None:
    """Ends a process and collects it."""
    with contextlib.suppress(OSError):  # it has gone meanwhile
        child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the system; it goes with the group
        child.wait(timeout=5.0)


def document_in(line: str) -> Any:
    """The JSON document of a line; None when it is none."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def plain_document(value: Any) -> Any:
    """A configuration as JSON."""
    if isinstance(value, dict):
        return {str(key): plain_document(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_document(item) for item in value]
    return str(value) if isinstance(value, enum.Enum) else value


def delete_backup(folder: str) -> None:
    """Delete a backup of a run; files in it that its list doesn't name were added by others and stay."""
    try:
        with open(os.path.join(folder, "onetrainer_gradio_run.json"), encoding="utf-8") as file:
            made = set(json.load(file)["files"])
    except (OSError, ValueError, KeyError, TypeError):
        shutil.rmtree(folder, ignore_errors=True)
        return
    for here, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = os.path.join(here, name)
            if os.path.relpath(path, folder).replace(os.sep, "/") in made:
                with contextlib.suppress(OSError):
                    os.unlink(path)
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(here)


def problem_of(error: BaseException) -> str:
    """An error in one sentence."""
    text = first_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def storage_error(failure: str, path: str) -> dict[str, Any]:
    """The error of something that was not written."""
    full = failure == NO_SPACE or "No space left" in failure or "[Errno 28]" in failure
    suggestion = "Free some space, keep fewer backups (rolling_backup), or choose another workspace folder."
    return {"type": "DiskFullError" if full else "StorageError", "message": failure, "path": path, "suggestion": suggestion}


def rename_file(path: str) -> str:
    """Give a file another name that is free, and return it; empty if there is none, or only a link."""
    if os.path.islink(path) or not os.path.isfile(path):
        return ""
    stem, suffix = os.path.splitext(path)
    number = 2
    while os.path.lexists(f"{stem}-{number}{suffix}"):
        number += 1
    os.rename(path, f"{stem}-{number}{suffix}")
    return f"{stem}-{number}{suffix}"


def write_errors() -> tuple[type[BaseException], ...]:
    """What writing a model raises."""
    library = sys.modules.get("safetensors")
    kinds = (OSError, RuntimeError, getattr(library, "SafetensorError", OSError))
    return tuple(kind for kind in kinds if isinstance(kind, type))


def is_disk_full(error: BaseException) -> bool:
    """Whether something could not be written because there is no space."""
    numbers = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    return any(word in str(error) for word in FULL_WORDS)


def free_bytes(path: str) -> int:
    """Free bytes on the disk of a file; 0 if that can't be read."""
    try:
        return shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free
    except OSError:
        return 0


def move_linked_aside(path: str) -> dict[str, str]:
    """Rename the files at a path that have another hard link; original path -> new path.

    OneTrainer writes into the file that is there, which would change the bytes under the other name, too: a run's own result.
    """
    files = [path] if os.path.isfile(path) else []
    if not files:
        files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    moved: dict[str, str] = {}
    for file in files:
        if not os.path.islink(file) and os.stat(file).st_nlink > 1:
            folder, name = os.path.split(file)
            moved[file] = os.path.join(folder, f".unfinished-{os.getpid()}-old-{name}")
            os.rename(file, moved[file])
    return moved


def wait_for_unused_second(folder: str) -> None:
    """Wait until no entry of a folder has the name of this second: another run of the workspace may have made one just now."""
    give_up_at = time.monotonic() + 2.0
    while time.monotonic() < give_up_at:
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        if not os.path.isdir(folder) or not any(stamp in name for name in os.listdir(folder)):
            return
        time.sleep(0.02)


def unused(path: str) -> str:
    """Return the path, or one with a number if a file of that name, with any suffix, is there."""
    folder, name = os.path.split(path)
    taken = {os.path.splitext(entry)[0] for entry in os.listdir(folder)} if os.path.isdir(folder) else set()
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return os.path.join(folder, found)


def measured(path: str) -> tuple[int, str]:
    """Bytes of a file, or of all files of a folder, and why they cannot be had."""
    try:
        if not os.path.isdir(path):
            return os.path.getsize(path), ""
        return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names), ""
    except OSError as error:
        return 0, problem_of(error)


def interrupt_main_thread() -> None:
    """Ctrl-C for the thread that trains, out of a blocking call too."""
    thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and thread is not None:
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


# ---------------------------------------------------------------------------------------------------------------- starting


def at_home_in_checkout() -> None:
    """Imports look into the checkout first, and never beside this script."""
    sys.path[0] = os.getcwd()


def clean_output() -> tuple[Wire, Console]:
    """The real standard output for JSON lines alone; everything printed goes to standard error."""
    descriptor = os.dup(1)
    os.dup2(2, 1)
    wire, console = Wire(descriptor), Console(2)
    sys.stdout = sys.stderr = console
    return wire, console


def end_with(parent: int) -> None:
    """Ends this process once its parent is dead, also while an import hangs."""
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY_S)
    leave(5)


def answer_facts(wire: Wire) -> int:
    """Tells what the checkout knows."""
    facts, error = attempt(read_facts)
    if error is not None:
        return import_failed(wire, error)
    methods, error = attempt(read_methods)
    facts["methods"], facts["problem"] = methods or {}, problem_of(error) if error is not None else ""
    wire.send(facts.pop("type"), **facts)
    return 0


def import_failed(wire: Wire, error: BaseException) -> int:
    """Tells why there is nothing to tell; the exit status."""
    traceback.print_exception(error)
    wire.send("import_failed", **cause_of(error))
    return 4


def import_onetrainer() -> dict[str, Any]:
    """The parts of OneTrainer that are called. They must be imported with the checkout as working directory."""
    from modules.trainer import GenericTrainer  # noqa: F401 - so that it is there before the collector is told to spare it
    from modules.util import create
    from modules.util.callbacks.TrainCallbacks import TrainCallbacks
    from modules.util.commands.TrainCommands import TrainCommands
    from modules.util.config.SampleConfig import SampleConfig
    from modules.util.config.TrainConfig import TrainConfig

    return {
        "create_trainer": create.create_trainer,
        "TrainCallbacks": TrainCallbacks,
        "TrainCommands": TrainCommands,
        "SampleConfig": SampleConfig,
        "TrainConfig": TrainConfig,
    }


def serve(wire: Wire, console: Console, place: int | None) -> int:
    """Imports OneTrainer and carries out runs until the parent ends or wants no more."""
    inbox = CommandInbox(wire, place)
    wire.send("hello", protocol=PROTOCOL, pid=os.getpid(), versions=library_versions())
    threading.Thread(target=inbox.listen, name="listen", daemon=True).start()
    began = time.monotonic()
    onetrainer, error = attempt(import_onetrainer)
    if error is not None:
        return import_failed(wire, error)
    # Half a million imported objects live as long as the process, and OneTrainer collects garbage at every turn.
    gc.collect()
    gc.freeze()
    wire.send("imported", seconds=time.monotonic() - began)
    while (driver := inbox.next_run(onetrainer)) is not None:
        console.continue_in(driver.descriptors[0] if driver.descriptors else None)
        console.on_bar, console.raised = driver.on_bar, []
        driver.printed = lambda: console.raised
        driver.execute_run()
        console.settle()
        del driver
        console.on_bar = lambda name, done, total: None
    return 0


def leave(status: int) -> NoReturn:
    """Ends the process and what it left in its group, without waiting for anybody's threads."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    if hasattr(os, "getpgrp") and os.getpgrp() == os.getpid():
        number = signal.SIGTERM
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, signal.SIG_IGN)
        else:  # here no signal can be ignored, so this process goes with its group
            number = signal.SIGKILL
        with contextlib.suppress(OSError):
            os.killpg(os.getpid(), number)
    os._exit(status)


def main(arguments: list[str]) -> int:
    """Does what the mode says; the exit status is 0 when it could."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wire, console = clean_output()
    at_home_in_checkout()
    if arguments[:1] == ["facts"]:
        if len(arguments) > 1 and os.name == "posix":
            threading.Thread(target=end_with, args=(int(arguments[1]),), name="parent", daemon=True).start()
        return answer_facts(wire)
    if arguments[:1] == ["serve"]:
        return serve(wire, console, int(arguments[1]) if len(arguments) > 1 else None)
    return 2


if __name__ == "__main__":
    status = 1
    try:
        status = main(sys.argv[1:])
    finally:  # whatever gets out of there: nothing that was started stays
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        leave(status)

"""Store runs as folders: the record of how a run was started, and access to its data."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import shutil
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

from pydantic import ValidationError

from onetrainer_gradio.commands import Command
from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.engine.staging import tidy_places
from onetrainer_gradio.errors import ConfigError, RunConflictError, RunNotFoundError
from onetrainer_gradio.events import CommandCompleted, PhaseProgress, RunEnded, tag
from onetrainer_gradio.service.host.atomic import open_file, raising_storage_error, read_json, write_json
from onetrainer_gradio.service.host.lock import FolderLock
from onetrainer_gradio.service.runs.artifacts import (
    RESULTS,
    MissingFile,
    RunFile,
    all_files,
    archive_chunks,
    find_file,
    kept_or_original,
    newest_result,
    run_files,
)
from onetrainer_gradio.service.runs.control import CommandFolder, received_event
from onetrainer_gradio.service.runs.ending import finish, recorded_end, saved_last_step
from onetrainer_gradio.service.runs.file_preserver import FilePreserver, freed_bytes, size_on_disk
from onetrainer_gradio.service.runs.file_records import kept_path
from onetrainer_gradio.service.runs.index import RunIndex, RunQuery
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.labels import Labels, read_labels, write_labels
from onetrainer_gradio.service.runs.listing import RunListing
from onetrainer_gradio.service.runs.metrics import LowestLoss, MetricsReader
from onetrainer_gradio.service.runs.view import SPEED_UPDATES, RunView

_LOG = logging.getLogger(__name__)
_RUN_ID = re.compile(r"^\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}-[0-9a-f]{4}\Z")
# A run's folder is made under such a name; what a killed panel left of one is removed at the next start.
_UNFINISHED = re.compile(r"^\.new-\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}-[0-9a-f]{4}\Z")
_LOG_BYTES = 64 << 10
_RECORD_BYTES = 16 << 20
_PAGE = 2000
_SUMMARY_VERSION = 4
DELETED = ".deleted-"
_STAMP = "%Y-%m-%d_%H-%M-%S"
# Unused runs that are kept open: a page of the list and its neighbors.
_HELD_RUNS = 64
RUNS_PER_PAGE = 50
INDEX_FILE = "run_index.sqlite"


def new_run_id(now: float | None = None) -> str:
    """Return an ID that sorts by time: readable to the second, then to 1/65536 of a second."""
    now = time.time() if now is None else now
    return time.strftime(_STAMP, time.localtime(now)) + f"-{int(now % 1 * 0x10000):04x}"


@dataclass(frozen=True)
class RunRecord:
    """How a run was started; ``created_at`` in seconds since the epoch.

    ``checkout`` contains folder, revision and Python of OneTrainer if it trained the run; empty otherwise. ``imported`` contains
    the workspace of a run that OneTrainer made elsewhere and that was added later; empty otherwise.
    """

    id: str
    name: str
    created_at: float
    backend: str
    workspace: str
    options: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, str] = field(default_factory=dict)
    started_by: str = ""
    checkout: dict[str, Any] = field(default_factory=dict)
    imported: dict[str, Any] = field(default_factory=dict)

    @property
    def checkout_title(self) -> str:
        """Return the title of the run's checkout; empty for every other engine."""
        return str(self.checkout.get("title", ""))


def read_record(folder: Path) -> tuple[RunRecord, str]:
    """Return the record of a run and what is damaged about it, as a sentence; "" if nothing is.

    Keys that this version doesn't know are ignored. What can't be read of run.json is filled in from the other files of the run.
    """
    document = read_json(folder / "run.json", _RECORD_BYTES)
    body = document if isinstance(document, dict) else {}
    defaults = {item.name: item.default_factory() if callable(item.default_factory) else "" for item in fields(RunRecord)}
    fitting = {name: value for name, value in body.items() if name in defaults and _FITS[name](value)}
    fitting["options"], unusable = usable_options(fitting.get("options", {}))
    wrong = sorted(({"name", "created_at", "backend", "workspace"} | (body.keys() & defaults.keys())) - fitting.keys() - {"id"})
    damage = ""
    if not body:
        there = os.path.lexists(folder / "run.json")
        damage = "Can't read run.json: it is damaged or empty." if there else "run.json is missing."
    elif wrong or unusable:
        damage = f"run.json is damaged: {', '.join([*wrong, *unusable])}."
    filled = _from_other_files(folder) if damage else {}
    return RunRecord(**(defaults | filled | fitting | {"id": folder.name})), damage


def _from_other_files(folder: Path) -> dict[str, Any]:
    kept = read_json(folder / "summary.json", _RECORD_BYTES)
    summary = kept.get("summary") if isinstance(kept, dict) else None
    known = summary if isinstance(summary, dict) and summary.get("id") == folder.name else {}
    found = {name: known[name] for name in ("name", "created_at", "backend", "started_by", "workspace") if name in known}
    found = {name: value for name, value in found.items() if _FITS[name](value)}
    if "workspace" not in found:
        config = read_json(folder / "config.json")
        workspace = config.get("workspace_dir") if isinstance(config, dict) else None
        found |= {"workspace": workspace} if isinstance(workspace, str) else {}
    return {"created_at": _time_of(folder.name)} | found


def _time_of(run_id: str) -> float:
    """Return when the run of an id was created, by its name."""
    try:
        return time.mktime(time.strptime(run_id.rpartition("-")[0], _STAMP))
    except (ValueError, OverflowError):
        return 0.0


def usable_options(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the options of a record that this version can use, and the names of those that are damaged."""
    known = {name: value for name, value in values.items() if name in RunOptions.model_fields}
    try:
        RunOptions.model_validate(known)
    except ValidationError as error:
        wrong = sorted({str(item["loc"][0]) for item in error.errors()})
        return {name: value for name, value in known.items() if name not in wrong}, [f"options.{name}" for name in wrong]
    return known, []


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


_FITS: dict[str, Callable[[Any], bool]] = {
    "id": _text,
    "name": _text,
    "created_at": _number,
    "backend": _text,
    "workspace": _text,
    "started_by": _text,
    "options": _object,
    "versions": _object,
    "hardware": _object,
    "checkout": _object,
    "imported": _object,
}


def folder_identity(path: Path) -> tuple[int, int] | None:
    """Return the identity of a folder, which distinguishes it from a replacement, or None if there is no folder."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


class Run:
    """One run; reads its folder and caches the result so far. Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self.identity = folder_identity(folder)
        if self.identity is None:
            raise RunNotFoundError(f"The run {folder.name!r} doesn't exist", value=folder.name)
        self.folder = folder
        self.id = folder.name
        self.record, self.damage = read_record(folder)
        self.journal = Journal(folder / "journal.jsonl")
        self.metrics = MetricsReader(folder / "metrics.bin")
        self._lock = threading.Lock()
        self.labels = read_labels(folder)
        self._lowest = LowestLoss(self.metrics)
        self._view = RunView(self.id, self.name, self.record.backend, self.record.checkout_title)
        self._assumed_end: RunEnded | None = None
        self._trained: dict[str, str] | None = None

    @property
    def name(self) -> str:
        """Return the name that someone gave the run afterwards, or else the name that it was started with."""
        return self.record.name if self.labels.name is None else self.labels.name

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the tags of the run: those that someone gave it afterwards, or those that it was started with."""
        return tuple(self.record.options.get("tags", ())) if self.labels.tags is None else self.labels.tags

    def set_labels(self, labels: Labels) -> None:
        """Store other labels.

        :raises StorageError: if they can't be written.
        """
        write_labels(self.folder, labels)
        with self._lock:
            self.labels = labels
            self._view.name = self.name

    def config(self) -> dict[str, Any]:
        """The frozen configuration; empty when it cannot be read."""
        document = read_json(self.folder / "config.json")
        return document if isinstance(document, dict) else {}

    def options(self) -> RunOptions:
        """The options that the run was started with."""
        return RunOptions(**self.record.options)

    def settle(self, **options: Any) -> None:
        """Change options of a run that has not begun.

        :raises OSError: when the record cannot be written.
        """
        changed = self.record.options | options
        if changed != self.record.options:
            self.record = replace(self.record, options=changed)
            write_json(self.folder / "run.json", asdict(self.record))

    def state(self) -> dict[str, Any]:
        """The state object of this run."""
        with self._lock:
            self._catch_up()
            if self._view.ended is None and (end := self._assumed_end or recorded_end(self.folder)):
                self._view.apply(end, self._view.seq)
            self._view.stop_asked = self._view.stop_asked or (self.folder / "stops.jsonl").exists()
            state, saved = self._view.state(), self._view.final_saved
        if saved is not None:
            state["final_model"] = kept_or_original(self.folder, saved.path, saved.at)
        return state

    def has_result(self) -> bool:
        """Return whether the final model of the last step was saved and still exists, also if the run was killed afterwards."""
        if not self.state()["final_model"]:
            return False
        with self._lock:
            return saved_last_step(self._view.planned, self._view.final_saved)

    def replaced(self) -> bool:
        """Return whether the folder is gone, or is another one than when this run had ended.

        Some network drives renumber a folder. A run that hasn't ended, or whose end is in memory only, stays the same object.
        """
        identity = folder_identity(self.folder)
        return identity is None or (identity != self.identity and not self.end_assumed and self.ended())

    @property
    def end_assumed(self) -> bool:
        """Whether the end of the run is in memory only."""
        return self._assumed_end is not None

    def assume_ended(self, end: RunEnded) -> None:
        """Take the run as ended although its journal takes no end: a full disk, or the folder is gone."""
        with self._lock:
            self._assumed_end = end

    def answer(self, command_id: str) -> CommandCompleted | None:
        """The answer to a command, None while there is none."""
        with self._lock:
            self._catch_up()
            return self._view.answers.get(command_id)

    def acknowledge(self, command: Command) -> None:
        """Show a command that was sent as waiting, also while the training process is only starting and reads none."""
        with self._lock:
            self._catch_up()
            self._view.apply(received_event(command), self._view.seq)

    def resumes_run(self) -> str:
        """Return the id of the run that this one resumes; empty when it starts from the beginning, or from a foreign backup."""
        if named := str(self.record.options.get("resumes_run", "") or ""):
            return named
        with self._lock:
            self._catch_up()
            return self._view.resumed_run

    def resumed_step(self) -> int | None:
        """Return the step that the run resumes after; None when it doesn't resume, or hasn't loaded its backup yet."""
        with self._lock:
            self._catch_up()
            return self._view.resumed_step

    def _catch_up(self) -> None:
        length = self.journal.length()
        if length - self._view.seq > _PAGE:
            # far behind: progress within phases that are long over is not worth reading
            for entry in self.journal.since(self._view.seq, length, without=(tag(PhaseProgress),)):
                self._view.apply(entry.event(), entry.seq)
            self._view.seq = max(self._view.seq, length)
        while entries := self.journal.since(self._view.seq, _PAGE):
            for entry in entries:
                self._view.apply(entry.event(), entry.seq)
        count = self.metrics.count()
        if count > self._view.row:
            first = max(self._view.row, count - SPEED_UPDATES - 1)
            self._view.apply_rows(self.metrics.columns(), self.metrics.rows(first, count), first)

    def ended(self) -> bool:
        """Whether the run has its RunEnded, in the journal or in exit.json."""
        return self._assumed_end is not None or self.journal.ended() is not None or recorded_end(self.folder) is not None

    def record_end(self, end: RunEnded) -> None:
        """Record the end of the run; where no file of the run takes it, it is kept in memory."""
        try:
            finish(self.folder, end)
        except OSError:
            self.assume_ended(end)

    def summary(self) -> dict[str, Any]:
        """The run in a line of a list. That of an ended run is kept in a file, so that a long list is quick."""
        path = self.folder / "summary.json"
        kept = read_json(path, _RECORD_BYTES)
        if isinstance(kept, dict) and kept.get("version") == _SUMMARY_VERSION and _is_summary(kept.get("summary"), self.id):
            return {**kept["summary"], **self._labeled()}
        summary = self._summary()
        if not summary["active"]:
            # a full disk or a folder that may only be read: it is worked out again next time
            with contextlib.suppress(OSError):
                write_json(path, {"version": _SUMMARY_VERSION, "summary": summary}, durable=False, make_folder=False)
        return {**summary, **self._labeled()}

    def _labeled(self) -> dict[str, Any]:
        """Return what of a line someone can change, also after the run has ended."""
        given: dict[str, Any] = {} if self.labels.name is None else {"name": self.labels.name}
        given |= {} if self.labels.tags is None else {"tags": list(self.labels.tags)}
        return {
            **given,
            "note": self.labels.note,
            "archived": self.labels.archived,
            "imported": bool(self.record.imported),
            "damaged": self.damage,
        }

    def _summary(self) -> dict[str, Any]:
        state = self.state()
        best_loss, best_step = self._lowest.read()
        return {
            "id": self.id,
            "name": self.record.name,
            "created_at": self.record.created_at,
            "started_by": self.record.started_by,
            "backend": self.record.backend,
            "checkout": self.record.checkout_title,
            "tags": list(self.record.options.get("tags", ())),
            "resumes_run": self.resumes_run(),
            "best_loss": best_loss,
            "best_step": best_step,
            "workspace": self.record.workspace,
            "active": state["is_training"],
            "global_step": state["progress"]["global_step"],
            **{key: state[key] for key in _IN_SUMMARY},
            "final_model": self._kept_model() or state["final_model"],
        }

    def line(self) -> dict[str, Any]:
        """Return the run's line in the list: its summary, what it trained, and how many bytes its folder takes."""
        if self._trained is None:
            document = read_json(self.folder / "config.json", _RECORD_BYTES)
            config = document if isinstance(document, dict) else {}
            self._trained = {name: config[key] for name, key in _FROM_CONFIG.items() if isinstance(config.get(key), str)}
        trained = {**dict.fromkeys(_FROM_CONFIG, ""), **self._trained}
        title = label_of(ModelType, trained["model_type"]) if trained["model_type"] else ""
        return {**trained, "model_title": title, **self.summary(), "size_bytes": size_on_disk(self.folder)}

    def _kept_model(self) -> str:
        """Return where the run keeps its final model: unlike the output file, that is true as long as there is the run."""
        saved = self._view.final_saved
        kept = kept_path(self.folder, saved.path, saved.at) if saved is not None else None
        return str(kept) if kept is not None and kept.exists() else ""

    def complete_files(self, stop: threading.Event) -> None:
        """Keep what the run's own process didn't get to, as after a kill; record it in the background until ``stop`` is set."""
        preserver = FilePreserver(self.folder)
        try:
            preserver.complete(self.journal)
        except OSError as error:
            _LOG.warning("Can't record the files of the run %s: %s", self.id, error)

        def record() -> None:
            while not preserver.settle(0.5) and not stop.is_set():
                continue
            preserver.close()

        if not preserver.settle(0.0):
            threading.Thread(target=record, name=f"files-{self.id}", daemon=True).start()
        if self.state()["end_reason"] != "completed":
            threading.Thread(target=self.remove_unfinished_files, name=f"tidy-{self.id}", daemon=True).start()

    def remove_unfinished_files(self) -> None:
        """Remove what a killed process of this or an earlier run left where the run writes; the names tell whose they are."""
        with contextlib.suppress(ConfigError, OSError):
            config, _ = from_document(self.config())
            tidy_places(config)

    def metrics_series(
        self,
        columns: Sequence[str] | None = None,
        buckets: int = 1000,
        first: int | None = None,
        last: int | None = None,
        digits: int | None = None,
    ) -> dict[str, Any]:
        """Minimum and maximum per bucket of the chosen columns; see ``MetricsReader.series``."""
        return {"run_id": self.id, "all_columns": list(self.metrics.columns())} | self.metrics.series(
            columns, buckets, first, last, digits
        )

    def log(self, offset: int = -1, limit: int = _LOG_BYTES) -> dict[str, Any]:
        """The console log from a byte offset; a negative one counts from the end of the log (-1: its last part)."""
        path = self.folder / "console.log"
        try:
            descriptor = open_file(path)
            if descriptor is None:
                return dict(_NO_LOG)
            with os.fdopen(descriptor, "rb") as file:
                size = os.fstat(descriptor).st_size
                start = max(0, size - limit) if offset < 0 else min(offset, size)
                file.seek(start)
                data = file.read(limit)
        except OSError:
            return dict(_NO_LOG)
        if offset < 0 and start:
            cut = data.find(b"\n") + 1
            start, data = start + cut, data[cut:]
        return {"offset": start, "text": data.decode("utf-8", "replace"), "next": start + len(data), "size": size}

    def files(self) -> list[dict[str, Any]]:
        """Models, backups and samples that the run's own events name."""
        return [file.as_dict() for file in run_files(self.journal)]

    def files_page(self, limit: int | None = None, cursor: str | None = None, kind: str = "") -> dict[str, Any]:
        """Return ``files`` (of one kind), at most ``limit`` of them after the file with the id ``cursor``.

        ``missing`` are all models and saves that were replaced or deleted after the run wrote them, with the reason.
        """
        found = all_files(self.journal)
        files = [file for file in found if isinstance(file, RunFile) and kind in ("", file.kind)]
        after = int(cursor) if cursor is not None and is_whole(cursor) else 0
        rest = [file for file in files if int(file.id) > after]
        shown = rest if limit is None else rest[:limit]
        return {
            "files": [file.as_dict() for file in shown],
            "next_cursor": shown[-1].id if len(shown) < len(rest) else None,
            "total": len(files),
            "missing": [asdict(file) for file in found if isinstance(file, MissingFile) and file.kind in RESULTS],
        }

    def freed_by_delete(self) -> tuple[int, int]:
        """Return how many bytes deleting the run frees, and how many of them are kept files that exist nowhere else."""
        return freed_bytes(self.folder)

    def newest_result(self) -> RunFile | None:
        """Return the final model, or else the newest save; None if there is none."""
        return newest_result(self.journal)

    def open_file(self, file_id: str) -> RunFile:
        """One of ``files``.

        :raises RunNotFoundError: when the run has no such file, or it is gone.
        """
        return find_file(self.journal, file_id)

    def archive(self, *, kind: str = "", ids: Sequence[str] = ()) -> Iterator[bytes]:
        """Return ``files``, those of one kind, or those of some ids, as a zip in pieces.

        :raises RunNotFoundError: when there is none.
        """
        return archive_chunks(self.journal, kind=kind, ids=ids)

    def log_bytes(self) -> tuple[int, Iterator[bytes]]:
        """Return the size of the console log as it is now, and its bytes in pieces."""
        try:
            descriptor = open_file(self.folder / "console.log")
        except OSError:
            descriptor = None
        if descriptor is None:
            return 0, iter(())
        size = os.fstat(descriptor).st_size
        return size, _pieces(os.fdopen(descriptor, "rb"), size)


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes: a log that grows meanwhile is cut there."""
    with file:
        while size > 0 and (data := file.read(min(size, _LOG_BYTES))):
            size -= len(data)
            yield data


# The parts of the configuration in a line of the list.
_FROM_CONFIG = {"model_type": "model_type", "training_method": "training_method", "base_model": "base_model_name"}

_IN_SUMMARY = (
    "status",
    "end_reason",
    "error",
    "phase",
    "total_steps",
    "loss",
    "smooth_loss",
    "samples",
    "last_sample",
    "final_model",
    "final_model_file",
    "final_model_title",
    "started_at",
    "ended_at",
    "elapsed_s",
    "warnings_count",
)

_NO_LOG = {"offset": 0, "text": "", "next": 0, "size": 0}

_SUMMARY_FITS: dict[str, Callable[[Any], bool]] = {
    **{name: _FITS[name] for name in ("id", "name", "created_at", "started_by", "backend", "workspace")},
    "status": _text,
    "end_reason": _text,
    "active": lambda value: value is False,
    "tags": lambda value: isinstance(value, list) and all(map(_text, value)),
    "error": lambda value: value is None or isinstance(value, str),
    **dict.fromkeys(("global_step", "total_steps", "samples", "warnings_count"), _number),
}


def _is_summary(value: Any, run_id: str) -> bool:
    """Return whether this is the line of an ended run, and of this one: a folder that was copied is another run."""
    return (
        isinstance(value, dict)
        and value.get("id") == run_id
        and all(name in value and fits(value[name]) for name, fits in _SUMMARY_FITS.items())
        and value.keys() >= set(_IN_SUMMARY)
    )


class RunStore:
    """All runs of a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._deleting = threading.Lock()  # two deletions would remove each other's leftovers
        self._held: OrderedDict[str, Run] = OrderedDict()
        self._in_use: WeakValueDictionary[str, Run] = WeakValueDictionary()
        self.listing = RunListing(folder, RunIndex(folder.parent / "cache" / INDEX_FILE), self.ids, self.get)

    def new_id(self, now: float | None = None) -> str:
        """A name for a new run, which sorts behind all that are there: also after the clock was set back, as in autumn."""
        made, newest = new_run_id(now), next(iter(self.ids()), "")
        if made > newest:
            return made
        stamp, _, rest = newest.rpartition("-")
        try:
            return f"{datetime.strptime(stamp, _STAMP) + timedelta(seconds=1):{_STAMP}}-{rest}"
        except (ValueError, OverflowError):  # a folder of someone else that only looks like one of ours
            return made

    def create(self, config: TrainConfig, record: RunRecord) -> Run:
        """Make the folder of a new run; the configuration has to be packed, with absolute paths.

        The folder appears whole or not at all.

        :raises StorageError: when it cannot be written.
        """
        folder = self.folder / record.id
        unfinished = self.folder / f".new-{record.id}"
        with raising_storage_error("the run's folder"):
            try:
                unfinished.mkdir(parents=True)
                CommandFolder(unfinished).create()
                with FolderLock(unfinished):  # makes the lock's file while there is room on the disk
                    write_json(unfinished / "config.json", to_document(config, packed=True))
                    write_json(unfinished / "run.json", asdict(record))
                unfinished.rename(folder)
            except OSError:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
        return self.get(record.id)

    def remove_unfinished(self) -> None:
        """Remove what a panel that was killed while it made the folder of a run left of it."""
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if _UNFINISHED.match(path.name) and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)

    def discard(self, run: Run) -> None:
        """Remove the folder of a run whose start failed."""
        run.journal.close()
        self._forget(run.id)
        shutil.rmtree(run.folder, ignore_errors=True)

    def ids(self) -> list[str]:
        """The runs, newest first."""
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries if _RUN_ID.match(entry.name) and entry.is_dir()]
        except OSError:
            return []
        return sorted(names, reverse=True)

    def get(self, run_id: str) -> Run:
        """A run.

        :raises RunNotFoundError: when there is none of that id.
        """
        with self._lock:
            known = self._in_use.get(run_id)
            if known is None or known.replaced():
                self._held.pop(run_id, None)
                self._in_use.pop(run_id, None)
                if not _RUN_ID.match(run_id):
                    raise RunNotFoundError(f"The run {run_id!r} doesn't exist", value=run_id)
                known = self._in_use[run_id] = Run(self.folder / run_id)
            self._held[run_id] = known
            self._held.move_to_end(run_id)
            while len(self._held) > _HELD_RUNS:
                self._held.popitem(last=False)
            return known

    def _forget(self, run_id: str) -> None:
        with self._lock:
            self._held.pop(run_id, None)
            self._in_use.pop(run_id, None)

    def all(self) -> list[Run]:
        """Every readable run, newest first."""
        runs = []
        for run_id in self.ids():
            try:
                runs.append(self.get(run_id))
            except RunNotFoundError:
                continue
        return runs

    def list(self) -> list[dict[str, Any]]:
        """The runs in short, newest first."""
        return [run.summary() for run in self.all()]

    def page(
        self,
        limit: int = RUNS_PER_PAGE,
        cursor: str | None = None,
        query: RunQuery = RunQuery(),
    ) -> dict[str, Any]:
        """Return a page of the runs that a query selects: the first ``limit`` ones, or the next ones after ``cursor``.

        ``matches`` counts all runs of the query and ``total`` all runs. ``unread`` counts those that a search doesn't find yet.
        A run that is created or deleted between two pages moves no other run.

        :raises ConfigValueError: if the cursor belongs to another sort order.
        """
        return self.listing.page(max(1, limit), cursor, query)

    def samples_of_ended(self, run_id: str) -> int | None:
        """Return how many samples an ended run has by its line of the list, or None if it has no such line; cheap."""
        kept = read_json(self.folder / run_id / "summary.json", _RECORD_BYTES)
        summary = kept.get("summary") if isinstance(kept, dict) else None
        count = summary.get("samples") if isinstance(summary, dict) and summary.get("id") == run_id else None
        return count if type(count) is int and count >= 0 else None

    def delete(self, run_id: str) -> int:
        """Delete the folder of an ended run with the files that it keeps, and return how many bytes that frees.

        The files at their original places stay: those in the workspace, and the output file.

        :raises RunNotFoundError: when there is none of that id.
        :raises RunConflictError: when it has not ended.
        """
        run = self.get(run_id)
        if not run.ended():
            raise RunConflictError(f"The run {run_id} is still running", value=run_id, suggestion="Stop it first.")
        run.journal.close()
        self._forget(run_id)
        freed, _ = run.freed_by_delete()
        with self._deleting, raising_storage_error(f"the folder of the run {run_id}"):
            if run.folder.is_symlink():  # its target doesn't belong to the panel
                run.folder.unlink()
                return 0
            # removed from the list immediately, and unreachable for processes that still write by its path
            aside = self.folder / f"{DELETED}{run_id}"
            run.folder.rename(aside)
            for folder in self.folder.glob(f"{DELETED}*"):  # also leftovers of an earlier one
                shutil.rmtree(folder)
        return freed

"""Runs as folders: the record of how a run was started, and everything that can be asked of it afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from onetrainer_gradio.config.documents import to_document
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.config.train import TrainConfig
from onetrainer_gradio.errors import RunConflictError, RunNotFoundError
from onetrainer_gradio.events import CommandAnswered, Progressed, tag
from onetrainer_gradio.service.artifacts import (
    MissingFile,
    RunFile,
    all_files,
    archive_chunks,
    find_file,
    kept_or_original,
    run_files,
)
from onetrainer_gradio.service.atomic import read_json, told_as_storage_error, write_json
from onetrainer_gradio.service.control import CommandFolder
from onetrainer_gradio.service.file_preserver import FilePreserver, freed_bytes
from onetrainer_gradio.service.file_records import kept_path
from onetrainer_gradio.service.journal import Journal
from onetrainer_gradio.service.lock import FolderLock
from onetrainer_gradio.service.metrics import MetricsReader
from onetrainer_gradio.service.view import SPEED_UPDATES, RunView

_RUN_ID = re.compile(r"^\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}-[0-9a-f]{4}$")
_LOG = logging.getLogger(__name__)
_LOG_BYTES = 64 << 10
_PAGE = 2000
_SUMMARY_VERSION = 3
DELETED = ".deleted-"
_STAMP = "%Y-%m-%d_%H-%M-%S"


def new_run_id(now: float | None = None) -> str:
    """A name that sorts by time: to the second for people, and to a 65536th of it after that."""
    now = time.time() if now is None else now
    return time.strftime(_STAMP, time.localtime(now)) + f"-{int(now % 1 * 0x10000):04x}"


@dataclass(frozen=True)
class RunRecord:
    """How a run was started; ``created_at`` in seconds since the epoch.

    ``checkout`` says of a run by OneTrainer which folder, revision and Python carried it out; empty for every other.
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

    @property
    def checkout_title(self) -> str:
        """What to call the checkout that carried it out; empty for every other engine."""
        return str(self.checkout.get("title", ""))

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> RunRecord:
        """The record in a JSON object; keys that this version does not know are passed over.

        :raises TypeError: when the object is no record.
        """
        record = cls(**{name: value for name, value in body.items() if name in cls.__dataclass_fields__})
        if not (
            isinstance(record.created_at, (int, float)) and isinstance(record.options, dict) and isinstance(record.checkout, dict)
        ):
            raise TypeError("no record of a run")
        return record


class Run:
    """One run; reads its folder and keeps what it has folded so far. Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name
        body = read_json(folder / "run.json")
        try:
            self.record = RunRecord.from_dict(body if isinstance(body, dict) else {})
        except TypeError as error:
            raise RunNotFoundError(f"There is no run {folder.name!r}", value=folder.name) from error
        self.journal = Journal(folder / "journal.jsonl")
        self.metrics = MetricsReader(folder / "metrics.bin")
        self._lock = threading.Lock()
        self._view = RunView(self.id, self.record.name, self.record.backend, self.record.checkout_title)

    def config(self) -> dict[str, Any]:
        """The frozen configuration."""
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
            self._view.stop_asked = self._view.stop_asked or (self.folder / "stops.jsonl").exists()
            state, saved = self._view.state(), self._view.final_saved
        if saved is not None:
            state["final_model"] = kept_or_original(self.folder, saved.path, saved.at)
        return state

    def answer(self, command_id: str) -> CommandAnswered | None:
        """The answer to a command, None while there is none."""
        with self._lock:
            self._catch_up()
            return self._view.answers.get(command_id)

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
            for entry in self.journal.since(self._view.seq, length, without=(tag(Progressed),)):
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
        """Whether the run has its RunEnded."""
        return self.journal.ended() is not None

    def summary(self) -> dict[str, Any]:
        """The run in a line of a list. That of an ended run is kept in a file, so that a long list is quick."""
        path = self.folder / "summary.json"
        kept = read_json(path)
        if isinstance(kept, dict) and kept.get("version") == _SUMMARY_VERSION and isinstance(kept.get("summary"), dict):
            return dict(kept["summary"])
        summary = self._summary()
        if not summary["active"]:
            # a full disk or a folder that may only be read: it is worked out again next time
            with contextlib.suppress(OSError):
                write_json(path, {"version": _SUMMARY_VERSION, "summary": summary}, durable=False)
        return summary

    def _summary(self) -> dict[str, Any]:
        state = self.state()
        return {
            "id": self.id,
            "name": self.record.name,
            "created_at": self.record.created_at,
            "started_by": self.record.started_by,
            "backend": self.record.backend,
            "checkout": self.record.checkout_title,
            "tags": list(self.record.options.get("tags", ())),
            "resumes_run": self.resumes_run(),
            "workspace": self.record.workspace,
            "active": state["is_training"],
            "global_step": state["progress"]["global_step"],
            **{key: state[key] for key in _IN_SUMMARY},
            "final_model": self._kept_model() or state["final_model"],
        }

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
            _LOG.warning("The files of the run %s can't be recorded: %s", self.id, error)

        def record() -> None:
            while not preserver.settle(0.5) and not stop.is_set():
                continue
            preserver.close()

        if not preserver.settle(0.0):
            threading.Thread(target=record, name=f"files-{self.id}", daemon=True).start()

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
            size = path.stat().st_size
            start = max(0, size - limit) if offset < 0 else min(offset, size)
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(limit)
        except OSError:
            return {"offset": 0, "text": "", "next": 0, "size": 0}
        if offset < 0 and start:
            cut = data.find(b"\n") + 1
            start, data = start + cut, data[cut:]
        return {"offset": start, "text": data.decode("utf-8", "replace"), "next": start + len(data), "size": size}

    def files(self) -> list[dict[str, Any]]:
        """Models, backups and samples that the run's own events name."""
        return [file.as_dict() for file in run_files(self.journal)]

    def files_and_missing(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return ``files``, and the models and saves that were replaced or deleted after the run wrote them, with the reason."""
        found = all_files(self.journal)
        missing = [asdict(file) for file in found if isinstance(file, MissingFile) and file.kind in ("model", "save")]
        return [file.as_dict() for file in found if isinstance(file, RunFile)], missing

    def freed_by_delete(self) -> tuple[int, int]:
        """Return how many bytes deleting the run frees, and how many of them are kept files that exist nowhere else."""
        return freed_bytes(self.folder)

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
            file = (self.folder / "console.log").open("rb")
        except OSError:
            return 0, iter(())
        size = os.fstat(file.fileno()).st_size
        return size, _pieces(file, size)


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes: a log that grows meanwhile is cut there."""
    with file:
        while size > 0 and (data := file.read(min(size, _LOG_BYTES))):
            size -= len(data)
            yield data


_IN_SUMMARY = (
    "status",
    "end_reason",
    "error",
    "phase",
    "total_steps",
    "loss",
    "smooth_loss",
    "samples",
    "final_model",
    "final_model_file",
    "final_model_title",
    "started_at",
    "ended_at",
    "elapsed_s",
    "warnings_count",
)


class RunStore:
    """All runs of a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Run] = {}

    def new_id(self, now: float | None = None) -> str:
        """A name for a new run, which sorts behind all that are there: also after the clock was set back, as in autumn."""
        made, newest = new_run_id(now), next(iter(self.ids()), "")
        if made > newest:
            return made
        stamp, _, rest = newest.rpartition("-")
        try:
            return f"{datetime.strptime(stamp, _STAMP) + timedelta(seconds=1):{_STAMP}}-{rest}"
        except (ValueError, OverflowError):  # somebody's folder that only looks like one of ours
            return made

    def create(self, config: TrainConfig, record: RunRecord) -> Run:
        """Make the folder of a new run; the configuration has to be packed, with absolute paths.

        :raises StorageError: when it cannot be written.
        """
        folder = self.folder / record.id
        with told_as_storage_error("The folder of the run"):
            folder.mkdir(parents=True)
            CommandFolder(folder).create()
            with FolderLock(folder):  # makes the lock's file while there is room on the disk
                write_json(folder / "config.json", to_document(config, packed=True))
                write_json(folder / "run.json", asdict(record))
        return self.get(record.id)

    def ids(self) -> list[str]:
        """The runs, newest first."""
        try:
            names = [path.name for path in self.folder.iterdir() if _RUN_ID.match(path.name)]
        except OSError:
            return []
        return sorted(names, reverse=True)

    def get(self, run_id: str) -> Run:
        """A run.

        :raises RunNotFoundError: when there is none of that id.
        """
        with self._lock:
            known = self._known.get(run_id)
            if known is None or not known.folder.is_dir():
                self._known.pop(run_id, None)
                if not _RUN_ID.match(run_id):
                    raise RunNotFoundError(f"There is no run {run_id!r}", value=run_id)
                known = self._known[run_id] = Run(self.folder / run_id)
            return known

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

    def delete(self, run_id: str) -> int:
        """Delete the folder of an ended run with the files that it keeps, and return how many bytes that frees.

        The files at their original places stay: those in the workspace, and the output file.

        :raises RunNotFoundError: when there is none of that id.
        :raises RunConflictError: when it has not ended.
        """
        run = self.get(run_id)
        if not run.ended():
            raise RunConflictError(f"The run {run_id} is going on", value=run_id, change="stop it first")
        run.journal.close()
        with self._lock:
            self._known.pop(run_id, None)
        freed, _ = run.freed_by_delete()
        with told_as_storage_error(f"The folder of the run {run_id}"):
            # out of the list at once, and out of reach of whoever still writes records by its path
            aside = self.folder / f"{DELETED}{run_id}"
            run.folder.rename(aside)
            for folder in self.folder.glob(f"{DELETED}*"):  # also what a kill left of an earlier one
                shutil.rmtree(folder)
        return freed

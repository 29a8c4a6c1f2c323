"""Make a save or backup of an ended run its result: the file at the output path. The earlier one is kept next to it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.enums import ModelFormat, TrainingMethod
from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.engine.staging import staged, unused
from onetrainer_gradio.errors import ConfigValueError, OutputExistsError, RunConflictError, RunNotFoundError, UnsupportedError
from onetrainer_gradio.service.engines.conversion import LoraConverter
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.runs.artifacts import RunFile
from onetrainer_gradio.service.runs.file_records import (
    FileFacts,
    FileRecord,
    files_below,
    holds,
    plausible,
    read_records,
    sha256_of,
)
from onetrainer_gradio.service.runs.record import Run, RunStore

RESULT_FILE = "result.json"
_CHOICES = ("save", "backup")
_EMBEDDINGS = "_embeddings"


@dataclass(frozen=True)
class ChosenResult:
    """A save or backup that became the result. ``earlier`` is where the earlier result is, empty if there was none.

    ``pending`` is True while the files are being exchanged: after a kill, the files decide whether that happened.
    """

    file: str
    kind: str
    name: str
    global_step: int
    record: FileRecord
    earlier: str
    warning: str = ""
    pending: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**self.__dict__, "record": self.record.as_dict()}

    @classmethod
    def from_dict(cls, body: Any) -> ChosenResult | None:
        """Return what a JSON object describes, or None if it describes none."""
        record = FileRecord.from_dict(body.get("record")) if isinstance(body, dict) else None
        try:
            return cls(**{**body, "record": record}) if record is not None else None
        except TypeError:
            return None


class Results:
    """The results of runs. Safe from any thread."""

    def __init__(self, runs: RunStore, converter: LoraConverter) -> None:
        self._runs, self._converter = runs, converter
        self._lock = threading.Lock()

    def get(self, run_id: str) -> dict[str, Any]:
        """Return the output ``path`` of a run, the ID of the ``file`` that is there, and the ``changes``, oldest first.

        ``file`` is empty if the file at the path isn't one of the run, or there is none.

        :raises RunNotFoundError: if there is no such run.
        """
        run = self._runs.get(run_id)
        models = _models(run)
        if self._lock.acquire(blocking=False):  # else the files are being exchanged
            try:
                _restore_earlier(run)
            finally:
                self._lock.release()
        changes, path = _changes(run, models), _output(run, models)
        chosen = changes[-1].file if changes else str(models[-1]["seq"]) if models else ""
        return {
            "path": str(path),
            "file": chosen if _is_ours(run, models, path, changes) else "",
            "changes": [
                {
                    "file": each.file,
                    "kind": each.kind,
                    "name": each.name,
                    "global_step": each.global_step,
                    "at": each.record.at,
                    "earlier": each.earlier,
                    "warning": each.warning,
                }
                for each in changes
            ],
        }

    def choose(self, run_id: str, file_id: str) -> dict[str, Any]:
        """Put a save or backup at the output path, in the format and data type of the run.

        :raises RunNotFoundError: if the run, or its file, doesn't exist.
        :raises ConfigValueError: if the file is no save or backup.
        :raises RunConflictError: if the run hasn't ended, or was added from elsewhere.
        :raises UnsupportedError: if a backup of the method contains no result.
        :raises OutputExistsError: if the file at the output path isn't the run's.
        :raises ModelFormatError, BusyError: if the backup can't be converted, or not now.
        :raises StorageError: if it can't be written.
        """
        run = self._runs.get(run_id)
        if not run.ended():
            raise RunConflictError(f"The run {run_id} hasn't ended", value=run_id, suggestion="Stop it first.")
        if run.record.imported:
            raise RunConflictError("The panel changes nothing in the workspace of an added run", value=run_id)
        file, config = run.open_file(file_id), run.config()
        if file.kind not in _CHOICES:
            raise ConfigValueError(f"{file.name} isn't a save or backup", path="file", value=file_id, suggestion="Choose a save.")
        with self._lock, raising_storage_error("the result"):
            models = _models(run)
            _restore_earlier(run)
            changes, path = _changes(run, models), _output(run, models)
            if os.path.lexists(path) and not _is_ours(run, models, path, changes):
                raise OutputExistsError(
                    f"“{path}” isn't the result of this run anymore, so it isn't replaced.",
                    path="output_model_destination",
                    value=str(path),
                    suggestion="Move it away, or download the save instead.",
                )
            with staged(path) as new:
                warning = self._write(file, config, new)
                made = ChosenResult(
                    file.id, file.kind, file.name, file.global_step, _record_of(new, path), "", warning, pending=True
                )
                if os.path.lexists(path):
                    made = replace(made, earlier=str(unused(path.with_name(f"{path.stem}-earlier{path.suffix}"))))
                _store(run, [*changes, made])
                _exchange(new, path, made.earlier)
            _store(run, [*changes, replace(made, record=_record_of(path, path, made.record), pending=False)])
        return self.get(run_id)

    def undo(self, run_id: str) -> dict[str, Any]:
        """Put the earlier result back. What was put at the output path is deleted; the save or backup that it is from stays.

        :raises RunNotFoundError: if the run doesn't exist.
        :raises RunConflictError: if nothing was changed, or the earlier result is gone.
        :raises OutputExistsError: if the file at the output path isn't what was put there.
        """
        run = self._runs.get(run_id)
        with self._lock, raising_storage_error("the result"):
            models = _models(run)
            _restore_earlier(run)
            changes, path = _changes(run, models), _output(run, models)
            if not changes:
                raise RunConflictError("The result of this run was not changed", value=run_id)
            last = changes[-1]
            if last.earlier and not os.path.lexists(last.earlier):
                raise RunConflictError(f"The earlier result “{last.earlier}” doesn't exist anymore", value=run_id)
            if os.path.lexists(path) and not holds(path, last.record):
                raise OutputExistsError(
                    f"“{path}” was changed after it became the result, so it isn't replaced.",
                    value=str(path),
                    suggestion="Move it away first.",
                )
            with staged(path) as aside:
                if path.is_dir():
                    path.rename(aside)
                if last.earlier:
                    os.replace(last.earlier, path)
                else:
                    path.unlink(missing_ok=True)
            _store(run, changes[:-1])
        return self.get(run_id)

    def _write(self, file: RunFile, config: Mapping[str, Any], new: Path) -> str:
        """Write the result to ``new``. Return what is missing in it, as a sentence."""
        if file.kind == "save":
            if file.folder:
                shutil.copytree(file.path, new)
            else:
                shutil.copy2(file.path, new)
            embeddings = file.written_to.with_name(file.written_to.stem + _EMBEDDINGS)
            return f"The additional embeddings of this save stay in “{embeddings}”." if embeddings.is_dir() else ""
        if config.get("training_method") != TrainingMethod.LORA:
            raise UnsupportedError(
                "Only backups of LoRA runs can become the result.",
                path="file",
                value=file.id,
                suggestion="Choose a save, or resume from the backup.",
            )
        wanted = ModelFormat(str(config.get("output_model_format")))
        done = self._converter.convert(file.path, new.name, wanted, str(config.get("output_dtype", "")))
        shutil.copy2(done.path, new)
        averaged = config.get("ema", "OFF") != "OFF"
        return done.warning or ("The weights of a backup aren't averaged by EMA, unlike those of a save." if averaged else "")


def _exchange(new: Path, path: Path, earlier: str) -> None:
    """Move the current result to ``earlier``, and the new one to ``path``."""
    if earlier and path.is_dir():
        path.rename(earlier)
    elif earlier:
        try:
            os.link(path, earlier)  # so that there is a result at each moment
        except OSError:
            path.rename(earlier)
    os.replace(new, path)


def _record_of(file: Path, path: Path, known: FileRecord | None = None) -> FileRecord:
    """Return the record of what is at ``file`` and belongs at ``path``; hashes are taken from ``known``."""
    hashes = {name: facts.sha256 for name, facts in known.files.items()} if known else {}
    files = {
        name: replace(FileFacts.of(each.stat()), sha256=hashes.get(name) or sha256_of(each)) for name, each in files_below(file)
    }
    return FileRecord(str(path), known.at if known else time.time(), "model", final=True, folder=file.is_dir(), files=files)


def _output(run: Run, models: list[dict[str, Any]]) -> Path:
    """Return where the run wrote its result, or would have. ``models`` are the final models that it saved."""
    if models:
        return Path(models[-1]["path"])
    path = Path(str(run.config().get("output_model_destination", "")))
    if path.is_dir() and marker.read(path) is None:
        return unused(path / f"{run.id}.safetensors")
    return path


def _models(run: Run) -> list[dict[str, Any]]:
    """Return the events of the final models that a run saved, oldest first."""
    entries = run.journal.since(0, run.journal.length(), only=("model_saved",))
    return [{**entry.body, "seq": entry.seq} for entry in entries if entry.body.get("final")]


def _is_ours(run: Run, models: list[dict[str, Any]], path: Path, changes: list[ChosenResult]) -> bool:
    """Return whether the file at the output path is the run's result, or what was chosen as such."""
    if changes:
        return holds(path, changes[-1].record)
    if not models:
        return False
    record = read_records(run.folder).get((models[-1]["path"], float(models[-1]["at"])))
    return plausible(path, models[-1]) if record is None else holds(path, record)


def _listed(run: Run) -> list[ChosenResult]:
    document = read_json(run.folder / RESULT_FILE)
    listed = document.get("changes") if isinstance(document, dict) else None
    return [each for each in map(ChosenResult.from_dict, listed if isinstance(listed, list) else ()) if each is not None]


def _changes(run: Run, models: list[dict[str, Any]]) -> list[ChosenResult]:
    """Return the changes of the result.

    The files decide whether one counts that a kill interrupted, or whose undo it interrupted.
    """
    found = _listed(run)
    if not found:
        return found
    *before, last = found
    path = Path(last.record.path)
    if last.pending:
        return [*before, replace(last, pending=False)] if holds(path, last.record, moved=True) else before
    undone = last.earlier and not os.path.lexists(last.earlier) and not holds(path, last.record)
    return before if undone and _is_ours(run, models, path, before) else found


def _restore_earlier(run: Run) -> None:
    """Move the earlier result back if a kill came between it and the new one. Requires the lock."""
    last = next(reversed(_listed(run)), None)
    if last is None or not last.pending or not last.earlier:
        return
    path = Path(last.record.path)
    if os.path.lexists(last.earlier) and not os.path.lexists(path):
        os.replace(last.earlier, path)


def _store(run: Run, changes: list[ChosenResult]) -> None:
    if not run.folder.is_dir():
        raise RunNotFoundError(f"The run {run.id!r} doesn't exist", value=run.id)
    write_json(run.folder / RESULT_FILE, {"changes": [each.as_dict() for each in changes]}, make_folder=False)

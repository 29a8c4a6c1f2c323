"""Add runs that OneTrainer made elsewhere: each start in a workspace becomes a run folder that refers to the files there."""

from __future__ import annotations

import hashlib
import math
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.errors import ConfigError, PathNotFoundError
from onetrainer_gradio.events import (
    Event,
    ModelSaved,
    Resumed,
    RunEnded,
    RunPlanned,
    RunStarted,
    StepDone,
    ValidationCompleted,
    WarningIssued,
)
from onetrainer_gradio.service.host.atomic import raising_storage_error, write_json
from onetrainer_gradio.service.runs.event_files import Scalars, read_scalars
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.labels import LABELS
from onetrainer_gradio.service.runs.metrics import MetricsWriter
from onetrainer_gradio.service.runs.record import DELETED, RunRecord, RunStore, new_run_id
from onetrainer_gradio.service.runs.workspace import Start, files_of, starts_in

LOSS, SMOOTH_LOSS, RATE, VALIDATION = "loss/train_step", "smooth_loss/train_step", "lr/", "loss/validation_step/"
_TOTAL = "total_average"
_ROWS_AT_ONCE = 4096
# The groups of parameters are those that appear in this many steps.
_LOOKED_AT = 50
_CLOCK_S = 5.0


class WorkspaceImport:
    """Add the runs of OneTrainer workspaces to a store. ``notify`` reports added runs."""

    def __init__(self, runs: RunStore, notify: Callable[[Sequence[str]], None]) -> None:
        self._runs = runs
        self._notify = notify
        self._lock = threading.Lock()  # two imports of one workspace would write the same folders

    def preview(self, workspace: Path) -> list[dict[str, Any]]:
        """Return the starts in a workspace and whether each was added already.

        :raises PathNotFoundError: if OneTrainer wrote nothing there.
        """
        return [
            {
                "id": run_id,
                "name": start.name,
                "at": start.at,
                "chart_bytes": start.chart_bytes(),
                "samples": len(start.samples),
                "backups": len(start.backups),
                "saves": len(start.saves),
                "added": known,
                "own": own,
            }
            for start, run_id, known, own in self._starts(workspace)
        ]

    def add(self, workspace: Path, names: Sequence[str] = ()) -> dict[str, Any]:
        """Add the starts of a workspace (all, or those with some names), or read them again if they were added before.

        Runs of this panel in the same workspace are skipped.

        :raises PathNotFoundError: if OneTrainer wrote nothing there.
        :raises StorageError: if a run's folder can't be written.
        """
        added: list[str] = []
        updated: list[str] = []
        skipped: list[str] = []
        with self._lock:
            found = list(self._starts(workspace))
            earlier: list[tuple[str, Start, int]] = []
            for (start, run_id, known, own), following in zip(
                found, [*(each[0].at for each in found[1:]), math.inf], strict=True
            ):
                if own:
                    skipped.append(start.name)
                    continue
                if names and start.name not in names:
                    continue
                last = self._write(workspace, start, run_id, earlier, following)
                earlier.append((run_id, start, last))
                (updated if known else added).append(run_id)
        self._runs.listing.read([*added, *updated])
        self._notify([*added, *updated])
        return {"added": added, "updated": updated, "skipped": skipped}

    def _starts(self, workspace: Path) -> Iterator[tuple[Start, str, bool, bool]]:
        """Yield each start with its run ID, whether it was added already, and whether a run of this panel made it."""
        starts = starts_in(workspace)
        if not starts:
            raise PathNotFoundError(
                f"The folder {workspace} contains no runs of OneTrainer.",
                path="workspace",
                value=str(workspace),
                suggestion="Choose a workspace folder, which contains the folder tensorboard or config.",
            )
        mine = [
            (line["created_at"] - _CLOCK_S, (line.get("ended_at") or math.inf) + _CLOCK_S)
            for line in self._runs.listing.in_workspace(str(workspace))
            if not line.get("imported")
        ]
        for start in starts:
            run_id, known = self._id_of(workspace, start)
            yield start, run_id, known, any(first <= start.at <= last for first, last in mine)

    def _id_of(self, workspace: Path, start: Start) -> tuple[str, bool]:
        """Return the ID of a start: the same one each time, and none that another run has."""
        source = f"{workspace}\n{start.name}"
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        stamp = new_run_id(start.at).rpartition("-")[0]
        for at in range(0, len(digest) - 4, 4):
            run_id = f"{stamp}-{digest[at : at + 4]}"
            if not (self._runs.folder / run_id).exists():
                return run_id, False
            if self._runs.get(run_id).record.imported.get("source") == source:
                return run_id, True
        raise PathNotFoundError(f"No ID is free for {start.name}.", value=start.name)

    def _write(self, workspace: Path, start: Start, run_id: str, earlier: Sequence[tuple[str, Start, int]], until: float) -> int:
        """Write the folder of a run, replace the one of an earlier import, and return the run's last step."""
        config, warning = _settings(start, workspace)
        unfinished = self._runs.folder / f".new-{run_id}"
        folder = self._runs.folder / run_id
        with raising_storage_error("the run's folder"):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            write_json(unfinished / "config.json", config)
            record = RunRecord(
                id=run_id,
                name=start.name,
                created_at=start.at,
                backend="onetrainer",
                workspace=str(workspace),
                imported={"source": f"{workspace}\n{start.name}", "workspace": str(workspace)},
            )
            write_json(unfinished / "run.json", asdict(record))
            charts = _Charts(unfinished, config, start)
            charts.read()
            journal = Journal(unfinished / "journal.jsonl")
            for event in _events(start, config, charts, earlier, warning, until):
                journal.append(event)
            journal.close()
            if folder.exists():
                if (folder / LABELS).exists():
                    shutil.copy2(folder / LABELS, unfinished / LABELS)
                aside = self._runs.folder / f"{DELETED}{run_id}"
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
                unfinished.rename(folder)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                unfinished.rename(folder)
        return charts.last_step


class _Charts:
    """Convert the event files of a start to the metrics of a run, and collect its validations."""

    def __init__(self, folder: Path, config: Mapping[str, Any], start: Start) -> None:
        self._writer = MetricsWriter(folder / "metrics.bin")
        self._start = start
        self._epoch_steps = start.epoch_steps()
        batch, accumulated = (config.get(name) for name in ("batch_size", "gradient_accumulation_steps"))
        self.accumulated = max(1, accumulated if isinstance(accumulated, int) else 1)
        self._images = (batch if isinstance(batch, int) else 1) * self.accumulated
        self.groups: tuple[str, ...] = ()
        self.validations: list[ValidationCompleted] = []
        self.first_step = self.last_step = 0
        self.last_at = start.at

    def read(self) -> None:
        """Read the event files.

        :raises OSError: if the metrics can't be written.
        """
        if self._start.charts is None:
            return
        looked_at: list[Scalars] | None = []
        before: Scalars | None = None
        for scalars in read_scalars(self._start.charts):
            if looked_at is not None:
                looked_at.append(scalars)
                if len(looked_at) < _LOOKED_AT:
                    continue
            for each in looked_at if looked_at is not None else (scalars,):
                if looked_at is not None and not self.groups:
                    self._plan(looked_at)
                before = self._take(each, before)
            looked_at = None
        for each in looked_at or ():
            if not self.groups:
                self._plan(looked_at or [])
            before = self._take(each, before)
        self._writer.flush()
        self._writer.close()

    def _plan(self, steps: Sequence[Scalars]) -> None:
        names = dict.fromkeys(tag for step in steps for tag in step.values if tag.startswith(RATE))
        self.groups = tuple(name.removeprefix(RATE) for name in names)
        self._writer.plan(self.groups)

    def _take(self, scalars: Scalars, before: Scalars | None) -> Scalars | None:
        """Add the row of a step, and return it as the one before the next."""
        self.last_at = max(self.last_at, scalars.at)
        losses = {tag.removeprefix(VALIDATION): value for tag, value in scalars.values.items() if tag.startswith(VALIDATION)}
        if losses:
            total = losses.pop(_TOTAL, None)
            mean = sum(losses.values()) / len(losses) if losses else math.nan
            self.validations.append(
                ValidationCompleted(
                    at=scalars.at, global_step=scalars.step, losses=losses, total=mean if total is None else total
                )
            )
        loss = scalars.values.get(LOSS)
        if loss is None:
            return before
        step = scalars.step + 1  # OneTrainer counts the steps of its charts from 0
        if step <= self.last_step:
            return before
        self.first_step, self.last_step = self.first_step or step, step
        # a rate in the charts is that of the next step
        rates = before.values if before else {}
        length = self._epoch_steps
        self._writer.add(
            StepDone(
                at=scalars.at,
                update_step=step // self.accumulated,
                global_step=step,
                epoch=step // length if length else 0,
                epoch_step=step % length if length else step,
                epoch_sample=0,
                loss=loss,
                smooth_loss=scalars.values.get(SMOOTH_LOSS, loss),
                grad_norm=None,
                learning_rates=tuple(rates.get(RATE + group, math.nan) for group in self.groups),
                seconds=max(0.0, scalars.at - before.at) if before else math.nan,
                images=self._images,
            )
        )
        if self._writer.waiting() >= _ROWS_AT_ONCE:
            self._writer.flush()
        return scalars


def _settings(start: Start, workspace: Path) -> tuple[dict[str, Any], str]:
    """Return the settings of a start in this version, and a warning if they can't be read."""
    document = {name: value for name, value in start.config().items() if name != "secrets"}
    if not document:
        return {"workspace_dir": str(workspace)}, "The settings of this run were not found in its workspace."
    try:
        config, _ = from_document(document)
    except ConfigError as error:
        return {"workspace_dir": str(workspace)}, f"The settings of this run can't be read: {error}"
    return {**to_document(config, packed=True), "workspace_dir": str(workspace)}, ""


def _events(
    start: Start, config: dict[str, Any], charts: _Charts, earlier: Sequence[tuple[str, Start, int]], warning: str, until: float
) -> list[Event]:
    files = list(files_of(start, config))
    epochs = config.get("epochs")
    length = start.epoch_steps()
    planned = length * epochs if length and isinstance(epochs, int) else charts.last_step
    begun: list[Event] = [RunStarted(at=start.at, backend="onetrainer", pid=0)]
    if charts.first_step > charts.accumulated:
        begun.append(_resumed(start, charts, earlier))
    if warning:
        begun.append(WarningIssued(at=start.at, code="import", message=warning))
    begun.append(
        RunPlanned(
            at=start.at,
            total_steps=max(planned, charts.last_step),
            steps_per_epoch=length,
            total_updates=max(planned, charts.last_step) // charts.accumulated,
            epochs=epochs if isinstance(epochs, int) else 0,
            first_step=max(0, charts.first_step - charts.accumulated) if charts.first_step else 0,
            images=0,
            trainable_parameters=0,
            learning_rates=charts.groups,
        )
    )
    final = _final_model(config, charts, until)
    during = sorted([*files, *charts.validations, *final], key=lambda event: event.at)
    last = max([charts.last_at, *(event.at for event in during)])
    return [*begun, *during, RunEnded(at=last, reason="completed" if final else "stopped")]


def _resumed(start: Start, charts: _Charts, earlier: Sequence[tuple[str, Start, int]]) -> Resumed:
    """Return from which backup, and of which earlier start, a start continued: the newest one that came that far."""
    step = charts.first_step - charts.accumulated
    run_id = next((run_id for run_id, _, last in reversed(earlier) if last >= step), "")
    folders = [path for _, each, _ in earlier for path, found in each.backups if int(found["step"]) == step]
    return Resumed(at=start.at, path=str(folders[-1]) if folders else "", global_step=step, run=run_id)


def _final_model(config: Mapping[str, Any], charts: _Charts, until: float) -> list[ModelSaved]:
    """Return the event of the output file, if it was written at the end of this start."""
    destination = config.get("output_model_destination")
    path = Path(destination) if isinstance(destination, str) and destination else None
    if path is None or not path.is_absolute() or path.is_symlink() or not path.is_file():
        return []
    status = path.stat()
    if not charts.last_at - _CLOCK_S <= status.st_mtime <= until:
        return []
    return [ModelSaved(at=status.st_mtime, path=str(path), final=True, global_step=charts.last_step, bytes=status.st_size)]

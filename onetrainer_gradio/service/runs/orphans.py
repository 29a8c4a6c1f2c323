"""Find files that a training process wrote after its listeners had died, and record them afterwards.

A child process whose worker died finishes its step, backs up and saves. Without this module, its run would have no backup to
resume from, although one exists.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from onetrainer_gradio.events import BackupCreated, Event, ModelSaved
from onetrainer_gradio.service.host.atomic import read_json
from onetrainer_gradio.service.runs.journal import Journal

BACKUP_FOLDER = "backup"


def find_unreported_outputs(run_folder: Path, journal: Journal) -> list[Event]:
    """Return the newest backup and the final model of a run that its journal doesn't contain."""
    record = read_json(run_folder / "run.json")
    created_at = record.get("created_at") if isinstance(record, dict) else None
    since = float(created_at) if isinstance(created_at, int | float) else 0.0
    reported = {entry.body["path"] for entry in journal.since(0, journal.length(), only=("backup_created", "model_saved"))}
    return [event for event in written_since(run_folder, since) if event.path not in reported]


def written_since(run_folder: Path, since: float) -> Iterator[BackupCreated | ModelSaved]:
    """Return the newest backup and the final model of a run that were written at or after ``since`` (seconds since 1970)."""
    config = read_json(run_folder / "config.json")
    if not isinstance(config, dict):
        return
    backup = newest_backup(Path(str(config.get("workspace_dir", ""))) / BACKUP_FOLDER, since)
    if backup is None:
        return
    yield backup
    model = Path(str(config.get("output_model_destination", "")))
    if model.name and model.exists() and model.stat().st_mtime >= since and not _half_written(model):
        yield ModelSaved(path=str(model), final=True, global_step=backup.global_step, bytes=_size(model))


def _half_written(model: Path) -> bool:
    """Return whether a save was killed: the file that it replaces is still aside (``move_linked_aside`` of the bridge)."""
    return any(model.parent.glob(f".unfinished-*-old-{glob.escape(model.name)}"))


def newest_backup(folder: Path, since: float) -> BackupCreated | None:
    """Return the last backup of a folder (by name, as OneTrainer orders them); its ``meta.json`` is written after its weights."""
    try:
        names = sorted(path for path in folder.iterdir() if (path / "meta.json").is_file())
    except OSError:
        return None
    if not names or (names[-1] / "meta.json").stat().st_mtime < since:
        return None
    meta = read_json(names[-1] / "meta.json")
    progress = meta.get("train_progress") if isinstance(meta, dict) else None
    if not isinstance(progress, dict):
        return None
    counted = (progress.get(name) for name in ("global_step", "epoch", "epoch_step"))
    step, epoch, epoch_step = (value if isinstance(value, int) else 0 for value in counted)
    return BackupCreated(path=str(names[-1]), global_step=step, epoch=epoch, epoch_step=epoch_step, bytes=_size(names[-1]))


def _size(path: Path) -> int:
    return sum(item.stat().st_size for item in (path.rglob("*") if path.is_dir() else (path,)) if item.is_file())

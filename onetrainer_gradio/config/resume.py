"""Determine what is left to train after a backup, from its meta.json, for the pre-flight check, the engines and the plan."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.final_model import final_model_exists
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import Finding
from onetrainer_gradio.events import WarningIssued

META = "meta.json"
NOTHING_LEFT = "nothing-left-to-train"
ONLY_SAVES = "only-saves-result"


@dataclass(frozen=True)
class Progress:
    """The progress of a run; all but ``epoch_length`` (0 if unknown) are in OneTrainer's backups and count micro-batches."""

    epoch: int = 0
    epoch_step: int = 0
    epoch_sample: int = 0
    global_step: int = 0
    epoch_length: int = 0
    """Steps per epoch when the backup was made."""

    def steps_per_epoch(self) -> float:
        """Return how many steps an epoch had when the backup was made, or 0 if that isn't known."""
        if self.epoch_length:
            return self.epoch_length
        return max(0, self.global_step - self.epoch_step) / self.epoch if self.epoch > 0 else 0


def read_progress(backup: Path) -> Progress | None:
    """Return the progress that a backup records, or None if its meta.json can't be read."""
    try:
        meta = json.loads((backup / META).read_text(encoding="utf-8"))
        progress = meta["train_progress"]
        own = meta.get("onetrainer_gradio") or {}
        rest = {name: int(progress.get(name, 0)) for name in ("epoch_step", "epoch_sample", "global_step")}
        return Progress(int(progress["epoch"]), **rest, epoch_length=int(own.get("epoch_length", 0)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def backups_in(workspace: Path, *, whole: bool) -> list[Path]:
    """Return the backups of a workspace in OneTrainer's order, which is by name; ``whole`` ones have a meta.json."""
    try:
        found = sorted(Path(entry.path) for entry in os.scandir(workspace / "backup") if entry.is_dir())
    except (OSError, ValueError):
        return []
    return [backup for backup in found if (backup / META).is_file()] if whole else found


def backup_to_resume(config: TrainConfig, options: RunOptions, backend: str) -> Path | None:
    """Return the backup that a run resumes from, or None if it starts from the beginning."""
    if options.resume_from:
        return Path(options.resume_from)
    # OneTrainer uses the last folder, regardless of its content
    whole = backend != "onetrainer"
    found = backups_in(Path(config.workspace_dir), whole=whole) if config.continue_last_backup else []
    return found[-1] if found else None


def total_steps(at: Progress, steps_per_epoch: int, config: TrainConfig, max_steps: int | None) -> int:
    """Return the last global step of a run that continues at ``at`` with epochs of ``steps_per_epoch``."""
    total = at.global_step
    if at.epoch < config.epochs:
        # the data loader skips what the interrupted epoch has seen, in images
        skipped = at.epoch_sample // max(1, config.batch_size)
        total += max(0, steps_per_epoch - skipped) + steps_per_epoch * (config.epochs - at.epoch - 1)
    return min(total, max_steps) if max_steps else total


def steps_changed(at: Progress, steps_per_epoch: int, backup: Path) -> WarningIssued | None:
    """Return the warning that an epoch no longer has as many steps as when the backup was made, if so."""
    before = at.steps_per_epoch()
    if not before or before == steps_per_epoch:
        return None
    text = (
        f"The images changed since the backup {backup.name} was made. An epoch had {before:g} steps and now has "
        f"{steps_per_epoch}. Images were added or removed, or the batch size is different. The run trains the remaining epochs "
        "with the images that there are now."
    )
    return WarningIssued(code="images_changed", message=text, path=str(backup))


def result_missing(config: TrainConfig, backup: Path, base_folder: Path = Path()) -> bool:
    """Return whether the final model that belongs to a backup wasn't saved: the run was killed, or the disk was full.

    A run that resumes from the backup with no step left then saves it. ``base_folder`` contains a relative destination.
    """
    if config.only_cache:
        return False
    try:
        made_ns = (backup / META).stat().st_mtime_ns
    except (OSError, ValueError):  # a ValueError for characters that no path can contain
        return False
    return not final_model_exists(config, base_folder, made_ns)


def saves_result(config: TrainConfig, options: RunOptions, backup: Path, base_folder: Path = Path()) -> bool:
    """Return whether a run that resumes from a backup with no step left saves the final model.

    It does if the final model is missing, or if the run that it resumes didn't finish: one that was killed after the save leaves
    a whole file, and nothing records that it is the result.
    """
    return not config.only_cache and (options.unfinished or result_missing(config, backup, base_folder))


def nothing_left(
    config: TrainConfig, backup: Path, max_steps: int | None = None, base_folder: Path = Path(), *, missing: bool | None = None
) -> Finding | None:
    """Return the finding that a run from this backup would end without training, if it would.

    It is an error, or a warning if the final model is ``missing`` (None: see ``result_missing``): then the run loads the model
    from the backup and saves it.
    """
    at = read_progress(backup)
    if at is None:
        return None
    if missing is None:
        missing = result_missing(config, backup, base_folder)
    if at.epoch >= config.epochs:
        return _finding(
            config,
            "epochs",
            config.epochs,
            f"The backup {backup.name} is already at epoch {at.epoch} of {config.epochs}",
            f"Raise Epochs above {at.epoch}.",
            missing=missing,
        )
    if max_steps and at.global_step >= max_steps:
        return _finding(
            config,
            "max_steps",
            max_steps,
            f"The backup {backup.name} is already at step {at.global_step} of {max_steps}, the step limit",
            f"Raise the step limit (max_steps) above {at.global_step}, or remove it.",
            missing=missing,
        )
    return None


def no_step_left(config: TrainConfig, backup: Path, *, missing: bool) -> Finding:
    """Return the finding that the remaining epochs contain no optimizer step, which depends on the images.

    It is an error, or a warning if the final model was ``missing`` (``saves_result``), as that of ``nothing_left``.
    """
    message = f"The images left after the backup {backup.name} don't fill a training step"
    return _finding(config, "epochs", config.epochs, message, "Raise Epochs, or add images.", missing=missing)


def _finding(config: TrainConfig, path: str, value: int, message: str, suggestion: str, *, missing: bool) -> Finding:
    if not missing:
        text = f"{message}, so there is nothing left to train."
        return Finding("error", path, text, value, suggestion=suggestion, code=NOTHING_LEFT)
    text = (
        f"{message}, and {config.output_model_destination} is missing, incomplete, older than the backup, or from a run that "
        "didn't finish. The run saves the final model from the backup, without further training."
    )
    return Finding("warning", path, text, value, suggestion=suggestion, code=ONLY_SAVES)


def nothing_left_of(config: TrainConfig, options: RunOptions, backend: str, base_folder: Path = Path()) -> Finding | None:
    """Return the finding that a run would resume from a backup after which nothing is left to train, if it would."""
    if (backup := backup_to_resume(config, options, backend)) is None:
        return None
    missing = saves_result(config, options, backup, base_folder)
    return nothing_left(config, backup, options.max_steps, base_folder, missing=missing)

"""Checks of what the run writes (output file, backups, saves) and of the backup it resumes from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.check.backups import backups, last_backup, setting_of
from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import label_of, name_of
from onetrainer_gradio.config.enums import DataType, EMAMode, TimeUnit, TrainingMethod
from onetrainer_gradio.config.families.models import FOLDER_FORMATS
from onetrainer_gradio.config.families.weight_sizes import BYTES_PER_WEIGHT
from onetrainer_gradio.config.machine import GIGABYTE, existing_ancestor
from onetrainer_gradio.config.paths.backup_chain import belongs, read_chain
from onetrainer_gradio.config.paths.destinations import DESTINATION
from onetrainer_gradio.config.resume import nothing_left
from onetrainer_gradio.errors import Finding

_SUFFIX = ".safetensors"
_OTHER_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".gguf", ".safetensor", ".onnx")
# With less free space than this, the next file can't be written.
_NEXT_TO_NOTHING = 0.2 * GIGABYTE
# Bytes of optimizer state per weight: two moments in 32 bits, unless the name of the optimizer shows less.
_STATE_BYTES = 8
_SMALL_STATES = {"8BIT": 2, "ADAFACTOR": 0.1, "CAME": 4, "SGD": 4, "LION": 4}
# The rest of a whole model (text encoders, VAE), as a share of its denoiser.
_OTHER_PARTS = 0.5


def destination(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for the name or extension of the output file, or if it already exists."""
    config, name = plan.config, "output_model_destination"
    value = config.output_model_destination
    if not value:
        yield found(
            "output-name",
            name,
            f"{title_of(name)} isn't set",
            value=value,
            expected="a file name",
            suggestion=f"Set {title_of(name)} to a file name.",
        )
        return
    target = plan.path(value)
    single = config.output_model_format not in FOLDER_FORMATS
    into_folder = single and os.path.isdir(target)
    if single and not into_folder and target.suffix != _SUFFIX:
        name_part = value.rstrip("/\\")
        wrong = next((ending for ending in _OTHER_SUFFIXES if name_part.endswith(ending)), "")
        better = name_part.removesuffix(wrong) + _SUFFIX
        message = f"{title_of(name)} {value} doesn't end in {_SUFFIX}"
        expected = f"a {_SUFFIX} file, or an existing folder"
        yield found(
            "output-name", name, message, value=value, expected=expected, suggestion=f"Set it to {better}.", fix={name: better}
        )
    if not single and target.suffix == _SUFFIX:
        better = value.removesuffix(_SUFFIX)
        yield found(
            "output-name",
            name,
            f"The format {name_of(config.output_model_format)} is a folder, but {value} is the name of a file",
            value=value,
            expected="the name of a folder",
            suggestion=f"Set {title_of(name)} to {better}.",
            fix={name: better},
            severity="error" if os.path.isfile(target) else "warning",
        )
    elif (single and os.path.isfile(target)) or (not single and _has_files(target)):
        better = _free_name(plan, value)
        yield found(
            "output-exists",
            name,
            f"{value} already exists and would be overwritten",
            value=value,
            expected="a new name",
            suggestion=f"Set {title_of(name)} to {better}." if better else f"Choose another name for {title_of(name)}.",
            fix={name: better} if better else None,
            severity="error" if config.prevent_overwrites else "",
        )


def protected(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the output file would replace something that no run wrote."""
    name = DESTINATION
    value = plan.config.output_model_destination
    if not value:
        return
    objection = plan.destinations.objection()
    if objection is not None:
        yield found(
            objection.code,
            name,
            objection.message,
            value=value,
            expected=objection.expected,
            suggestion=objection.suggestion,
            fix={name: objection.free} if objection.free else None,
            severity="error",
        )
        return
    target = plan.path(value)
    if not plan.destinations.is_folder and os.path.islink(target) and not os.path.isdir(target):
        pointed = os.readlink(target)
        message = f"{value} is a link to {pointed}. The run replaces the link and keeps {pointed}"
        yield found(
            "output-link",
            name,
            message,
            value=value,
            expected="a file",
            suggestion=f"Set {title_of(name)} to {pointed} to replace that file.",
        )


def _has_files(folder: Path) -> bool:
    try:
        return os.path.isdir(folder) and any(folder.iterdir())
    except OSError:
        return True


def _free_name(plan: Plan, value: str) -> str:
    stem, suffix = (value.removesuffix(_SUFFIX), _SUFFIX) if value.endswith(_SUFFIX) else (value.rstrip("/\\"), "")
    names = (f"{stem}-{number}{suffix}" for number in range(2, 100))
    return next((name for name in names if not os.path.exists(plan.path(name))), "")


def resume(plan: Plan) -> Iterator[Finding]:
    """Yield an error if there is no backup to continue from, or it was created with other settings."""
    config = plan.config
    if not config.continue_last_backup:
        return
    backup = last_backup(plan)
    if backup is None:
        yield found(
            "no-backup-to-continue",
            "continue_last_backup",
            f"The workspace {config.workspace_dir} contains no backup to continue from",
            value=True,
            expected="a workspace with a backup",
            suggestion=f"Turn off {title_of('continue_last_backup')}, or set {title_of('workspace_dir')} to one with a backup.",
            fix={"continue_last_backup": False},
        )
        return
    if (over := nothing_left(config, backup, base_folder=plan.base_folder)) is not None:
        yield over
    adapter = config.training_method is TrainingMethod.LORA
    names = ("model_type", "training_method", *(("peft_type", "lora_rank") if adapter else ()))
    for name in names:
        before, now = setting_of(backup, name), getattr(config, name)
        if before is not None and before != now:
            yield found(
                "resume-other-run",
                name,
                f"The backup {backup.name} was created with {title_of(name)} {_shown(now, before)}, not {_shown(now, now)}",
                value=now,
                expected=str(before),
                suggestion=f"Set {title_of(name)} to {_shown(now, before)}, or turn off {title_of('continue_last_backup')}.",
                fix={name: before},
            )
            return


def _shown(now: Any, value: Any) -> str:
    """Return a value as the form shows it; ``now`` is the current value of the same setting."""
    return label_of(type(now), str(value)) if isinstance(now, Enum) else str(value)


def disk(plan: Plan) -> Iterator[Finding]:
    """Yield a finding if the disk space is too small for what the run writes, as a generous estimate."""
    config = plan.config
    backup, save = _backup_bytes(plan), _model_bytes(plan)
    kept = min(config.rolling_backup_count, 10) + 1 if config.rolling_backup else 2
    writes_backups = config.backup_before_save or config.backup_after_unit is not TimeUnit.NEVER
    workspace = plan.path(config.workspace_dir)
    target = plan.path(config.output_model_destination or ".")
    needs: dict[str, tuple[Path, float, str]] = {
        "workspace_dir": (workspace, backup * kept if writes_backups else 0, f"{kept} backups"),
        "output_model_destination": (target, save, "the final model"),
    }
    if _same_disk(workspace, target):
        first, second = needs.pop("workspace_dir"), needs.pop("output_model_destination")
        needs["workspace_dir"] = (workspace, first[1] + second[1], f"{first[2]} and {second[2]}")
    for name, (place, needed, what) in needs.items():
        free = plan.machine.free(place)
        if free is None:
            continue
        value = plan.at(name)
        expected = f"about {needed / GIGABYTE:.1f} GB for {what}"
        suggestion = "Free up space, keep fewer backups, or choose a folder on another disk."
        if free < _NEXT_TO_NOTHING:
            message = f"No space left on the disk of {value} ({free / GIGABYTE:.2f} GB free)"
            yield found("disk-full", name, message, value=value, expected=expected, suggestion=suggestion)
        elif free < needed:
            message = (
                f"The disk of {value} has {free / GIGABYTE:.1f} GB free, but the run may need about {needed / GIGABYTE:.1f} GB"
            )
            yield found("disk-space", name, message, value=value, expected=expected, suggestion=suggestion)


def _same_disk(first: Path, second: Path) -> bool:
    try:
        return existing_ancestor(first).stat().st_dev == existing_ancestor(second).stat().st_dev
    except OSError:
        return False


def _weights(plan: Plan) -> float:
    """Return roughly how many weights are trained."""
    base = plan.facts.base
    if plan.config.training_method is TrainingMethod.LORA:
        return base.adapter * 1e6 * plan.config.lora_rank
    return 1e6 if plan.config.training_method is TrainingMethod.EMBEDDING else base.billions * 1e9


def _backup_bytes(plan: Plan) -> float:
    config = plan.config
    chosen = config.optimizer.optimizer.value
    state = next((size for name, size in _SMALL_STATES.items() if name in chosen), _STATE_BYTES)
    average = 4 if config.ema is not EMAMode.OFF else 0
    whole = config.training_method is TrainingMethod.FINE_TUNE
    dtype = plan.at(f"{plan.denoiser}.weight_dtype") if whole else DataType.FLOAT_32
    weight = BYTES_PER_WEIGHT.get(dtype, 4)
    return _weights(plan) * (weight * (1 + _OTHER_PARTS * whole) + state + average)


def _model_bytes(plan: Plan) -> float:
    whole = plan.config.training_method is TrainingMethod.FINE_TUNE
    return _weights(plan) * BYTES_PER_WEIGHT.get(plan.config.output_dtype, 4) * (1 + _OTHER_PARTS * whole)


def shared_backups(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for backups of other runs in a workspace in which OneTrainer deletes old backups."""
    config = plan.config
    if plan.backend == "builtin" or not config.rolling_backup:
        return  # the built-in engine deletes only backups of the run and of the runs that it was resumed from
    there, kept = backups(plan), config.rolling_backup_count
    chain = read_chain(there[-1]) if there and config.continue_last_backup else ()
    others = [backup for backup in there if not belongs(backup, chain)]
    if not others or (config.continue_last_backup and not chain):  # OneTrainer's backups don't name their run
        return
    value = config.workspace_dir
    better = _free_folder(plan, value)
    yield found(
        "backups-deleted",
        "rolling_backup_count",
        f"The workspace has {len(others)} backup{'s' * (len(others) > 1)} of other runs. OneTrainer may "
        f"delete them, because it keeps only the latest {kept} of all runs",
        value=kept,
        expected="a separate workspace for this run",
        suggestion=f"Set {title_of('workspace_dir')} to {better}."
        if better
        else f"Choose another {title_of('workspace_dir').lower()}.",
        fix={"workspace_dir": better} if better else None,
    )


def _free_folder(plan: Plan, value: str) -> str:
    stem = value.rstrip("/\\") or value
    names = (f"{stem}-{number}" for number in range(2, 1000))
    return next((name for name in names if not os.path.lexists(plan.path(name))), "")

"""From what OneTrainer raises to an error that says the cause in one sentence, and what to change."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.check.resolution import resolutions_too_small
from onetrainer_gradio.config.model_files import BASE, EMBEDDING, LORA, Unfit, unfit
from onetrainer_gradio.errors import (
    DatasetError,
    DiskFullError,
    ModelNotFoundError,
    NonFiniteLossError,
    OutOfMemoryError,
    StorageError,
    TrainerError,
    TrainingError,
    WorkerDiedError,
)

_LOOK = "look at the end of the console log"
_MEMORY_CHANGE = (
    "lower the batch size or the resolution, turn gradient checkpointing on, train fewer parts, "
    "or use a smaller precision for the parts that are not trained"
)
_DISK_CHANGE = "free some space, keep fewer backups (rolling_backup), or choose another workspace folder"
_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})

# pattern in kind and message -> error class, its sentence, the setting, what to change
_KNOWN: tuple[tuple[str, type[TrainerError], str, str, str], ...] = (
    (
        r"became NaN|loss.*\bnan\b",
        NonFiniteLossError,
        "The loss is no number any more ({message})",
        "learning_rate",
        "lower the learning rate, or train with bfloat16 or float32 instead of float16",
    ),
    (
        r"OutOfMemoryError|CUDA out of memory|(CUDA|HIP) error: out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"
        r"|MPS backend out of memory",
        OutOfMemoryError,
        "The graphics memory is used up: {message}",
        "batch_size",
        _MEMORY_CHANGE,
    ),
    (
        r"^MemoryError|DefaultCPUAllocator|not enough memory|can't allocate memory",
        OutOfMemoryError,
        "The main memory is used up: {message}",
        "batch_size",
        _MEMORY_CHANGE,
    ),
    (
        r"could not load model",
        ModelNotFoundError,
        "OneTrainer {message}{printed}",
        "base_model_name",
        "the base model: a folder, a file or a hub name that is right and fits the model type",
    ),
    (
        r"could not load LoRA",
        ModelNotFoundError,
        "OneTrainer {message}{printed}",
        "lora_model_name",
        "the adapter to go on from: a file or backup that is there and fits the model type, or nothing to begin anew",
    ),
    (
        r"could not load embedding",
        ModelNotFoundError,
        "OneTrainer {message}{printed}",
        "embedding.model_name",
        "the embedding to go on from: a file that is there and fits the model type, or nothing to begin anew",
    ),
    (
        r"RepositoryNotFound|GatedRepo|LocalEntryNotFound|HFValidationError|is not a local folder",
        ModelNotFoundError,
        "The base model cannot be had from the hub: {message}",
        "base_model_name",
        "the name of the base model, or give a hub token",
    ),
    (
        r"No space left|Disk quota exceeded|PytorchStreamWriter failed",
        DiskFullError,
        "There is no space left on the disk: {message}",
        "workspace_dir",
        _DISK_CHANGE,
    ),
    (
        r"approximate_length|num_samples=0|no (images|pictures|samples)",
        DatasetError,
        "OneTrainer found no pictures to train with ({message})",
        "concepts",
        "the folders of the concepts; a batch needs at least as many pictures as its size",
    ),
)


def error_of(cause: Mapping[str, Any], phase: str = "", config: TrainConfig | None = None) -> TrainerError:
    """The error of a run that OneTrainer could not run; ``cause`` is what the bridge reported of the exception.

    ``config`` is what the run was started with: some exceptions name no cause, and the settings do.
    """
    kind, message = str(cause.get("kind", "")), str(cause.get("message", ""))
    root_kind, root = str(cause.get("root_kind", kind)), str(cause.get("root_message", message))
    if cause.get("errno") in _FULL:
        what = f" for {cause['filename']}" if cause.get("filename") else ""
        return DiskFullError(f"There is no space left on the disk{what}.", path="workspace_dir", suggestion=_DISK_CHANGE)
    if "ZeroDivisionError" in (kind, root_kind) and config is not None and (small := _too_small(config)) is not None:
        return small
    for text_kind, text in ((kind, message), (root_kind, root)):
        for pattern, error, sentence, path, suggestion in _KNOWN:
            if re.search(pattern, f"{text_kind}: {text}", re.IGNORECASE):
                named = _setting(config, path) if config is not None else ""
                if (problem := _unfit(path, named)) is not None:
                    return error(
                        f"OneTrainer could not load '{named}': it {problem.what}.", path=path, suggestion=problem.suggestion
                    )
                said = sentence.format(message=text or text_kind, printed=_printed(cause, named))
                return error(said, path=path, suggestion=suggestion)
    said = f"{kind}: {message}" if message else kind
    if (root_kind, root) != (kind, message):
        said += f", because of {root_kind}: {root}" if root else f", because of {root_kind}"
    during = f" while {phase.replace('_', ' ')}" if phase and phase not in ("queued", "stopping") else ""
    where = f" (in {cause['where']})" if cause.get("where") else ""
    if isinstance(cause.get("errno"), int):
        return StorageError(
            f"OneTrainer could not go on{during}: {said}{where}", suggestion="Check the path and its permissions."
        )
    return TrainingError(f"OneTrainer could not go on{during}: {said}{where}", suggestion=_LOOK)


def _too_small(config: TrainConfig) -> DatasetError | None:
    """The error of a resolution with which an aspect ratio bucket has a side of 0 pixels; None when every side has some."""
    finding = next((item for item in resolutions_too_small(config) if item.severity == "error"), None)
    if finding is None:
        return None
    return DatasetError(
        f"{finding.message}.", path=finding.path, value=finding.value, expected=finding.expected, suggestion=finding.suggestion
    )


# OneTrainer tries every way to load a model in turn and prints why each failed: as a backup of its own, as a folder in
# diffusers layout or a hub name, as a single file. Only the way that fits what is at the path says anything about it.
_AS_A_BACKUP = re.compile(r"meta\.json|internal", re.IGNORECASE)
_AS_A_FOLDER = re.compile(
    r"repo id must|repo_id|HFValidationError|not a local folder|not a valid model identifier|not a directory"
    r"|model_index\.json|does not appear to have a file named|Cannot load model .* locally",
    re.IGNORECASE,
)


# what the settings of files that OneTrainer loads use them for
_ROLES = {"base_model_name": BASE, "lora_model_name": LORA, "embedding.model_name": EMBEDDING}


def _unfit(path: str, named: str) -> Unfit | None:
    """What is wrong with the file or folder that a setting names, where the error is about that setting."""
    return unfit(Path(named), _ROLES[path], whole=False) if named and path in _ROLES else None


def _setting(config: TrainConfig, path: str) -> str:
    """The text at a dotted path of the settings; empty for anything else."""
    value: Any = config
    for name in path.split(".") if path else ():
        value = getattr(value, name, None)
    return value if isinstance(value, str) else ""


def _printed(cause: Mapping[str, Any], path: str = "") -> str:
    """The first reason that OneTrainer printed and that fits what is at the path: a folder, a single file or a hub name."""
    message = str(cause.get("message", ""))
    lines = [line for line in map(str, cause.get("printed") or ()) if line and line not in message]
    other_ways = [_AS_A_BACKUP, _AS_A_FOLDER] if path and os.path.isfile(path) else [_AS_A_BACKUP]
    telling = [line for line in lines if not any(way.search(line) for way in other_ways)]
    reason = next(iter(telling or lines), "")
    return f" ({reason})" if reason else ""


def death(status: int | None, phase: str = "", *, out_of_memory: bool = False) -> TrainingError:
    """OneTrainer's process ended without a word; ``status`` as subprocess gives it.

    ``out_of_memory`` says that the kernel ended something for want of memory meanwhile.
    """
    during = f" while {phase.replace('_', ' ')}" if phase and phase not in ("queued", "stopping") else ""
    if status is None or status >= 0:
        code = "" if status is None else f" with exit code {status}"
        return WorkerDiedError(f"OneTrainer's process ended{code}{during} without saying why.", suggestion=_LOOK)
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name == "SIGKILL" and out_of_memory:
        return OutOfMemoryError(
            f"The operating system killed OneTrainer's process{during} because the main memory was used up (SIGKILL).",
            suggestion="Lower the batch size or the resolution, close other programs, or give the machine more memory.",
        )
    why = {
        "SIGKILL": "it was killed from outside",
        "SIGSEGV": "it crashed in native code",
        "SIGABRT": "a library aborted it",
        "SIGTERM": "it was ended from outside",
    }.get(name, "it was ended by a signal")
    return WorkerDiedError(f"OneTrainer's process ended by {name}{during}: {why}.", suggestion=_LOOK)

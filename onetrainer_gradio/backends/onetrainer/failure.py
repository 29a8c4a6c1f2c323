"""From what OneTrainer raises to an error that says the cause in one sentence, and what to change."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Mapping
from typing import Any

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
        r"OutOfMemoryError|CUDA out of memory|MPS backend out of memory",
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
        r"approximate_length|num_samples=0|no (images|pictures|samples)|division by zero",
        DatasetError,
        "OneTrainer found no pictures to train with ({message})",
        "concepts",
        "the folders of the concepts; a batch needs at least as many pictures as its size",
    ),
)


def error_of(cause: Mapping[str, Any], phase: str = "") -> TrainerError:
    """The error of a run that OneTrainer could not carry out; ``cause`` is what the bridge told of the exception."""
    kind, message = str(cause.get("kind", "")), str(cause.get("message", ""))
    root_kind, root = str(cause.get("root_kind", kind)), str(cause.get("root_message", message))
    if cause.get("errno") in _FULL:
        what = f" for {cause['filename']}" if cause.get("filename") else ""
        return DiskFullError(f"There is no space left on the disk{what}.", path="workspace_dir", change=_DISK_CHANGE)
    for text_kind, text in ((kind, message), (root_kind, root)):
        for pattern, error, sentence, path, change in _KNOWN:
            if re.search(pattern, f"{text_kind}: {text}", re.IGNORECASE):
                said = sentence.format(message=text or text_kind, printed=_printed(cause))
                return error(said, path=path, change=change)
    said = f"{kind}: {message}" if message else kind
    if (root_kind, root) != (kind, message):
        said += f", because of {root_kind}: {root}" if root else f", because of {root_kind}"
    during = f" while {phase.replace('_', ' ')}" if phase and phase not in ("queued", "stopping") else ""
    where = f" (in {cause['where']})" if cause.get("where") else ""
    if isinstance(cause.get("errno"), int):
        return StorageError(f"OneTrainer could not go on{during}: {said}{where}", change="check the path and its permissions")
    return TrainingError(f"OneTrainer could not go on{during}: {said}{where}", change=_LOOK)


def _printed(cause: Mapping[str, Any]) -> str:
    """What OneTrainer had printed of the errors that it tried to go on from."""
    message = str(cause.get("message", ""))
    lines = [line for line in map(str, cause.get("printed") or ()) if line not in message]
    return f" ({'; '.join(lines)})" if lines else ""


def death(status: int | None, phase: str = "", *, out_of_memory: bool = False) -> TrainingError:
    """OneTrainer's process ended without a word; ``status`` as subprocess gives it.

    ``out_of_memory`` says that the kernel ended something for want of memory meanwhile.
    """
    during = f" while {phase.replace('_', ' ')}" if phase and phase not in ("queued", "stopping") else ""
    if status is None or status >= 0:
        code = "" if status is None else f" with exit code {status}"
        return WorkerDiedError(f"OneTrainer's process ended{code}{during} without saying why.", change=_LOOK)
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name == "SIGKILL" and out_of_memory:
        return OutOfMemoryError(
            f"The operating system killed OneTrainer's process{during} because the main memory was used up (SIGKILL).",
            change="lower the batch size or the resolution, close other programs, or give the machine more memory",
        )
    why = {
        "SIGKILL": "it was killed from outside",
        "SIGSEGV": "it crashed in native code",
        "SIGABRT": "a library aborted it",
        "SIGTERM": "it was ended from outside",
    }.get(name, "it was ended by a signal")
    return WorkerDiedError(f"OneTrainer's process ended by {name}{during}: {why}.", change=_LOOK)

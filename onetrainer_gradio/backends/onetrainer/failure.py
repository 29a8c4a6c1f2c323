"""Translate OneTrainer's exceptions into errors with the cause and what to do."""

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

_LOOK = "Check the end of the console log."
_LESS_MEMORY = (
    "Lower the batch size or the resolution, turn on gradient checkpointing, train fewer components, "
    "or choose a smaller weight data type for the components that are not trained."
)
_LESS_DISK = "Free up space, lower Rolling backup count, or choose another workspace folder."
_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})

# pattern in kind and message -> error class, its sentence, the setting, what to change
_KNOWN: tuple[tuple[str, type[TrainerError], str, str, str], ...] = (
    (
        r"became NaN|loss.*\bnan\b",
        NonFiniteLossError,
        "The loss is NaN or infinite ({message})",
        "learning_rate",
        "Lower the learning rate, or set Train data type to bfloat16 or float32.",
    ),
    (
        r"OutOfMemoryError|CUDA out of memory|(CUDA|HIP) error: out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"
        r"|MPS backend out of memory",
        OutOfMemoryError,
        "Out of GPU memory: {message}",
        "batch_size",
        _LESS_MEMORY,
    ),
    (
        r"^MemoryError|DefaultCPUAllocator|not enough memory|can't allocate memory",
        OutOfMemoryError,
        "Out of memory (RAM): {message}",
        "batch_size",
        _LESS_MEMORY,
    ),
    (
        r"could not load model",
        ModelNotFoundError,
        "OneTrainer {message}{printed}",
        "base_model_name",
        "Set Base model to a folder, a file or a Hugging Face model that exists and fits the model type.",
    ),
    (
        r"could not load LoRA",
        ModelNotFoundError,
        "OneTrainer {message}{printed}",
        "lora_model_name",
        "Set LoRA base model to a file or backup that exists and fits the model type, or clear it to start from scratch.",
    ),
    (
        r"could not load embedding",
        ModelNotFoundError,
        "OneTrainer {message}{printed}",
        "embedding.model_name",
        "Set Base embedding to a file that exists and fits the model type, or clear it to start from scratch.",
    ),
    (
        r"RepositoryNotFound|GatedRepo|LocalEntryNotFound|HFValidationError|is not a local folder",
        ModelNotFoundError,
        "The base model can't be downloaded from the Hugging Face Hub: {message}",
        "base_model_name",
        "Correct the name of the base model, or enter a Hugging Face token on the System tab.",
    ),
    (
        r"No space left|Disk quota exceeded|PytorchStreamWriter failed",
        DiskFullError,
        "No space left on disk: {message}",
        "workspace_dir",
        _LESS_DISK,
    ),
    (
        r"approximate_length|num_samples=0|no (images|pict\w+|samples)",
        DatasetError,
        "OneTrainer found no images to train on ({message})",
        "concepts",
        "Check the folders of the concepts. They must contain at least as many images as one batch.",
    ),
)


def error_of(cause: Mapping[str, Any], phase: str = "", config: TrainConfig | None = None) -> TrainerError:
    """Return the error of a run that failed in OneTrainer; ``cause`` is what the bridge reported about the exception.

    ``config`` are the settings of the run, which show the cause of some exceptions that don't name it.
    """
    kind, message = str(cause.get("kind", "")), str(cause.get("message", ""))
    root_kind, root = str(cause.get("root_kind", kind)), str(cause.get("root_message", message))
    if cause.get("errno") in _FULL:
        what = f" for {cause['filename']}" if cause.get("filename") else ""
        return DiskFullError(f"No space left on disk{what}.", path="workspace_dir", suggestion=_LESS_DISK)
    if "ZeroDivisionError" in (kind, root_kind) and config is not None and (small := _too_small(config)) is not None:
        return small
    for text_kind, text in ((kind, message), (root_kind, root)):
        for pattern, error, sentence, path, suggestion in _KNOWN:
            if re.search(pattern, f"{text_kind}: {text}", re.IGNORECASE):
                named = _setting(config, path) if config is not None else ""
                if (problem := _unfit(path, named)) is not None:
                    return error(f"OneTrainer can't load “{named}”: it {problem.what}.", path=path, suggestion=problem.suggestion)
                explanation = sentence.format(message=text or text_kind, printed=_printed(cause, named))
                return error(explanation, path=path, suggestion=suggestion)
    explanation = f"{kind}: {message}" if message else kind
    if (root_kind, root) != (kind, message):
        explanation += f", because of {root_kind}: {root}" if root else f", because of {root_kind}"
    during = f" while {phase.replace('_', ' ')}" if phase and phase not in ("queued", "stopping") else ""
    where = f" (in {cause['where']})" if cause.get("where") else ""
    if isinstance(cause.get("errno"), int):
        return StorageError(f"OneTrainer failed{during}: {explanation}{where}", suggestion="Check the path and its permissions.")
    return TrainingError(f"OneTrainer failed{during}: {explanation}{where}", suggestion=_LOOK)


def _too_small(config: TrainConfig) -> DatasetError | None:
    """Return an error if an aspect ratio bucket has a side of 0 pixels, or None."""
    finding = next((item for item in resolutions_too_small(config) if item.severity == "error"), None)
    if finding is None:
        return None
    return DatasetError(
        f"{finding.message}.", path=finding.path, value=finding.value, expected=finding.expected, suggestion=finding.suggestion
    )


# OneTrainer tries every way to load a model in turn and prints why each failed: as its own backup, as a folder in
# diffusers layout or a name on the Hub, and as a single file. Only the way that suits the path explains the failure.
_AS_A_BACKUP = re.compile(r"meta\.json|internal", re.IGNORECASE)
_AS_A_FOLDER = re.compile(
    r"repo id must|repo_id|HFValidationError|not a local folder|not a valid model identifier|not a directory"
    r"|model_index\.json|does not appear to have a file named|Cannot load model .* locally",
    re.IGNORECASE,
)


# what the settings of files that OneTrainer loads use them for
_ROLES = {"base_model_name": BASE, "lora_model_name": LORA, "embedding.model_name": EMBEDDING}


def _unfit(path: str, named: str) -> Unfit | None:
    """Return what is wrong with the file or folder of a setting, if the error is about that setting."""
    return unfit(Path(named), _ROLES[path], whole=False) if named and path in _ROLES else None


def _setting(config: TrainConfig, path: str) -> str:
    """Return the text at a dotted path of the settings; empty for anything else."""
    value: Any = config
    for name in path.split(".") if path else ():
        value = getattr(value, name, None)
    return value if isinstance(value, str) else ""


def _printed(cause: Mapping[str, Any], path: str = "") -> str:
    """Return the first printed reason that suits the path: a folder, a single file or a name on the Hub."""
    message = str(cause.get("message", ""))
    lines = [line for line in map(str, cause.get("printed") or ()) if line and line not in message]
    other_ways = [_AS_A_BACKUP, _AS_A_FOLDER] if path and os.path.isfile(path) else [_AS_A_BACKUP]
    specific = [line for line in lines if not any(way.search(line) for way in other_ways)]
    reason = next(iter(specific or lines), "")
    return f" ({reason})" if reason else ""


def death(status: int | None, phase: str = "", *, out_of_memory: bool = False) -> TrainingError:
    """Return the error of a OneTrainer process that ended without a message; ``status`` is subprocess's return code.

    With ``out_of_memory``, the kernel killed something because memory ran out.
    """
    during = f" while {phase.replace('_', ' ')}" if phase and phase not in ("queued", "stopping") else ""
    if status is None or status >= 0:
        code = "" if status is None else f" with exit code {status}"
        return WorkerDiedError(f"OneTrainer's process exited{code}{during} without an error message.", suggestion=_LOOK)
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name == "SIGKILL" and out_of_memory:
        return OutOfMemoryError(
            f"The operating system killed OneTrainer's process{during} because the machine ran out of memory (SIGKILL).",
            suggestion="Lower the batch size or the resolution, close other programs, or add memory.",
        )
    why = {
        "SIGKILL": "it was killed from outside",
        "SIGSEGV": "it crashed in native code",
        "SIGABRT": "a library aborted it",
        "SIGTERM": "it was terminated from outside",
    }.get(name, "it was ended by a signal")
    return WorkerDiedError(f"OneTrainer's process ended{during} because {why} ({name}).", suggestion=_LOOK)

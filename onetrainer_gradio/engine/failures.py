"""Translate library exceptions to errors with a cause and a suggestion."""

from __future__ import annotations

import errno
import re

import torch
from safetensors import SafetensorError

from onetrainer_gradio.errors import DiskFullError, OutOfMemoryError, StorageError, TrainerError

_FULL = frozenset({errno.ENOSPC, errno.EFBIG, *((errno.EDQUOT,) if hasattr(errno, "EDQUOT") else ())})
_FULL_TEXT = re.compile(r"No space left|os error 28\b|os error 27\b|os error 122\b|Disk quota exceeded|File too large")
# torch.save only reports that its stream was interrupted
_BROKEN_STREAM = re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs|basic_ios::clear|iostream error")
# in addition to torch's own error: messages of the driver and its libraries, for instance if another process uses the memory
_DEVICE_MEMORY = re.compile(
    r"(CUDA|HIP) error: out of memory|MPS backend out of memory"
    r"|(CUBLAS|CUDNN|CUSOLVER|ROCBLAS|MIOPEN)_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)"
)
_HOST_MEMORY = re.compile(r"DefaultCPUAllocator|not enough memory|can't allocate memory")

FOREIGN = (RuntimeError, OSError, MemoryError, SafetensorError)
"""The libraries of the known exceptions."""

_LESS_MEMORY = (
    "Lower the batch size or the resolution, turn on gradient checkpointing, train fewer components, "
    "or choose a smaller weight data type for the components that are not trained."
)


def translate(error: BaseException) -> TrainerError | None:
    """Return the error to show instead of ``error``, or None if it is unknown."""
    if isinstance(error, TrainerError):
        return error
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and _DEVICE_MEMORY.search(text)):
        return OutOfMemoryError(f"Out of GPU memory: {_first_line(text)}", suggestion=_LESS_MEMORY)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _HOST_MEMORY.search(text)):
        return OutOfMemoryError(f"Out of memory (RAM): {_first_line(text)}", suggestion=_LESS_MEMORY)
    if isinstance(error, OSError) and error.errno in _FULL:
        return _disk_full(f" for {error.filename}" if error.filename else "")
    if _FULL_TEXT.search(text) or (isinstance(error, RuntimeError) and _BROKEN_STREAM.search(text)):
        return _disk_full(f": {_first_line(text)}")
    if isinstance(error, OSError):
        return StorageError(f"Can't read or write a file: {error}", suggestion="Check the path and its permissions.")
    return None


def _disk_full(what: str) -> DiskFullError:
    return DiskFullError(
        f"No space left on disk{what.rstrip('.')}.",
        suggestion="Free up space, lower Rolling backup count, or choose another workspace folder.",
    )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "unknown cause"

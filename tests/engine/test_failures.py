"""Exceptions of libraries become errors that name the cause."""

from __future__ import annotations

import errno

import pytest
import torch
from safetensors import SafetensorError

from onetrainer_gradio.engine.failures import translate
from onetrainer_gradio.errors import DatasetError, DiskFullError, OutOfMemoryError, StorageError


@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"), OutOfMemoryError, "2.00 GiB"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), OutOfMemoryError, "Out of memory (RAM)"),
        (MemoryError(), OutOfMemoryError, "Out of memory (RAM)"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), DiskFullError, "/data/x"),
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError, "left on disk."),
        (SafetensorError("IO error: No space left on device (os error 28)"), DiskFullError, "No space"),
        (
            RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file data/1"),
            DiskFullError,
            "No space",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/protected/x"), StorageError, "/protected/x"),
    ],
)
def test_causes_are_named(raised, kind, says):
    """GPU memory, system RAM, a full disk and missing permissions each have a suggestion."""
    found = translate(raised)
    assert type(found) is kind
    assert says in found.message
    assert found.suggestion


def test_own_errors_stay_as_they_are_and_others_are_unknown():
    """A TrainerError stays the same; a programming error is not disguised."""
    own = DatasetError("x")
    assert translate(own) is own
    assert translate(RuntimeError("shapes do not fit")) is None
    assert translate(ZeroDivisionError()) is None

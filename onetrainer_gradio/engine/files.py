"""Write files atomically, and define the names of the files of a run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.engine.staging import put_in_place, staged

_NAME_MARKS = frozenset(" ._-#")

WITHOUT_EMA = " - no-ema"
"""End of the folder of samples that the unaveraged weights generate next to those of the EMA."""


def timestamp() -> str:
    """Return the local time as in OneTrainer's file names: ``2026-11-23_12-48-30``."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def safe_name(prompt: str, length: int = 32) -> str:
    """Return a prompt as part of a file name: letters, digits and `` ._-#``, at most ``length`` characters."""
    kept = "".join(char for char in prompt if char.isalnum() or char in _NAME_MARKS).strip()
    return kept[:length].strip()


@contextmanager
def whole_file(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """Provide a path to write to, which becomes ``target`` if the block succeeds and is deleted if it fails.

    ``durable`` waits until the data is on the disk, so that even a power cut leaves no empty file. A ``target`` that is a link
    is replaced; the file that it points to stays.
    """
    with staged(target) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the umask grants; safetensors would leave 0600
        yield temporary
        temporary.chmod(mode)
        if durable:
            _flush(temporary)
        temporary.replace(target)
        if durable:
            flush_folder(target.parent)


@contextmanager
def whole_folder(target: Path, *, parent: Path | None = None, marked: bool = True) -> Iterator[Path]:
    """Provide a folder to fill, which becomes ``target`` if the block succeeds and is deleted if it fails.

    It is created in the folder ``parent`` (on the same disk), or else in the parent of ``target``. If it is ``marked`` as ours,
    it can be replaced later.

    :raises OutputProtectedError: if there is a ``target`` with files in it that we did not write.
    """
    with staged(target, parent=parent) as temporary:
        temporary.mkdir()
        yield temporary
        probe = temporary.parent / "probe"
        probe.touch()
        mode = probe.stat().st_mode
        for file in temporary.rglob("*"):
            if file.is_file():
                file.chmod(mode)
                _flush(file)
        if marked:
            marker.write(temporary, marker.MODEL)
        put_in_place(temporary, target)
        flush_folder(target.parent)


def flush_folder(folder: Path) -> None:
    """Wait until a rename in a folder is on the disk, as far as the system can: Windows and some network drives can't."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flush(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def write_text(target: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with whole_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tensors(
    target: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, *, durable: bool = True
) -> None:
    """Write a safetensors file atomically."""
    with whole_file(target, durable=durable) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, dict(metadata or {}) or None)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the content of tensors, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(tensors[name].detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def size_bytes(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

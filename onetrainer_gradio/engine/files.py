"""Writing that leaves either the whole new file or the old one, and the names of what a run writes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.engine.staging import put_in_place, staged

_NAME_MARKS = frozenset(" ._-#")


def timestamp() -> str:
    """Local time as in OneTrainer's file names: ``2026-11-23_12-48-30``."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def safe_name(prompt: str, length: int = 32) -> str:
    """The part of a prompt that can stand in a file name: letters, digits and `` ._-#``, cut to ``length``."""
    kept = "".join(char for char in prompt if char.isalnum() or char in _NAME_MARKS).strip()
    return kept[:length].strip()


@contextmanager
def whole_file(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """A path to write to, which becomes ``target`` when the block ends well and disappears when it does not.

    ``durable`` waits until the disk has it, so that not even a power cut leaves an empty file. A ``target`` that is a link is
    replaced; what it points to stays.
    """
    with staged(target) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the umask grants; safetensors would leave 0600
        yield temporary
        temporary.chmod(mode)
        if durable:
            _flush(temporary)
        temporary.replace(target)


@contextmanager
def whole_folder(target: Path, *, beside: Path | None = None, marked: bool = True) -> Iterator[Path]:
    """A folder to fill, which becomes ``target`` when the block ends well and disappears when it does not.

    It is filled in the folder ``beside`` (on the same disk), else in that of ``target``. Once ``marked`` as ours, it may be
    replaced later.

    :raises OutputProtectedError: if there is a ``target`` with files in it that we did not write.
    """
    with staged(target, beside=beside) as temporary:
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


def _flush(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def write_text(target: Path, text: str) -> None:
    """Writes ``text`` as UTF-8, whole or not at all."""
    with whole_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tensors(
    target: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, *, durable: bool = True
) -> None:
    """Writes a safetensors file, whole or not at all."""
    with whole_file(target, durable=durable) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, dict(metadata or {}) or None)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the content of tensors, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(tensors[name].detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def size_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

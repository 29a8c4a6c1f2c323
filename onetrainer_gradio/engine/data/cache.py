"""Encoded pictures and captions on disk, each under a fingerprint of everything that its content depends on.

A changed setting, model or file leads to another name, so nothing stale is ever used, and what did not change is found
again. A file holds the tensors of one picture or one caption.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from onetrainer_gradio.engine.files import remove_unfinished, write_tensors

FORMAT = 1
"""Raised when the content of a cache file comes to mean something else."""


def fingerprint(facts: Mapping[str, Any]) -> str:
    """The name under which something that depends on ``facts`` (plain JSON values) is kept."""
    text = json.dumps({"format": FORMAT, **facts}, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_identity(path: Path) -> tuple[str, int, int]:
    """Real path, bytes and modification time (ns) of a file: changes whenever the file does."""
    status = path.stat()
    return str(path.resolve()), status.st_size, status.st_mtime_ns


def clear(cache_dir: Path) -> None:
    """Removes what OneTrainer removes: the folders ``image``, ``text`` and ``epoch-*``."""
    if cache_dir.is_dir():
        for entry in cache_dir.iterdir():
            if entry.is_dir() and (entry.name in ("image", "text") or entry.name.startswith("epoch-")):
                shutil.rmtree(entry)


@dataclass
class Shelf:
    """Tensors by fingerprint: on disk in ``folder``, and in memory as long as ``budget_bytes`` last."""

    folder: Path
    budget_bytes: int
    _held: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    _held_bytes: int = 0

    def __post_init__(self) -> None:
        remove_unfinished(self.folder)

    def __contains__(self, key: str) -> bool:
        return key in self._held or self._file(key).is_file()

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors under ``key``; None when there are none or their file is damaged."""
        if (held := self._held.get(key)) is not None:
            return held
        try:
            tensors: dict[str, Tensor] = load_file(self._file(key))
        except (FileNotFoundError, SafetensorError):
            return None
        self._hold(key, tensors)
        return tensors

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keeps ``tensors`` (on the CPU) under ``key``."""
        write_tensors(self._file(key), tensors, durable=False)
        self._hold(key, tensors)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _hold(self, key: str, tensors: dict[str, Tensor]) -> None:
        size = sum(tensor.nbytes for tensor in tensors.values())
        if key not in self._held and self._held_bytes + size <= self.budget_bytes:
            self._held[key] = tensors
            self._held_bytes += size

"""Cache encoded images and captions on disk, each under a fingerprint of everything that its content depends on.

A changed setting, model or file results in another name, so nothing outdated is ever used, and unchanged entries are found
again. A file contains the tensors of one image or one caption.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from onetrainer_gradio.atomic_file import remove_leftovers
from onetrainer_gradio.config.paths import cache_files, marker
from onetrainer_gradio.engine.files import write_tensors
from onetrainer_gradio.engine.staging import tidy_up
from onetrainer_gradio.errors import StorageError

FORMAT = 2
"""Increased when the meaning of a cache file changes."""


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Return the cache key of an entry that depends on ``facts`` (plain JSON values)."""
    text = json.dumps({"format": FORMAT, **facts}, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_identity(path: Path) -> tuple[str, int, int]:
    """Return real path, size and modification time (ns) of a file, which change when the file does."""
    status = path.stat()
    return str(path.resolve()), status.st_size, status.st_mtime_ns


def _is_ours(cache_dir: Path, name: str) -> bool:
    """Return whether a folder of a cache is marked, empty, or has only files with our names, as before markers existed."""
    made = marker.read(cache_dir)
    if made is not None and made.kind == marker.CACHE and name in made.files:
        return True
    try:
        with os.scandir(cache_dir / name) as found:
            return all(cache_files.is_entry(entry.name) and entry.is_file(follow_symlinks=False) for entry in found)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def _own_subfolder(name: str) -> str:
    return f"{name}/{cache_files.OWN_SUBFOLDER}"


def clear(cache_dir: Path) -> None:
    """Remove the encoded images and captions that we wrote; nothing else in the folder is touched."""
    remove_leftovers(cache_dir / marker.MARKER)
    for name in (found for folder in cache_files.SUBFOLDERS for found in (folder, _own_subfolder(folder))):
        if not _is_ours(cache_dir, name):
            continue
        with suppress(FileNotFoundError), os.scandir(cache_dir / name) as found:
            for entry in found:
                if cache_files.is_entry(entry.name) and entry.is_file(follow_symlinks=False):
                    os.unlink(entry)


@dataclass
class TensorCache:
    """Tensors by fingerprint: on disk in ``folder``, and in memory up to ``budget_bytes``."""

    folder: Path
    budget_bytes: int
    mark: Callable[[], None] = lambda: None
    """Mark the folder as ours; called before the first file is written."""
    _held: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    _held_bytes: int = 0
    _marked: bool = False

    @classmethod
    def of(cls, cache_dir: Path, name: str, budget_bytes: int) -> TensorCache:
        """Return the cache for encoded images or captions in a folder.

        If the folder of that name has other files in it, such as images or OneTrainer's own cache, a subfolder is used.
        """
        tidy_up(cache_dir / name)
        name = name if _is_ours(cache_dir, name) else _own_subfolder(name)

        def mark() -> None:
            try:
                (cache_dir / name).mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                blocking = next(path for path in (cache_dir / name, *(cache_dir / name).parents) if os.path.lexists(path))
                raise StorageError(
                    f"Can't write to the cache: {blocking} is a file.",
                    path="cache_dir",
                    value=str(cache_dir),
                    expected="a folder",
                    suggestion="Move the file, or choose another path for Cache directory.",
                ) from error
            marker.add(cache_dir, marker.CACHE, name)

        return cls(cache_dir / name, budget_bytes, mark)

    def __post_init__(self) -> None:
        tidy_up(self.folder)

    def __contains__(self, key: str) -> bool:
        return key in self._held or self._file(key).is_file()

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors under ``key``, or None if there are none or their file is damaged."""
        if (held := self._held.get(key)) is not None:
            return held
        try:
            tensors: dict[str, Tensor] = load_file(self._file(key))
        except (FileNotFoundError, SafetensorError):
            return None
        self._hold(key, tensors)
        return tensors

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Store ``tensors`` (on the CPU) under ``key``."""
        if not self._marked:
            self.mark()
            self._marked = True
        write_tensors(self._file(key), tensors, durable=False)
        self._hold(key, tensors)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _hold(self, key: str, tensors: dict[str, Tensor]) -> None:
        size = sum(tensor.nbytes for tensor in tensors.values())
        if key not in self._held and self._held_bytes + size <= self.budget_bytes:
            self._held[key] = tensors
            self._held_bytes += size

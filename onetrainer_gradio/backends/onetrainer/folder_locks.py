"""Lock folders that two trainings must not write to at once, whichever panel or program started them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.errors import RunConflictError
from onetrainer_gradio.file_lock import try_lock

LOCK_NAME = ".in-use-by-training"


@contextlib.contextmanager
def lock_folders(folders: dict[str, Path], label: str) -> Iterator[tuple[int, ...]]:
    """Hold the folders (setting -> folder) during the block; yield the descriptors that hold them.

    A process that inherits the descriptors continues holding the folders should this one die. A folder that cannot hold a lock
    (another kind of file system, no permission) is not held: what is wrong with it shows when it is used.

    :raises RunConflictError: when another training holds one.
    """
    with contextlib.ExitStack() as stack:
        held = []
        for setting, folder in folders.items():
            descriptor = _open(folder)
            if descriptor is None:
                continue
            stack.callback(os.close, descriptor)
            if not _lock(descriptor):
                raise RunConflictError(
                    f"{folder} is in use by another run{_who(descriptor)}.",
                    path=setting,
                    value=str(folder),
                    expected="a folder that no other run writes to",
                    suggestion=f"Wait for that run, stop it, or choose another path for {title_of(setting)}.",
                )
            _write(descriptor, label)
            held.append(descriptor)
        yield tuple(held)


def _open(folder: Path) -> int | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return None


def _lock(descriptor: int) -> bool:
    """Return whether nobody else holds it; on a file system without locks, nobody is known to."""
    try:
        return try_lock(descriptor)
    except OSError:
        return True


def _write(descriptor: int, label: str) -> None:
    with contextlib.suppress(OSError):
        note = json.dumps({"process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S"), "what": label})
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, note.encode())


def _who(descriptor: int) -> str:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        note = json.loads(os.read(descriptor, 1000))
        return f" (process {note['process']}, since {note['since']}: {note['what']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""

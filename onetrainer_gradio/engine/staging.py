"""Write files and folders next to their target, move them there when complete, and clean up after a kill.

An incomplete file or folder is in ``.unfinished-OWNER`` next to its target, with everything that libraries write next to it. A
folder that is being replaced is kept in ``.replaced-OWNER`` until the new one is in place. The owner is a process, so that the
next start can detect abandoned ones.
"""

from __future__ import annotations

import filecmp
import hashlib
import itertools
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.errors import OutputProtectedError
from onetrainer_gradio.process_birth import boot_id, created

UNFINISHED, REPLACED = ".unfinished-", ".replaced-"

_OWNER = re.compile(r"(?P<pid>[0-9]+)@(?P<created>[0-9.]*)@(?P<host>[0-9a-f]{6})@(?P<boot>[0-9a-f]{6})@[0-9]+")
_FORMER_OWNER = re.compile(r"(?P<pid>[0-9]{1,18})-.+", re.DOTALL)
# On a disk shared by several machines, unfinished files of another machine are left alone for this long.
_FOREIGN_REST_S = 24 * 3600.0

_numbers = itertools.count(1)
_active: set[Path] = set()
_lock = threading.Lock()


@cache
def _machine() -> tuple[str, str]:
    """Return short names of this machine and of its current boot."""
    return tuple(hashlib.sha256(text.encode()).hexdigest()[:6] for text in (socket.gethostname(), boot_id()))  # type: ignore[return-value]


def _owner() -> str:
    pid = os.getpid()
    host, boot = _machine()
    return f"{pid}@{created(pid)}@{host}@{boot}@{next(_numbers)}"


@contextmanager
def staged(target: Path, *, parent: Path | None = None) -> Iterator[Path]:
    """Provide a path named like ``target`` in a separate folder next to it (or in ``parent``), deleted after the block."""
    parent = target.parent if parent is None else parent
    target.parent.mkdir(parents=True, exist_ok=True)
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{UNFINISHED}{_owner()}"
    with _lock:
        _active.add(folder)
    try:
        folder.mkdir()
        yield folder / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with _lock:
            _active.discard(folder)


def put_in_place(new: Path, target: Path) -> None:
    """Move a complete folder to its target. A folder that a run wrote is replaced; other files in it are kept.

    :raises OutputProtectedError: if the target is something else.
    """
    if not os.path.lexists(target):
        new.rename(target)
        return
    if os.path.islink(target) or not os.path.isdir(target):
        raise _protected(target, "it isn't a folder")
    if not any(True for _ in marker.entries(target)):
        target.rmdir()
        new.rename(target)
        return
    made = marker.read(target)
    if made is None or made.kind != marker.MODEL:
        raise _protected(target, "it contains files that no run wrote")
    found = marker.contents(target, made)
    if found.changed:
        raise _protected(target, f"{found.changed[0]} was changed after a run wrote it")
    taken = next((name for name in found.others if _in_the_way(target / name, new / name)), "")
    if taken:
        raise _protected(target, f"{taken} in it was not written by a run")
    _carry_over(target, new, found.others)
    folder = target.parent / f"{REPLACED}{_owner()}"
    old = folder / target.name
    with _lock:
        _active.add(folder)
    try:
        folder.mkdir()
        target.rename(old)
        try:
            new.rename(target)
        except OSError:
            old.rename(target)
            raise
        _dispose(folder, target)
    finally:
        with suppress(OSError):
            folder.rmdir()
        with _lock:
            _active.discard(folder)


def _in_the_way(old: Path, new: Path) -> bool:
    folders = all(path.is_dir() and not path.is_symlink() for path in (old, new))
    return os.path.lexists(new) and not folders


def _protected(target: Path, reason: str) -> OutputProtectedError:
    return OutputProtectedError(
        f"The folder {target} was not replaced, because {reason}.",
        value=str(target),
        suggestion="Choose another Model output destination.",
    )


def _carry_over(old: Path, new: Path, names: tuple[str, ...]) -> None:
    """Copy files that no run wrote from the old folder to the new one; the old one keeps them until it is replaced."""
    for name in names:
        source, target = old / name, new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            os.symlink(os.readlink(source), target)
        elif source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            try:
                os.link(source, target)
            except OSError:  # a file system without hard links
                shutil.copy2(source, target)


def _dispose(folder: Path, target: Path) -> None:
    """Remove a replaced folder: files of a run, and files that the new folder has, too. The rest gets a visible name."""
    old = folder / target.name
    made = marker.read(old) or marker.Marker(marker.MODEL, {})  # without one, only empty folders are left, or files of others
    if old.is_dir():
        found = marker.contents(old, made)
        if not found.changed and all(_has_too(old / name, target / name) for name in found.others):
            for name in sorted((*found.others, *found.ours), key=lambda name: name == marker.MARKER):
                _remove(old / name)
            for here, _, _ in os.walk(old, topdown=False):
                with suppress(OSError):
                    os.rmdir(here)
    if os.path.lexists(old):
        old.rename(free_name(target))
    with suppress(OSError):
        folder.rmdir()


def _has_too(one: Path, other: Path) -> bool:
    """Return whether the content of one path is at the other as well."""
    if one.is_symlink():
        return other.is_symlink() and os.readlink(one) == os.readlink(other)
    if one.is_dir():
        return other.is_dir()
    if not one.is_file() or not other.is_file():
        return False
    return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


def unused(path: Path) -> Path:
    """Return the path, or one with a number if it is taken: two files of one second don't overwrite each other."""
    return free_name(path) if os.path.lexists(path) else path


def free_name(target: Path) -> Path:
    """Return an unused path next to ``target``: its name with the first free number."""
    found = (target.with_name(f"{target.stem}-{number}{target.suffix}") for number in itertools.count(2))
    return next(path for path in found if not os.path.lexists(path))


def tidy_up(folder: Path) -> None:
    """Remove incomplete files of killed processes in a folder, and restore a replaced folder if its target is missing.

    Files of a running process stay.
    """
    try:
        with os.scandir(folder) as found:
            names = [entry.name for entry in found if entry.name.startswith((UNFINISHED, REPLACED)) and not entry.is_symlink()]
    except OSError:
        return
    for name in names:
        path = folder / name
        with _lock:
            busy = path in _active
        if busy or not _abandoned(path):
            continue
        if name.startswith(REPLACED):
            _recover(path)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def tidy_places(config: TrainConfig) -> None:
    """Remove unfinished files of killed runs where a run with these settings writes."""
    workspace, target = Path(config.workspace_dir), Path(config.output_model_destination)
    samples = workspace / "samples"
    with suppress(OSError):
        for folder in (entry for entry in samples.iterdir() if entry.is_dir() and not entry.is_symlink()):
            tidy_up(folder)
    # a file may go into the folder at its destination, and a link to a folder stays
    parent = target.resolve().parent if target.is_symlink() and target.is_dir() else target.parent
    for folder in (workspace, workspace / "config", workspace / "save", parent, target):
        tidy_up(folder)


def _recover(folder: Path) -> None:
    """Handle a folder whose replacement was interrupted: restore it, or delete it if the new one is in place."""
    with suppress(OSError):
        for old in list(folder.iterdir()):
            target = folder.parent / old.name
            if os.path.lexists(target):
                _dispose(folder, target)
            else:
                old.rename(target)
        folder.rmdir()


def _abandoned(path: Path) -> bool:
    """Return whether the process of an unfinished file or folder is gone."""
    rest = path.name.removeprefix(UNFINISHED).removeprefix(REPLACED)
    owner = _OWNER.fullmatch(rest)
    if owner is None:
        former = _FORMER_OWNER.fullmatch(rest)
        return former is not None and path.name.startswith(UNFINISHED) and not _other_process(int(former["pid"]))
    if owner["host"] != _machine()[0]:
        return time.time() - _last_change(path) > _FOREIGN_REST_S
    if owner["boot"] != _machine()[1]:
        return True
    return int(owner["pid"]) == os.getpid() or created(int(owner["pid"])) != owner["created"]


def _other_process(pid: int) -> bool:
    return pid != os.getpid() and bool(created(pid))


def _last_change(path: Path) -> float:
    times = [0.0]
    for here, _, names in os.walk(path):
        for place in (here, *(os.path.join(here, name) for name in names)):
            with suppress(OSError):
                times.append(os.lstat(place).st_mtime)
    return max(times)

"""Move, measure and delete the files that OneTrainer writes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time

from .errors import problem_of


def delete_backup(folder: str) -> None:
    """Delete a backup of a run; files in it that its list doesn't name were added by others and stay."""
    try:
        with open(os.path.join(folder, "onetrainer_gradio_run.json"), encoding="utf-8") as file:
            made = set(json.load(file)["files"])
    except (OSError, ValueError, KeyError, TypeError):
        shutil.rmtree(folder, ignore_errors=True)
        return
    for here, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = os.path.join(here, name)
            if os.path.relpath(path, folder).replace(os.sep, "/") in made:
                with contextlib.suppress(OSError):
                    os.unlink(path)
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(here)


def rename_file(path: str) -> str:
    """Give a file another name that is free, and return it; empty if there is none, or only a link."""
    if os.path.islink(path) or not os.path.isfile(path):
        return ""
    stem, suffix = os.path.splitext(path)
    number = 2
    while os.path.lexists(f"{stem}-{number}{suffix}"):
        number += 1
    os.rename(path, f"{stem}-{number}{suffix}")
    return f"{stem}-{number}{suffix}"


def free_bytes(path: str) -> int:
    """Return the free bytes on the disk of a file, or 0 if unknown."""
    try:
        return shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free
    except OSError:
        return 0


def move_linked_aside(path: str) -> dict[str, str]:
    """Rename the files at a path that have another hard link; original path -> new path.

    OneTrainer writes into the file that is there, which would change the bytes under the other name, too: a run's own result.
    """
    files = [path] if os.path.isfile(path) else []
    if not files:
        files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    moved: dict[str, str] = {}
    for file in files:
        if not os.path.islink(file) and os.stat(file).st_nlink > 1:
            folder, name = os.path.split(file)
            moved[file] = os.path.join(folder, f".unfinished-{os.getpid()}-old-{name}")
            os.rename(file, moved[file])
    return moved


def wait_for_unused_second(folder: str) -> None:
    """Wait until no entry of a folder has the name of this second: another run of the workspace may have made one just now."""
    give_up_at = time.monotonic() + 2.0
    while time.monotonic() < give_up_at:
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        if not os.path.isdir(folder) or not any(stamp in name for name in os.listdir(folder)):
            return
        time.sleep(0.02)


def unused(path: str) -> str:
    """Return the path, or one with a number if a file of that name, with any suffix, is there."""
    folder, name = os.path.split(path)
    taken = {os.path.splitext(entry)[0] for entry in os.listdir(folder)} if os.path.isdir(folder) else set()
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return os.path.join(folder, found)


def measured(path: str) -> tuple[int, str]:
    """Return the size of a file, or of all files of a folder, and why it is unknown."""
    try:
        if not os.path.isdir(path):
            return os.path.getsize(path), ""
        return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names), ""
    except OSError as error:
        return 0, problem_of(error)

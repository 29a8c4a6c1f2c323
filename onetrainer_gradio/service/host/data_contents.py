"""Select the files of a data folder that a backup contains, in an order in which nothing refers to a file that is missing."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from onetrainer_gradio.service.host.atomic import read_json
from onetrainer_gradio.service.host.data_version import MIGRATIONS_FOLDER, VERSION_FILE

# What can be omitted, and the folders that are omitted with it.
PARTS = {"samples": ("samples", "generations"), "backups": ("backup",), "datasets": ("datasets",)}
# Files that give access to the panel or to other services.
SECRET_FILES = frozenset({"secrets.json", "sessions.json", "people.sqlite", "https/key.pem", "https/certificate.pem"})
# Only their owner may read these, but they open nothing.
_PRIVATE = frozenset({"notifications.json"})
# Created again when it is needed, or useless in another folder.
_TOP_LEFT_OUT = frozenset({"cache", "workspace-cache", MIGRATIONS_FOLDER, "panel.json"})
# Processes of this machine: a restored run must neither follow nor stop them.
_PROCESS_FILES = frozenset(
    {"supervisor.json", "worker.json", "child_process.json", "keeper.json", "companion.json", "parked.json", "next.json"}
    | {"heartbeat", "supervisor_heartbeat", "keeper_heartbeat", "commands"}
)
_UNFINISHED = re.compile(r"\.lock|\.unfinished-.*|\.replaced-.*|\.restore-.*|\..*\.[0-9a-f]{8}\.tmp|.*-(journal|wal|shm)")
# In these folders, parts aren't recognized by the names of folders: they are those of runs, settings and images.
_OWN = frozenset({"runs", "config", "configs", "datasets"})


@dataclass
class Contents:
    """Files to back up, relative to the data folder with slashes, and what is omitted for a reason to report.

    ``facts`` are size in bytes and modification time in nanoseconds of each file.
    """

    files: list[str] = field(default_factory=list)
    facts: dict[str, tuple[int, int]] = field(default_factory=dict)
    total_bytes: int = 0
    links: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)


def contents_of(data: Path, *, without: Collection[str] = (), secrets: bool = False) -> Contents:
    """Return what a backup of a data folder contains. ``without`` are keys of ``PARTS``.

    Databases and settings come first, then journals, then everything that these refer to.
    """
    found = Contents()
    omitted = {folder for part in without for folder in PARTS[part]}
    guarded = _owner_only(data)
    for name, status in _files(data, omitted, found):
        owner_only = name not in _PRIVATE and "/" not in name and guarded and not stat.S_IMODE(status.st_mode) & 0o077
        if (name in SECRET_FILES or owner_only) and not secrets:
            found.secrets.append(name)
            continue
        found.files.append(name)
        found.facts[name] = status.st_size, status.st_mtime_ns
        found.total_bytes += status.st_size
    found.files.sort(key=lambda name: (_rank(name), name))
    return found


def _owner_only(data: Path) -> bool:
    """Return whether files that only their owner may read are secrets here, and not simply all files."""
    try:
        return os.name == "posix" and bool(stat.S_IMODE(os.stat(data / VERSION_FILE).st_mode) & 0o077)
    except OSError:
        return False


def _files(data: Path, omitted: Collection[str], found: Contents) -> Iterator[tuple[str, os.stat_result]]:
    folders = [data]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):  # deleted meanwhile
            continue
        parts = folder.relative_to(data).parts
        for entry in entries:
            if _left_out(parts, entry.name, omitted):
                continue
            name = "/".join((*parts, entry.name))
            if entry.is_symlink():
                found.links.append(name)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    yield name, entry.stat(follow_symlinks=False)


def _left_out(parts: tuple[str, ...], name: str, omitted: Collection[str]) -> bool:
    if _UNFINISHED.fullmatch(name):
        return True
    if not parts:
        return name in _TOP_LEFT_OUT or name in omitted
    if parts[0] == "runs" and len(parts) == 2:
        return name in _PROCESS_FILES
    return parts[0] not in _OWN and name in omitted


def _rank(name: str) -> int:
    if "/" not in name or name.startswith(("config/", "configs/")):
        return 0
    return 1 if name.endswith(".jsonl") else 2


def workspaces_outside(data: Path) -> Iterator[str]:
    """Return the workspaces of runs that aren't in the data folder. This reads the settings of every run."""
    seen = set()
    for path in data.glob("runs/*/config.json"):
        document = read_json(path, 16 << 20)
        name = document.get("workspace_dir") if isinstance(document, dict) else None
        if isinstance(name, str) and name and name not in seen:
            seen.add(name)
            if not Path(os.path.normpath(data / name)).is_relative_to(data):
                yield name

"""Record which version of the data folder's layout its files have, migrate older folders, and reject newer ones."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio import __version__
from onetrainer_gradio.errors import DataVersionError, RunConflictError
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_bytes, read_json, write_json
from onetrainer_gradio.service.host.lock import FolderLock
from onetrainer_gradio.service.host.process import ProcessIdentity

_LOG = logging.getLogger(__name__)
VERSION_FILE = "data_version.json"
MIGRATIONS_FOLDER = "migrations"


@dataclass(frozen=True)
class Migration:
    """Change a data folder of version ``to - 1`` into one of version ``to``.

    ``changes`` are patterns of the files that ``apply`` changes, relative to the data folder. They are copied first.
    """

    to: int
    summary: str
    changes: tuple[str, ...]
    apply: Callable[[Path], None]


def _nothing(_data: Path) -> None:
    """Version 1 has the files of version 0, plus the file with the version."""


# Add a migration when an earlier version of this package couldn't read, or would damage, what this one writes.
# docs/upgrading.md describes each one.
MIGRATIONS: tuple[Migration, ...] = (Migration(1, "The data folder records its version.", (), _nothing),)


def check_version(data: Path, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Return the version of a data folder; 0 if it doesn't record one. Changes nothing.

    :raises DataVersionError: if a newer version wrote it, or the file with its version is damaged.
    """
    path = data / VERSION_FILE
    with raising_storage_error(VERSION_FILE):
        if read_bytes(path) is None:
            return 0
    document = read_json(path)
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise DataVersionError(
            f"Can't read the version of the data folder {data}: {VERSION_FILE} is damaged.",
            suggestion="Restore the file from a backup. Delete it only if no newer version used this folder.",
        )
    if version > len(migrations):
        raise DataVersionError(
            f"The data folder {data} was written by a newer version ({_writer(document)}data version {version}). "
            f"Version {__version__} supports data folders up to version {len(migrations)}.",
            value=version,
            suggestion="Install the newer version, or choose another folder with --data.",
        )
    return version


def _writer(document: Any) -> str:
    name = document.get("written_by") if isinstance(document, dict) else None
    return f"{name[:40]}, " if isinstance(name, str) and name else ""


def prepare_version(data: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Migrate a data folder to the current version and record the version. A folder of this version isn't touched.

    :raises DataVersionError: if a newer version wrote it.
    :raises RunConflictError: if it has to be migrated and another process uses it.
    :raises StorageError: if a copy or a migrated file can't be written; the folder keeps its version then.
    """
    version = check_version(data, migrations)
    _name_finished_copy(data, version)
    if version == len(migrations):
        return
    pending = migrations[version:]
    if not any(migration.changes for migration in pending):
        _record(data, len(migrations))
        return
    with raising_storage_error("the migrated data folder"), FolderLock(data):
        version = check_version(data, migrations)  # another process may have been first
        _raise_if_used(data)
        for migration in migrations[version:]:
            if not migration.changes:
                write_json(data / VERSION_FILE, _document(migration.to))
                continue
            _LOG.warning("Migrating the data folder %s to version %d: %s", data, migration.to, migration.summary)
            _migrate(data, migration)


def _record(data: Path, version: int) -> None:
    """Record the version of a folder whose files need no change. A full or read-only disk is reported by whatever needs it."""
    try:
        write_json(data / VERSION_FILE, _document(version))
    except OSError as error:
        _LOG.warning("Can't write %s: %s", data / VERSION_FILE, error)


def _document(version: int) -> dict[str, Any]:
    return {"version": version, "written_by": f"onetrainer_gradio {__version__}"}


def _raise_if_used(data: Path) -> None:
    known = read_json(data / "panel.json")
    owner = ProcessIdentity.from_dict(known)
    if owner is not None and owner.pid != os.getpid() and owner.alive():
        raise RunConflictError(
            f"The data folder {data} has to be migrated, but a panel of an earlier version uses it (process {owner.pid})",
            suggestion="Stop that panel first.",
        )


def _migrate(data: Path, migration: Migration) -> None:
    """Copy what changes, change it, and record the version. If that was interrupted before, start again from the copy."""
    copies = data / MIGRATIONS_FOLDER
    copy, partial = copies / f"unfinished-{migration.to}", copies / f"copying-{migration.to}"
    shutil.rmtree(partial, ignore_errors=True)
    if copy.is_dir():
        for path in _matching(data, migration.changes):
            path.unlink()
        _copy_files(copy, data, ("**/*",))
    else:
        partial.mkdir(parents=True)
        _copy_files(data, partial, migration.changes)
        partial.rename(copy)
    migration.apply(data)
    write_json(data / VERSION_FILE, _document(migration.to))
    _name_finished_copy(data, migration.to)


def _name_finished_copy(data: Path, version: int) -> None:
    """Rename the copy of a finished migration, also of one that was killed just before this: it isn't used again."""
    copy = data / MIGRATIONS_FOLDER / f"unfinished-{version}"
    if copy.is_dir():
        copy.rename(copy.with_name(f"version-{version - 1}-{time.strftime('%Y-%m-%d_%H-%M-%S')}-{uuid.uuid4().hex[:8]}"))


def _matching(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            if path.is_file() and not path.is_symlink() and MIGRATIONS_FOLDER not in path.relative_to(folder).parts[:1]:
                yield path


def _copy_files(source: Path, destination: Path, patterns: Sequence[str]) -> None:
    for path in _matching(source, patterns):
        target = destination / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
        with contextlib.suppress(OSError), open(target, "rb") as file:
            os.fsync(file.fileno())

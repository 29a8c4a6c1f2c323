"""List the backups of a run, pin them, and delete old ones by a rule. Only what the run itself made is ever deleted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.paths.backup_chain import PIN, added_files, is_pinned, run_of
from onetrainer_gradio.config.resume import META, read_progress
from onetrainer_gradio.engine.staging import staged
from onetrainer_gradio.errors import BackupNotFoundError, RunConflictError
from onetrainer_gradio.events import BackupCreated, tag
from onetrainer_gradio.service.host.atomic import raising_storage_error
from onetrainer_gradio.service.runs.file_records import FileRecord, read_records
from onetrainer_gradio.service.runs.record import Run

_CREATED = tag(BackupCreated)
MAX_LISTED = 1000


@dataclass(frozen=True)
class Backup:
    """A backup of a run. ``problem`` is what is wrong with it (empty: whole); ``ours`` is whether this run made the folder."""

    id: str
    path: Path
    at: float
    global_step: int
    epoch: int
    bytes: int
    problem: str
    pinned: bool
    ours: bool
    exists: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the backup as in the API."""
        return {
            "id": self.id,
            "name": self.path.name,
            "written_to": str(self.path),
            "at": self.at,
            "global_step": self.global_step,
            "epoch": self.epoch,
            "bytes": self.bytes,
            "whole": not self.problem,
            "problem": self.problem,
            "pinned": self.pinned,
            "deletable": self.ours and self.exists,
            "exists": self.exists,
        }


@dataclass(frozen=True)
class PruneRule:
    """Which backups to keep: the newest ``keep_last``, and the first one in each ``keep_every`` steps (0: none of these)."""

    keep_last: int = 1
    keep_every: int = 0


def backups_of(run: Run) -> list[Backup]:
    """Return the backups that the run's events name, oldest first: of each folder the newest event."""
    records = read_records(run.folder)
    found: dict[str, Backup] = {}
    for entry in run.journal.since(0, run.journal.length(), only=(_CREATED,)):
        body = entry.body
        path = Path(body["path"])
        record = records.get((body["path"], float(body["at"])))
        problem = problem_of(path, record)
        exists = path.is_dir() and not path.is_symlink()
        found.pop(body["path"], None)
        found[body["path"]] = Backup(
            id=str(entry.seq),
            path=path,
            at=float(body["at"]),
            global_step=body["global_step"],
            epoch=body["epoch"],
            bytes=body["bytes"] if exists else 0,
            problem=problem,
            pinned=is_pinned(path),
            ours=run_of(path) == run.id,
            exists=exists,
        )
    return list(found.values())[-MAX_LISTED:]


def problem_of(path: Path, record: FileRecord | None) -> str:
    """Return why a run can't resume from a backup, as a sentence. Empty if nothing is wrong with it."""
    if not path.is_dir():
        return "The backup was deleted."
    if not (path / META).is_file():
        return f"{META} is missing."
    if read_progress(path) is None:
        return f"{META} is damaged."
    for name, facts in (record.files if record else {}).items():
        try:
            size = (path / name).stat().st_size
        except OSError:
            return f"{name} is missing."
        if size != facts.bytes:
            return f"{name} has another size than when it was written."
    return ""


def newest_whole_backup(run: Run) -> Path | None:
    """Return the newest backup of a run that nothing is wrong with, else the one it was resumed from if that still exists."""
    whole = next((backup.path for backup in reversed(backups_of(run)) if not backup.problem), None)
    first = run.options().resume_from
    return whole or (Path(first) if first and Path(first).is_dir() else None)


def backup_of(run: Run, backup_id: str) -> Backup:
    """Return one backup of a run.

    :raises BackupNotFoundError: if the run has none with this ID.
    """
    found = next((backup for backup in backups_of(run) if backup.id == backup_id), None)
    if found is None or not found.exists:
        raise BackupNotFoundError(f"The run {run.id} has no backup {backup_id!r}.", value=backup_id)
    return found


def pin(run: Run, backup_id: str, pinned: bool) -> Backup:
    """Keep a backup from being deleted, by the rule and by rolling backups of the built-in engine, or no longer.

    :raises BackupNotFoundError: if the run has none with this ID.
    :raises RunConflictError: if another program made it: nothing deletes it, and the panel writes nothing into it.
    :raises StorageError: if the file that pins it can't be written.
    """
    backup = backup_of(run, backup_id)
    if not backup.ours:
        raise RunConflictError(
            f"The backup {backup.path.name} was not made by this run, so the panel never deletes it.", value=backup_id
        )
    with raising_storage_error("the backup"):
        if pinned:
            (backup.path / PIN).touch()
        else:
            (backup.path / PIN).unlink(missing_ok=True)
    return backup_of(run, backup_id)


def plan(backups: Sequence[Backup], rule: PruneRule, in_use: Collection[Path] = ()) -> list[tuple[Backup, str]]:
    """Return each backup with the reason to keep it; an empty reason means that the rule deletes it."""
    whole = [backup for backup in backups if not backup.problem]
    newest = {backup.id for backup in whole[-max(1, rule.keep_last) :]}
    every: dict[int, str] = {}
    for backup in whole if rule.keep_every else ():
        every.setdefault(backup.global_step // rule.keep_every, backup.id)
    reasons = []
    for backup in backups:
        if not backup.exists:
            continue
        if not backup.ours:
            reason = "not made by this run"
        elif backup.pinned:
            reason = "pinned"
        elif backup.path in in_use:
            reason = "in use"
        elif backup.id in newest:
            reason = "newest"
        elif backup.id in every.values():
            reason = f"one per {rule.keep_every} steps"
        else:
            reason = ""
        reasons.append((backup, reason))
    return reasons


class BackupPruning:
    """Delete backups of runs. ``in_use`` returns the folders that an active run resumed from."""

    def __init__(self, in_use: Callable[[], Collection[Path]]) -> None:
        self._in_use = in_use

    def preview(self, run: Run, rule: PruneRule) -> dict[str, Any]:
        """Return which backups the rule keeps, with the reason, and which it deletes."""
        planned = plan(backups_of(run), rule, self._in_use())
        delete = [backup for backup, reason in planned if not reason]
        return {
            "keep": [{**backup.as_dict(), "reason": reason} for backup, reason in planned if reason],
            "delete": [backup.as_dict() for backup in delete],
            "freed_bytes": sum(backup.bytes for backup in delete),
        }

    def delete(self, run: Run, rule: PruneRule, ids: Collection[str]) -> dict[str, Any]:
        """Delete the backups among ``ids`` that the rule still deletes, and return what became of them.

        Files that someone added to a backup stay where they are.

        :raises RunConflictError: if the run hasn't ended.
        """
        if not run.ended():
            raise RunConflictError(f"The run {run.id} hasn't ended", value=run.id, suggestion="Stop it first.")
        deleted, failed = [], []
        for backup, reason in plan(backups_of(run), rule, self._in_use()):
            if reason or backup.id not in ids:
                continue
            try:
                _delete(backup.path)
            except OSError as error:
                failed.append({"id": backup.id, "name": backup.path.name, "error": error.strerror or str(error)})
            else:
                deleted.append(backup)
        return {
            "deleted": [backup.as_dict() for backup in deleted],
            "failed": failed,
            "freed_bytes": sum(backup.bytes for backup in deleted),
        }


def _delete(path: Path) -> None:
    """Move a backup away, so that a kill leaves nothing that looks like one, put back what others added, and delete the rest."""
    added = added_files(path)
    with staged(path) as aside:
        path.rename(aside)
        for name in added:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).rename(path / name)

"""Read and write backups: everything that a run needs to resume exactly, in OneTrainer's layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.optim import Optimizer

from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.declarations.setting import Settings
from onetrainer_gradio.config.files.documents import plain, to_document
from onetrainer_gradio.config.model_files import damage
from onetrainer_gradio.config.paths.backup_chain import Chain, added_files, to_delete, write_chain
from onetrainer_gradio.config.resume import META, backups_in
from onetrainer_gradio.engine import optimizers
from onetrainer_gradio.engine.ema import EMA
from onetrainer_gradio.engine.files import timestamp, whole_folder
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.methods.method import Method
from onetrainer_gradio.engine.staging import staged, tidy_up, unused
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.errors import BackupMismatchError, BackupNotFoundError

OPTIMIZER_FILE = Path("optimizer") / "optimizer.pt"
EMA_FILE = Path("ema") / "ema.pt"


@dataclass(frozen=True)
class Backups:
    """The backups of a workspace, in ``<workspace>/backup``; their names sort by time."""

    workspace: Path

    @property
    def folder(self) -> Path:
        """Return their folder."""
        return self.workspace / "backup"

    @property
    def staging(self) -> Path:
        """Return where backups are written and deleted: the workspace if it is on the same disk, else their folder."""
        try:
            same = self.folder.stat().st_dev == self.workspace.stat().st_dev
        except OSError:  # one of the two doesn't exist yet
            return self.workspace
        return self.workspace if same else self.folder

    def all(self) -> list[Path]:
        """Return all complete backups, oldest first."""
        return backups_in(self.workspace, whole=True)

    def to_resume(self, config: TrainConfig, options: RunOptions) -> Path | None:
        """Return the backup that the run resumes from, if any.

        :raises BackupNotFoundError: if it should resume but there is none.
        """
        if options.resume_from:
            chosen = Path(options.resume_from)
            if not (chosen / META).is_file():
                raise BackupNotFoundError(
                    f"“{chosen}” isn't a backup.",
                    value=str(chosen),
                    expected=f"a folder with {META}",
                    suggestion="Choose a backup.",
                )
            return chosen
        if not config.continue_last_backup:
            return None
        found = self.all()
        if not found:
            raise BackupNotFoundError(
                f"The folder “{self.folder}” contains no backup to resume from.",
                path="continue_last_backup",
                value=True,
                expected="at least one backup in the workspace",
                suggestion="Turn off Continue from last backup, or choose the workspace of the earlier run.",
            )
        return found[-1]

    def prune(self, keep: int, chain: Chain, newest: Path) -> None:
        """Delete all but the newest ``keep`` of the backups of the runs of a chain. Files that others added stay."""
        for old in to_delete(self.all(), chain, keep, newest):
            with suppress(OSError):  # it is in use or gone: the next backup tries again
                self._delete(old)

    def _delete(self, backup: Path) -> None:
        added = added_files(backup)
        # moved away first: a kill leaves nothing that looks like a backup and lacks files
        with staged(backup, parent=self.staging) as aside:
            backup.rename(aside)
            for name in added:
                (backup / name).parent.mkdir(parents=True, exist_ok=True)
                (aside / name).rename(backup / name)


@dataclass(frozen=True)
class BackupWriter:
    """Write the backups of a run."""

    backups: Backups
    config: TrainConfig
    method: Method
    optimizer: Optimizer
    ema: EMA | None
    header: Header
    chain: Chain

    def __post_init__(self) -> None:
        for folder in {self.backups.workspace, self.backups.staging}:
            tidy_up(folder)

    def path(self, state: TrainState) -> Path:
        """Return the path of the backup of ``state``."""
        return unused(self.backups.folder / f"{timestamp()}-backup-{state.name}")

    def write(self, path: Path, state: TrainState) -> None:
        """Write a backup atomically."""
        with whole_folder(path, parent=self.backups.staging, marked=False) as folder:
            self.method.back_up(folder, self.header)
            (folder / OPTIMIZER_FILE).parent.mkdir()
            torch.save(optimizers.saved_state(self.optimizer, self.config), folder / OPTIMIZER_FILE)
            if self.ema is not None:
                (folder / EMA_FILE).parent.mkdir()
                torch.save(self.ema.state_dict(), folder / EMA_FILE)
            _write_config(folder / "onetrainer_config", self.config)
            (folder / META).write_text(json.dumps(state.meta()), encoding="utf-8")
            write_chain(folder, self.chain)
        if self.config.rolling_backup:
            self.backups.prune(self.config.rolling_backup_count, self.chain, path)


def _write_config(folder: Path, config: TrainConfig) -> None:
    folder.mkdir()
    _write_json(folder / "args.json", to_document(config, packed=False))
    for name, items in (("concepts", config.concepts), ("samples", config.samples)):
        listed: Sequence[Settings] = items or ()
        _write_json(folder / f"{name}.json", [plain(item) for item in listed])


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=4), encoding="utf-8")


def read_state(backup: Path) -> TrainState:
    """Return the state of the run in a backup.

    :raises BackupMismatchError: if its meta.json is damaged.
    """
    try:
        return TrainState.from_meta(backup / META)
    except (KeyError, TypeError, ValueError) as error:
        raise BackupMismatchError(
            f"The backup “{backup}” is damaged: can't read {META}: {error}.", suggestion="Resume from another backup."
        ) from error


def read_tensors(file: Path, *entries: str) -> dict[str, Any] | None:
    """Return the content of an optimizer.pt or ema.pt with these ``entries``, or None if it doesn't exist.

    :raises BackupMismatchError: if it is damaged.
    """
    if not file.is_file():
        return None
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    # what torch raises for a file of another kind is text for programmers; the file itself shows more
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, UnpicklingError) as error:
        what = damage(file) or "is not a file that PyTorch wrote, or not a whole one"
        raise BackupMismatchError(f"The backup is damaged: “{file}” {what}.", suggestion="Resume from another backup.") from error
    lacking = [name for name in entries if not isinstance(content, dict) or name not in content]
    if lacking:
        what = f"does not hold what a {file.name} holds ({', '.join(lacking)})"
        raise BackupMismatchError(f"The backup is damaged: “{file}” {what}.", suggestion="Resume from another backup.")
    return content  # type: ignore[no-any-return]

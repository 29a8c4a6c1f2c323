"""Write the results of a run: backups, intermediate saves, the final model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from onetrainer_gradio.commands import Stop
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.resolve import absolute
from onetrainer_gradio.config.machine import existing_ancestor, free_bytes
from onetrainer_gradio.config.paths.destinations import Destinations
from onetrainer_gradio.config.paths.marker import is_our_file
from onetrainer_gradio.config.paths.placement import protect_places
from onetrainer_gradio.engine import precision
from onetrainer_gradio.engine.backups import BackupWriter
from onetrainer_gradio.engine.ema import EMA
from onetrainer_gradio.engine.failures import FOREIGN, translate
from onetrainer_gradio.engine.files import flush_folder, size_bytes, timestamp
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.methods.method import Method
from onetrainer_gradio.engine.reporter import RunReporter
from onetrainer_gradio.engine.staging import free_name, put_in_place, staged, unused
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.errors import (
    DiskFullError,
    OutputExistsError,
    OutputProtectedError,
    StorageError,
    TrainerError,
)
from onetrainer_gradio.events import BackupCreated, BackupFailed, ErrorInfo, ModelSaved, SaveFailed, WarningIssued

WRITING = (*FOREIGN, StorageError)
"""The exceptions of writing a model to a full or broken disk."""
FOLDER_FORMATS = frozenset({"DIFFUSERS"})

# Seconds until a final save is retried on a full disk, and between two checks of the free space.
_RETRY_S, _LONGEST_RETRY_S, _LOOK_S = 1.0, 30.0, 0.5
# With this many more free bytes than before, another attempt is made.
_ROOM_BYTES = 1_000_000


def final_path(config: TrainConfig) -> Path:
    """Return the path of the result; in an existing folder, a single file is named by the time."""
    target = Path(config.output_model_destination)
    if target.is_dir() and config.output_model_format not in FOLDER_FORMATS:
        return unused(target / f"{config.save_filename_prefix}{timestamp()}.safetensors")
    return target


def protect(config: TrainConfig, options: RunOptions) -> None:
    """Raise an error before a run writes anything if its files would replace or be mixed with files that no run wrote.

    :raises OutputProtectedError: if its result would.
    :raises ConfigInvalidError: if a folder that it writes to is where it must not be, or a name leads to another folder.
    """
    protect_places(_copy(config), options)


def _copy(config: TrainConfig) -> TrainConfig:
    """Return a copy of the settings, because comparing paths doesn't count as reading a setting (``supported_settings``)."""
    return from_document(to_document(config, packed=True))[0]


def protect_existing(config: TrainConfig) -> None:
    """Raise an error if the settings forbid overwriting the result of another run.

    :raises OutputExistsError: if there is such a result.
    """
    target = final_path(config)
    if config.prevent_overwrites and os.path.lexists(target):
        raise OutputExistsError(
            f"The output file “{target}” already exists.",
            path="output_model_destination",
            value=str(target),
            expected="a new name",
            suggestion="Choose another Model output destination, or turn off Prevent overwrites.",
        )


def real_place(path: Path) -> Path:
    """Return the target of a link to a folder, which is replaced while the link stays, or else the path itself."""
    return path.resolve() if path.is_symlink() and path.is_dir() else path


@dataclass
class Outputs:
    """Write the results; a failure during the run is a warning, one at its end is an error."""

    config: TrainConfig
    method: Method
    backups: BackupWriter
    ema: EMA | None
    header: Header
    reporter: RunReporter
    options: RunOptions
    evaluated: Callable[[], AbstractContextManager[None]] = nullcontext
    """Gives the model the weights to save within a block, if they aren't those that are trained."""
    backed_up: dict[int, Path] = field(default_factory=dict)
    """The newest backup by its global step."""

    def back_up(self, state: TrainState) -> tuple[Path | None, str]:
        """Write a backup. Return its path or None, and the reason."""
        self.reporter.enter("backing_up")
        path = self.backups.path(state)
        try:
            self.backups.write(path, state)
        except WRITING as error:
            info = _info(error)
            self.reporter.report(BackupFailed(path=str(path), error=info))
            return None, info.message
        self.reporter.report(
            BackupCreated(
                path=str(path),
                global_step=state.global_step,
                epoch=state.epoch,
                epoch_step=state.epoch_step,
                bytes=size_bytes(path),
            )
        )
        self.backed_up = {state.global_step: path}
        return path, ""

    def back_up_once(self, state: TrainState) -> Path | None:
        """Return the backup of this step, which is written unless there is one already; None if it can't be written."""
        path = self.backed_up.get(state.global_step)
        return path if path is not None and path.is_dir() else self.back_up(state)[0]

    def save(self, state: TrainState) -> tuple[Path | None, str]:
        """Save the model during training. Return its path or None, and the reason."""
        extension = "" if self.config.output_model_format in FOLDER_FORMATS else ".safetensors"
        name = f"{self.config.save_filename_prefix}{timestamp()}-save-{state.name}{extension}"
        path = unused(Path(self.config.workspace_dir) / "save" / name)
        try:
            path = self._write(path, state, final=False)
        except WRITING as error:
            info = _info(error)
            self.reporter.report(SaveFailed(path=str(path), error=info))
            return None, info.message
        return path, ""

    def save_final(self, state: TrainState, backup: Path | None = None) -> Path:
        """Save the final model; ``backup`` is one of the same state. If it can't be written, it is saved to another disk, or
        the run waits for space.

        :raises StorageError: if it can't be written.
        """
        path = self._final_place()
        pauses, stopped = _growing(_RETRY_S, _LONGEST_RETRY_S), False
        while True:
            try:
                return self._write(path, state, final=True)
            except WRITING as error:
                failure = translate(error)
                if not isinstance(failure, StorageError):
                    raise
                rescued = self._rescued(path, state, failure)
                if rescued is not None:
                    return rescued
                if backup is not None:
                    suggestion = f"Free up space, then resume from the backup {backup}: the weights are in it."
                    raise type(failure)(failure.message, path=failure.path, value=failure.value, suggestion=suggestion) from error
                if stopped or not isinstance(failure, DiskFullError):
                    raise failure from error
                stopped = not self._room_appeared(path, next(pauses))  # tried once more even then: there may be room by now

    def _final_place(self) -> Path:
        """Return the path of the result: as configured, unless there is now something that must not be replaced."""
        path = final_path(self.config)
        destinations = Destinations.of_run(_copy(self.config), self.options)
        objection = destinations.objection()
        if objection is None:
            return path
        if objection.free:
            other = absolute(objection.free, destinations.base_folder)
        else:
            other = free_name(Path(self.config.workspace_dir) / "save" / path.name)
        self._moved(path, other, objection.message)
        return other

    def _moved(self, path: Path, other: Path, reason: str) -> None:
        text = f"{reason.rstrip('.')}. The final model is saved to {other} instead."
        self.reporter.warn(WarningIssued(code="output_moved", message=text, path=str(path)))

    def _rescued(self, path: Path, state: TrainState, failure: StorageError) -> Path | None:
        """Save the result elsewhere, because its path can't be written. Return the path, or None if that fails."""
        folders = [Path(self.config.workspace_dir) / "save"]
        if self.options.panel_folder:
            folders.append(Path(self.options.panel_folder) / "rescued")
        for folder in folders:
            if isinstance(failure, DiskFullError) and _same_disk(folder, path):
                continue
            other = free_name(folder / path.name) if os.path.lexists(folder / path.name) else folder / path.name
            try:
                written = self._write(other, state, final=True)
            except WRITING:
                continue
            self._moved(path, written, failure.message)
            return written
        return None

    def _room_appeared(self, path: Path, pause_s: float) -> bool:
        """Wait for space on the disk, so that the weights aren't lost. Return False if a stop comes first."""
        self.reporter.enter("saving", f"No space left on disk. Waiting for space to save {path.name}")
        text = (
            f"No space left on disk for the final model {path}. The run keeps the weights in memory and tries again until there "
            "is space. Free up space, or stop the run to give up the weights."
        )
        self.reporter.warn(WarningIssued(code="waiting_for_space", message=text, path=str(path)))
        before, give_up_at = free_bytes(path.parent) or 0, time.monotonic() + pause_s
        while time.monotonic() < give_up_at and (free_bytes(path.parent) or 0) < before + _ROOM_BYTES:
            if not self.reporter.control.wait(min(_LOOK_S, pause_s)):
                continue
            commands = self.reporter.control.take()
            for command in commands:
                if isinstance(command, Stop):
                    self.reporter.done(command)
                else:
                    self.reporter.refuse(command, "the run is waiting for disk space to save its result")
            if any(isinstance(command, Stop) for command in commands):
                return False
        return True

    def _write(self, path: Path, state: TrainState, *, final: bool) -> Path:
        """Write the model next to its path, then move it there. Return its path."""
        self.reporter.enter("saving")
        dtype = precision.DTYPES[self.config.output_dtype]
        path = real_place(path)
        with staged(path) as place, self.evaluated(), self.ema.applied() if self.ema else nullcontext():
            self.method.save(place, self.config.output_model_format, dtype, self.header)
            path = self._move_in(place, path)
            flush_folder(path.parent)  # a power cut right after the event keeps the file
            self.method.save_additional_files(path, dtype, self.header)
        self.reporter.report(ModelSaved(path=str(path), final=final, global_step=state.global_step, bytes=size_bytes(path)))
        return path

    def _move_in(self, place: Path, path: Path) -> Path:
        """Move a complete model to its path. Files there that aren't ours stay: a file is renamed, a folder is unchanged."""
        if place.is_dir():
            try:
                put_in_place(place, path)
            except OutputProtectedError as error:
                other = free_name(path)
                place.rename(other)
                self._moved(path, other, error.message)
                return other
            return path
        if path.is_dir():
            other = free_name(path)
            self._moved(path, other, f"{path} is a folder now")
            path = other
        elif path.is_symlink() or (path.is_file() and not is_our_file(path)):
            other = free_name(path)
            self._keep(path, other)
            text = f"{path} was not written by a run. It was renamed to {other.name}."
            self.reporter.warn(WarningIssued(code="output_kept", message=text, path=str(path)))
        os.replace(place, path)
        return path

    @staticmethod
    def _keep(path: Path, other: Path) -> None:
        try:
            if path.is_symlink():
                os.symlink(os.readlink(path), other)
            else:
                os.link(path, other)
        except OSError:  # a file system without such links
            path.rename(other)


def _growing(first: float, longest: float) -> Iterator[float]:
    while True:
        yield first
        first = min(2 * first, longest)


def _same_disk(one: Path, other: Path) -> bool:
    try:
        return existing_ancestor(one).stat().st_dev == existing_ancestor(other).stat().st_dev
    except OSError:
        return False


def _info(error: BaseException) -> ErrorInfo:
    known = translate(error)
    if isinstance(known, TrainerError):
        return ErrorInfo(type=type(known).__name__, message=known.message, path=known.path, suggestion=known.suggestion)
    return ErrorInfo(type=type(error).__name__, message=str(error))

"""What a run leaves behind: backups, intermediate saves, the final file."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine import precision
from onetrainer_gradio.engine.backups import BackupWriter
from onetrainer_gradio.engine.ema import MovingAverage
from onetrainer_gradio.engine.failures import FOREIGN, translate
from onetrainer_gradio.engine.files import size_bytes, timestamp
from onetrainer_gradio.engine.header import Header
from onetrainer_gradio.engine.methods.method import Method
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.engine.voice import Voice
from onetrainer_gradio.errors import OutputExistsError, StorageError, TrainerError
from onetrainer_gradio.events import BackupFailed, BackupMade, ErrorInfo, ModelSaved, SaveFailed

WRITING = (*FOREIGN, StorageError)
"""What writing a model raises when the disk is full or broken."""
FOLDER_FORMATS = frozenset({"DIFFUSERS"})


def final_path(config: TrainConfig) -> Path:
    """Where the result goes; in an existing folder, a single file is named by the time."""
    target = Path(config.output_model_destination)
    if target.is_dir() and config.output_model_format not in FOLDER_FORMATS:
        return target / f"{config.save_filename_prefix}{timestamp()}.safetensors"
    return target


def protect_existing(config: TrainConfig) -> None:
    """Refuses to overwrite the result of another run where the settings forbid it.

    :raises OutputExistsError: then.
    """
    target = final_path(config)
    if config.prevent_overwrites and target.exists():
        raise OutputExistsError(
            f"The output file '{target}' exists already.",
            path="output_model_destination",
            value=str(target),
            expected="a name that is free",
            change="the output file, or turn 'Protect existing files' off",
        )


@dataclass
class Outputs:
    """Writes them; a failure during the run is told and survived, one at its end is an error."""

    config: TrainConfig
    method: Method
    backups: BackupWriter
    ema: MovingAverage | None
    header: Header
    voice: Voice

    def back_up(self, state: TrainState) -> tuple[Path | None, str]:
        """Writes a backup; (its path or None, why not)."""
        self.voice.enter("backing_up")
        path = self.backups.path(state)
        try:
            self.backups.write(path, state)
        except WRITING as error:
            info = _info(error)
            self.voice.say(BackupFailed(path=str(path), error=info))
            return None, info.message
        self.voice.say(
            BackupMade(
                path=str(path),
                global_step=state.global_step,
                epoch=state.epoch,
                epoch_step=state.epoch_step,
                bytes=size_bytes(path),
            )
        )
        return path, ""

    def save(self, state: TrainState) -> tuple[Path | None, str]:
        """Saves the model in between; (its path or None, why not)."""
        extension = "" if self.config.output_model_format in FOLDER_FORMATS else ".safetensors"
        name = f"{self.config.save_filename_prefix}{timestamp()}-save-{state.name}{extension}"
        path = Path(self.config.workspace_dir) / "save" / name
        try:
            self._write(path, state, final=False)
        except WRITING as error:
            info = _info(error)
            self.voice.say(SaveFailed(path=str(path), error=info))
            return None, info.message
        return path, ""

    def save_final(self, state: TrainState) -> Path:
        """Saves the result.

        :raises StorageError: when it cannot be written.
        """
        path = final_path(self.config)
        self._write(path, state, final=True)
        return path

    def _write(self, path: Path, state: TrainState, *, final: bool) -> None:
        self.voice.enter("saving")
        dtype = precision.DTYPES[self.config.output_dtype]
        with self.ema.applied() if self.ema else nullcontext():
            self.method.save(path, self.config.output_model_format, dtype, self.header)
        self.voice.say(ModelSaved(path=str(path), final=final, global_step=state.global_step, bytes=size_bytes(path)))


def _info(error: BaseException) -> ErrorInfo:
    known = translate(error)
    if isinstance(known, TrainerError):
        return ErrorInfo(type=type(known).__name__, message=known.message, path=known.path, change=known.change)
    return ErrorInfo(type=type(error).__name__, message=str(error))

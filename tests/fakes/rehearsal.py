"""A backend that rehearses a run without torch: it loops, generates small images, backs up, and misbehaves on demand.

Named as ``tests.fakes.rehearsal:run``. Its behavior is set by ``RunOptions.tags`` of the form ``name=value``:

============== ======================================================================================================
steps          optimizer steps of the whole run (20)
step_s         seconds a step takes (0: as fast as it goes)
epoch_steps    steps of an epoch (10)
load_s         seconds of loading (0); cache_s the same for caching
sample_every   steps between two default samples (0: never)
backup_every   steps between two backups (0: never)
save_fails     the disk is full when the final model is saved (1)
write_s        seconds that a backup and the final save take (0)
fail_at        raise TrainerError (OutOfMemoryError) at this step; crash_at: ValueError; exit_at: os._exit(3);
               sysexit_at: SystemExit(4); fail_in: the phase (loading, caching) in which to raise
signal_at      STEP:NAME, end the own process by this signal, as 5:SIGSEGV
hang_at        do nothing and take no command from this step on; an interrupt ends it
deaf_at        like hang_at, and an interrupt has no effect
eat            take commands and never answer them (1)
eat_die        take a command and end by SIGKILL before it is answered (1)
nan_at         the loss of this step is NaN
hold           wait at step N until the file ``go`` is in the workspace
print          print a line each time after this many steps
weights        content of the model file (weights)
saved          content of the file of a save (that of ``weights``)
killed         end by SIGKILL once the final model is written (written), or once that is recorded (recorded), or not at all
               (never); a resumed run continues. The model file is complete
linger_s       seconds to stay after the end with a thread that does not end
============== ======================================================================================================
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import threading
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onetrainer_gradio.commands import (
    BackupNow,
    Command,
    Control,
    Pause,
    Resume,
    SampleCustom,
    SampleDefault,
    SaveNow,
    Stop,
)
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.errors import DiskFullError, OutOfMemoryError
from onetrainer_gradio.events import (
    BackupCreated,
    CommandCompleted,
    Emit,
    ModelSaved,
    Outcome,
    PhaseChanged,
    PhaseProgress,
    Resumed,
    RunPlanned,
    RunStarted,
    SampleGenerated,
    StepDone,
    tag,
)


def run(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Rehearse a run."""
    return _Rehearsal(config, emit, control, options).run()


class _Rehearsal:
    def __init__(self, config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> None:
        self.config, self.emit, self.control, self.options = config, emit, control, options
        self.behavior = dict(word.split("=", 1) for word in options.tags if "=" in word)
        self.workspace = Path(config.workspace_dir)
        self.steps = min(int(self.behavior.get("steps", 20)), options.max_steps or 10**9)
        self.epoch_steps = int(self.behavior.get("epoch_steps", 10))
        self.step = self.first = self._resume_step()
        self.stopping = self.paused = False
        self.samples = 0

    def number(self, name: str, default: float = -1) -> float:
        return float(self.behavior.get(name, default))

    def _resume_step(self) -> int:
        return int((Path(self.options.resume_from) / "step").read_text()) if self.options.resume_from else 0

    def run(self) -> Outcome:
        self.emit(RunStarted(backend="rehearsal", pid=os.getpid()))
        if self.first:
            self.emit(Resumed(path=self.options.resume_from, global_step=self.first))
        for phase in ("loading", "caching"):
            if not self.prepare(phase):
                return "stopped"
        self.plan()
        self.emit(PhaseChanged(phase="training"))
        while self.step < self.steps and not self.stopping:
            self.one_step()
            self.obey()
        return self.finish()

    def prepare(self, phase: str) -> bool:
        self.emit(PhaseChanged(phase=phase))
        if self.behavior.get("fail_in") == phase:
            raise OutOfMemoryError(f"No graphics memory is left for {phase}", suggestion="Lower the batch size.")
        seconds = self.number("load_s" if phase == "loading" else "cache_s", 0)
        parts = max(1, int(seconds / 0.02))
        for part in range(parts):
            self.emit(PhaseProgress(phase=phase, done=part + 1, total=parts))
            if self.control.stop_requested():
                self.obey()
                return False
            time.sleep(seconds / parts)
        return True

    def plan(self) -> None:
        epochs = math.ceil(self.steps / self.epoch_steps)
        self.emit(
            RunPlanned(
                total_steps=self.steps,
                steps_per_epoch=self.epoch_steps,
                total_updates=self.steps,
                epochs=epochs,
                first_step=self.first,
                images=self.epoch_steps,
                trainable_parameters=1234,
                learning_rates=("unet", "text_encoder"),
            )
        )

    def one_step(self) -> None:
        step, seconds = self.step, self.number("step_s", 0)
        self.misbehave(step)
        if seconds:
            time.sleep(seconds)
        self.step += 1
        loss = math.nan if self.number("nan_at") == step else 1 / (1 + step)
        self.emit(
            StepDone(
                update_step=self.step,
                global_step=self.step,
                epoch=self.step // self.epoch_steps,
                epoch_step=self.step % self.epoch_steps,
                epoch_sample=self.step % self.epoch_steps,
                loss=loss,
                smooth_loss=loss,
                grad_norm=0.5,
                learning_rates=(1e-4, 1e-5),
                seconds=seconds or 1e-4,
                images=1,
            )
        )
        if (every := int(self.number("print", 0))) and self.step % every == 0:
            print(f"step {self.step}", flush=True)
        if (every := int(self.number("sample_every", 0))) and self.step % every == 0:
            self.sample("default", "")
        if (every := int(self.number("backup_every", 0))) and self.step % every == 0:
            self.backup()

    def misbehave(self, step: int) -> None:
        if step == self.number("fail_at"):
            raise OutOfMemoryError("The graphics memory is used up", path="batch_size", suggestion="Lower the batch size.")
        if step == self.number("crash_at"):
            raise ValueError("something nobody thought of")
        if step == self.number("exit_at"):
            os._exit(3)
        if step == self.number("sysexit_at"):
            raise SystemExit(4)
        at, _, name = self.behavior.get("signal_at", "").partition(":")
        if at and step == int(at):
            os.kill(os.getpid(), getattr(signal, name))
        if step == self.number("deaf_at"):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        while step in (self.number("hang_at"), self.number("deaf_at")):
            threading.Event().wait(0.05)
        if step == self.number("hold"):
            while not (self.workspace / "go").exists() and not self.stopping and not self.control.stop_requested():
                self.obey()
                time.sleep(0.01)

    def obey(self) -> None:
        while True:
            for command in self.control.take():
                if "eat_die" in self.behavior:
                    os.kill(os.getpid(), signal.SIGKILL)
                if "eat" not in self.behavior:
                    self.answer(command)
            if not self.paused or self.stopping:
                return
            self.control.wait(1.0)

    def answer(self, command: Command) -> None:
        outcome, reason, result = "done", "", ""
        match command:
            case Stop():
                self.stopping = True
                self.emit(PhaseChanged(phase="stopping"))
            case Pause():
                self.paused = True
                self.emit(PhaseChanged(phase="paused"))
            case Resume() if self.paused:
                self.paused = False
                self.emit(PhaseChanged(phase="training"))
            case Resume():
                outcome, reason = "refused", "The run is not paused."
            case SampleDefault():
                result = self.sample("default", command.id)
            case SampleCustom():
                result = self.sample("custom", command.id, command.params)
            case BackupNow():
                result = self.backup()
            case SaveNow():
                result = self.save(final=False)
        self.emit(
            CommandCompleted(command_id=command.id, command=tag(type(command)), outcome=outcome, reason=reason, result=result)
        )

    def after(self) -> None:
        self.emit(PhaseChanged(phase="paused" if self.paused else "stopping" if self.stopping else "training"))

    def sample(self, kind: str, command_id: str, params: Mapping[str, Any] = MappingProxyType({"prompt": "a red square"})) -> str:
        self.emit(PhaseChanged(phase="sampling"))
        path = self.workspace / "samples" / f"{self.samples:04d}-{self.step}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(32, 24, (min(255, 10 * self.step), 80, 160)))
        self.samples += 1
        self.emit(
            SampleGenerated(
                path=str(path),
                kind="custom" if kind == "custom" else "default",
                index=0,
                prompt=str(params.get("prompt", "")),
                negative_prompt="",
                width=32,
                height=24,
                seed=42,
                diffusion_steps=params.get("diffusion_steps", 20),
                cfg_scale=params.get("cfg_scale", 7.0),
                noise_scheduler=params.get("noise_scheduler", "DDIM"),
                global_step=self.step,
                epoch=self.step // self.epoch_steps,
                epoch_step=self.step % self.epoch_steps,
                seconds=0.01,
                command_id=command_id,
            )
        )
        self.after()
        return str(path)

    def backup(self) -> str:
        self.emit(PhaseChanged(phase="backing_up"))
        time.sleep(self.number("write_s", 0))
        folder = self.workspace / "backup" / f"backup-{self.step}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "step").write_text(str(self.step))
        progress = {"epoch": 0, "epoch_step": 0, "epoch_sample": 0, "global_step": self.step}
        (folder / "meta.json").write_text(json.dumps({"train_progress": progress}))
        if self.config.training_method == "LORA":
            (folder / "lora").mkdir(exist_ok=True)
            (folder / "lora" / "lora.safetensors").write_bytes(b"adapter")
        self.emit(BackupCreated(path=str(folder), global_step=self.step, epoch=0, epoch_step=0, bytes=1))
        self.after()
        return str(folder)

    def save(self, *, final: bool) -> str:
        self.emit(PhaseChanged(phase="saving"))
        time.sleep(self.number("write_s", 0))
        path = Path(self.config.output_model_destination) if final else self.workspace / "save" / f"save-{self.step}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        if final and "save_fails" in self.behavior:
            raise DiskFullError("No space left on disk", path="output_model_destination", value=str(path))
        weights = self.behavior.get("weights" if final else "saved", self.behavior.get("weights", "weights")).encode()
        killed = self.behavior.get("killed") if final else None
        path.write_bytes(whole_model() if killed else weights)
        if killed == "written" and not self.first:
            os.kill(os.getpid(), signal.SIGKILL)
        self.emit(ModelSaved(path=str(path), final=final, global_step=self.step, bytes=len(weights)))
        if killed == "recorded" and not self.first:
            os.kill(os.getpid(), signal.SIGKILL)
        if not final:
            self.after()
        return str(path)

    def finish(self) -> Outcome:
        if self.config.backup_before_save:
            self.backup()
        self.save(final=True)
        if linger := self.number("linger_s", 0):
            threading.Thread(target=time.sleep, args=(linger,)).start()
        return "stopped" if self.stopping else "completed"


def whole_model() -> bytes:
    """A model file that nothing is wrong with, of one tiny tensor."""
    head = json.dumps({"weight": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(head)) + head + b"\1\2\3\4"


def png(width: int, height: int, color: tuple[int, int, int]) -> bytes:
    """Return an image of one color."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(color) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

"""Run the training process: ``python -P -m onetrainer_gradio.service.processes.worker RUN_FOLDER``.

It reads the frozen configuration, executes the run, and writes journal and metrics. One thread next to the training touches the
heartbeat, reads commands, and writes the metrics, so that the training loop does none of this.

If the run's options allow it and the backend has something worth keeping loaded, the process then waits: its supervisor
writes the folder of the next run as one line to its standard input, or closes it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from onetrainer_gradio.backends import execute_run
from onetrainer_gradio.backends.keep_loaded import KeepLoaded
from onetrainer_gradio.commands import BackupNow, Command, Stop
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.events import Emit, Outcome, PhaseChanged
from onetrainer_gradio.service.host import process
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.processes.handover import HandOver
from onetrainer_gradio.service.runs.cause import UNRECORDED_COMPLETED, UNRECORDED_FAILED, UNRECORDED_STOPPED
from onetrainer_gradio.service.runs.control import CommandFolder, FileControl
from onetrainer_gradio.service.runs.file_preserver import keep_before_replacing
from onetrainer_gradio.service.runs.recorder import Recorder
from onetrainer_gradio.service.runs.run_folder import FolderWatch

POLL_EVERY_S = 0.1
HEARTBEAT_EVERY_S = 1.0
TOKEN_VARIABLE = "HF_TOKEN"
_UNRECORDED: dict[Outcome | None, int] = {
    "completed": UNRECORDED_COMPLETED,
    "stopped": UNRECORDED_STOPPED,
    None: UNRECORDED_FAILED,
}


class Heartbeat:
    """The thread next to the training."""

    def __init__(self, folder: Path, control: FileControl, recorder: Recorder, final_commands: Sequence[Command] = ()) -> None:
        self._watch = FolderWatch(folder)
        self._final_commands = tuple(final_commands)
        self._heartbeat = folder / "heartbeat"
        self._control = control
        self._recorder = recorder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the heartbeat."""
        self._thread.start()

    def stop(self) -> None:
        """Stop it and wait for its end."""
        self._done.set()
        self._thread.join(timeout=5.0)
        self._watch.close()

    def _beat(self) -> None:
        beat_at = 0.0
        while not self._done.wait(POLL_EVERY_S):
            self._control.poll(self._recorder)
            self._recorder.flush(force=False)
            if time.monotonic() - beat_at >= HEARTBEAT_EVERY_S:
                beat_at = time.monotonic()
                if not self._watch.gone():
                    _touch(self._heartbeat)
                elif self._final_commands:
                    print("The run's folder no longer exists. The run writes a backup and ends.", file=sys.stderr, flush=True)
                    self._control.put(*self._final_commands)
                    self._final_commands = ()


def final_commands(config: TrainConfig) -> tuple[Command, ...]:
    """Return the commands for a run whose folder is gone: stop, after a backup if the end doesn't write one anyway."""
    stop = Stop(by="the run's folder no longer exists")
    return (stop,) if config.backup_before_save else (BackupNow(by=stop.by), stop)


def _touch(path: Path) -> None:
    try:
        path.touch()
    except OSError:  # a full disk: the process ID also shows that this process is alive
        return


def load_run(folder: Path) -> tuple[TrainConfig, RunOptions]:
    """Return the frozen configuration of a run, with the secrets of this process, and its options."""
    config, _ = from_document(read_json(folder / "config.json") or {})
    record = read_json(folder / "run.json") or {}
    return with_token(config, os.environ.get(TOKEN_VARIABLE, "")), RunOptions(**record.get("options", {}))


def with_token(config: TrainConfig, token: str) -> TrainConfig:
    """Return the configuration with the Hugging Face token, which is never written to a file."""
    if not token:
        return config
    secrets = config.secrets.model_copy(update={"huggingface_token": token})
    return config.model_copy(update={"secrets": secrets})


def preparation(folder: Path, config: TrainConfig, emit: Emit) -> Callable[[], None]:
    """Return the preparation of a run before its backend starts: keep the result of an earlier run at its destination."""

    def report(text: str) -> None:
        emit(PhaseChanged(phase="starting", detail=text))

    return lambda: keep_before_replacing(folder, config, report)


def work(folder: Path, keep_loaded: KeepLoaded) -> int:
    """Execute the run of ``folder`` in this process and return the exit status, which shows how it ended.

    The loaded backend is in ``keep_loaded`` afterwards, if the run's options allow it.
    """
    config, options = load_run(folder)
    control = FileControl(CommandFolder(folder))
    recorder = Recorder(folder, control.received)
    heartbeat = Heartbeat(folder, control, recorder, final_commands(config))
    heartbeat.start()
    try:
        stays = keep_loaded if options.keep_loaded_s else None
        outcome = execute_run(
            options.backend, config, recorder, control, options, keep_loaded=stays, before=preparation(folder, config, recorder)
        )
    finally:
        heartbeat.stop()
        recorder.close()
    if recorder.ended:
        return 0 if outcome else 1
    return _UNRECORDED[outcome]


def main(arguments: list[str]) -> int:
    """Execute the run folder given as the only argument. Return 0 if the run was completed or stopped."""
    # a parent that ignores Ctrl-C (nohup, our supervisor) hands that on; the stop escalation needs it to work here
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "SIGBREAK"):
        signal.signal(signal.SIGBREAK, signal.default_int_handler)
    supervisor = private_input()
    folder: Path | None = Path(arguments[0]).absolute()
    keep_loaded = KeepLoaded()
    status = 0
    while folder is not None:
        write_json(folder / "worker.json", process.ProcessIdentity.of(os.getpid()).as_dict(), durable=False)
        status = work(folder, keep_loaded)
        recorded = status not in _UNRECORDED.values()  # else the supervisor does it, once we are gone
        folder = next_folder(folder, supervisor) if recorded and keep_loaded.holds() else None
    keep_loaded.close()
    return status


def private_input() -> TextIO:
    """Reserve standard input for this module; other readers find it empty instead of the supervisor's messages."""
    supervisor = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return supervisor


def next_folder(folder: Path, supervisor: TextIO) -> Path | None:
    """Wait for the run after that of ``folder``, whose console log becomes this process's. Return None if there is none."""
    _, options = load_run(folder)
    try:
        HandOver(folder).park(options.keep_loaded_s or 0.0)
    except OSError as error:  # the panel wouldn't see that this process waits
        print(f"The training process is not kept loaded: {error}", file=sys.stderr, flush=True)
        return None
    line = supervisor.readline().strip()
    if not line:
        return None
    log = os.open(Path(line) / "console.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for output in (1, 2):
        os.dup2(log, output)
    os.close(log)
    return Path(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run the demo from end to end: evaluation, the preset's run in a separate process, evaluation again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.commands import Command
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.documents import from_document, read_file, to_document, write_file
from onetrainer_gradio.config.files.presets import DEMO_PRESET, load_preset
from onetrainer_gradio.config.files.resolve import resolve_paths
from onetrainer_gradio.demo import DEMO_FOLDER
from onetrainer_gradio.demo.evaluate import Evaluation, evaluate_file
from onetrainer_gradio.events import Event, SampleGenerated, StepDone, encode, tag

CONFIG_FILE = "end_to_end.json"
EVENTS_FILE = "events.jsonl"


class NoCommands:
    """A control without commands."""

    def take(self) -> tuple[Command, ...]:
        """Return nothing."""
        return ()

    def stop_requested(self) -> bool:
        """Return False."""
        return False

    def wait(self, timeout_s: float) -> bool:
        """Wait for the timeout."""
        time.sleep(timeout_s)
        return False


@dataclass(frozen=True)
class Times:
    """Seconds since the start of the run's process.

    ``first_sample``: the first sample during training. ``first_step``: the first optimizer step.
    ``total``: the file is saved and the run has ended.
    """

    first_step: float
    first_sample: float
    total: float


@dataclass(frozen=True)
class EndToEndResult:
    """The results of one run of the demo.

    ``clock``: wall-clock times. ``processor``: CPU times of the run's threads. A tiny model trains with one thread, so on an
    idle machine both are about equal; on a busy one, wall-clock times are longer.
    """

    seed: int
    before: Evaluation
    after: Evaluation
    adapter: Path
    steps: int
    clock: Times
    processor: Times


def prepare(folder: Path, *, changes: dict[str, Any] | None = None) -> Path:
    """Write the demo's configuration for a run with relative paths in ``folder``. Return the path of the LoRA."""
    config, _ = from_document(load_preset(DEMO_PRESET) | (changes or {}))
    config = resolve_paths(config, folder)
    write_file(folder / CONFIG_FILE, to_document(config, packed=True))
    return Path(config.output_model_destination)


def train(folder: Path, seed: int) -> None:
    """Run the prepared configuration in this process; events go to a file, one per line."""
    from onetrainer_gradio.engine import run  # torch and its kin only in the process that trains

    config, _ = from_document(read_file(folder / CONFIG_FILE))
    with (folder / EVENTS_FILE).open("w", encoding="utf-8", buffering=1) as file:

        def emit(event: Event) -> None:
            file.write(json.dumps({**encode(event), "processor_s": time.process_time()}) + "\n")

        run(config, emit, NoCommands(), RunOptions(seed=seed))


def events_of(folder: Path) -> list[dict[str, Any]]:
    """Return the events that a run has written, in order."""
    return [json.loads(line) for line in (folder / EVENTS_FILE).read_text(encoding="utf-8").splitlines()]


def run_end_to_end(
    folder: Path, *, seed: int = 42, evaluation_seed: int = 1000, changes: dict[str, Any] | None = None
) -> EndToEndResult:
    """Run the demo once in an empty folder; the trained LoRA is at ``EndToEndResult.adapter`` afterwards.

    :raises subprocess.CalledProcessError: if the run fails; its output is in ``console.log`` in the folder.
    """
    before = evaluate_file(seed=evaluation_seed)
    adapter = prepare(folder, changes=changes)
    started = time.time()
    with (folder / "console.log").open("w", encoding="utf-8") as console:
        subprocess.run(
            [sys.executable, "-m", "onetrainer_gradio.demo.end_to_end", str(folder), str(seed)],
            check=True,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # threads that wait by spinning keep a shared machine from working; the builtin backend sets this, too
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONPATH": str(DEMO_FOLDER.parent.parent)},
        )
    total = time.time() - started
    events = events_of(folder)
    steps = [event for event in events if event["type"] == tag(StepDone)]
    sample = next(event for event in events if event["type"] == tag(SampleGenerated))
    return EndToEndResult(
        seed,
        before,
        evaluate_file(adapter, seed=evaluation_seed),
        adapter,
        len(steps),
        Times(steps[0]["at"] - started, sample["at"] - started, total),
        Times(steps[0]["processor_s"], sample["processor_s"], events[-1]["processor_s"]),
    )


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]))

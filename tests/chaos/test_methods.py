"""The built-in engine is killed at any moment of a run with each kind of
method: its files are complete, and the run can be resumed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onetrainer_gradio.config.resume import backups_in
from onetrainer_gradio.service.host.module_process import child_environment
from tests.chaos.conftest import ROUNDS
from tests.chaos.test_engine import whole
from tests.golden.cases import EMBEDDING, PEFTS, Case, _full, _lora, write_data
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

TYPE = "STABLE_DIFFUSION_15"
KINDS = {
    "loha": _lora(TYPE) | PEFTS["loha"],
    "embedding": EMBEDDING | {"text_encoder.train_embedding": True},
    "fine tune": _full(TYPE),
}
PHASES = ("caching", "training", "backing_up", "saving")
STEPS = 6
OFTEN = {"backup_after": 2, "backup_after_unit": "STEP", "save_every": 3, "save_every_unit": "STEP", "backup_before_save": True}

# Loads the engine once, then forks for each run that a line on its input describes.
FORKS = """
import json, os, signal, sys, traceback
from onetrainer_gradio import engine
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.engine import training
from onetrainer_gradio.engine.lean_imports import unused_omitted
from onetrainer_gradio.events import PhaseChanged
from tests.engine.recording import FakeControl
with unused_omitted():
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

def train(file, steps, output, errors):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    output = open(output, "w")
    def emit(event):
        if isinstance(event, PhaseChanged):
            print(event.phase, file=output, flush=True)
    config, _ = from_document(json.load(open(file)))
    options = RunOptions(max_steps=steps, unfinished=config.continue_last_backup)  # as the panel sets it after a kill
    print(engine.run(config, emit, FakeControl(), options), file=output, flush=True)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    try:
        train(*json.loads(line))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)
"""


@pytest.fixture(scope="module")
def forks() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", FORKS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=child_environment()
    ) as process:
        yield process
        process.kill()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def run(
    forks: subprocess.Popen[str], folder: Path, document: dict[str, object], phase: str = "", delay_s: float = 0
) -> list[str]:
    """Train, and kill the process some time after it enters a phase. Return its phases, and how it ended if it wasn't killed."""
    file, output = folder / "config.json", folder / "phases.log"
    file.write_text(json.dumps(document))
    output.write_text("")
    assert forks.stdin is not None
    assert forks.stdout is not None
    print(json.dumps([str(file), STEPS, str(output), str(folder / "errors.log")]), file=forks.stdin, flush=True)
    pid = int(forks.stdout.readline())
    until(lambda: phase in output.read_text().split() or not alive(pid), 300)
    if phase in output.read_text().split():
        time.sleep(delay_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), 300)
    return output.read_text().split()


def results(folder: Path) -> list[Path]:
    """Return the weights that the run finished: of valid backups, saves, and the final model."""
    backups = backups_in(folder / "workspace", whole=True)
    places = [*backups, folder / "workspace" / "save", folder / "out"]
    return [file for place in places for file in place.rglob("*.safetensors") if not _hidden(file, folder)]


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_moment_and_resumed(kind, tally, forks, tmp_path):
    """Each file of a backup, save or model is complete after the kill; the next run completes, from the last backup if any."""
    from tests.models.tiny import write_model

    model, images = write_model(TYPE, tmp_path / "model"), write_data(tmp_path / "images")
    for number in range(max(1, ROUNDS // 2)):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        document = Case(TYPE, kind, KINDS[kind]).document(model, images, folder) | OFTEN
        phase = random.choice(PHASES)
        reached = run(forks, folder, document, phase, random.uniform(0, 0.3))
        tally.check("unreachable", phase in reached, phase)
        for file in results(folder):
            tally.check("torn", whole(file.read_bytes()), file.relative_to(folder))
        backups = backups_in(folder / "workspace", whole=True)
        resumed = document | {"continue_last_backup": bool(backups)}
        output = run(forks, folder, resumed)
        tally.check("unreachable", output[-1:] == ["completed"], f"{phase}: {(folder / 'errors.log').read_text()[-500:]}")
        files = results(folder)
        tally.check("lost", any((folder / "out") in file.parents for file in files), "the final model")
        for file in files:
            tally.check("torn", whole(file.read_bytes()), file.relative_to(folder))

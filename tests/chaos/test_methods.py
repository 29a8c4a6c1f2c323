"""The built-in engine is killed at any moment of a run with each kind of
method: its files are complete, and the run can be resumed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onetrainer_gradio.config.resume import backups_in
from onetrainer_gradio.service.host.module_process import child_environment
from tests.chaos.conftest import ROUNDS
from tests.chaos.test_engine import whole
from tests.golden.cases import EMBEDDING, PEFTS, Case, _full, _lora, write_data

pytestmark = pytest.mark.slow

TYPE = "STABLE_DIFFUSION_15"
KINDS = {
    "loha": _lora(TYPE) | PEFTS["loha"],
    "embedding": EMBEDDING | {"text_encoder.train_embedding": True},
    "fine tune": _full(TYPE),
}
PHASES = ("caching", "training", "backing_up", "saving")
STEPS = 6
OFTEN = {"backup_after": 2, "backup_after_unit": "STEP", "save_every": 3, "save_every_unit": "STEP", "backup_before_save": True}

CHILD = """
import json, sys
from onetrainer_gradio import engine
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.events import PhaseChanged
from tests.engine.recording import FakeControl
def emit(event):
    if isinstance(event, PhaseChanged):
        print(event.phase, flush=True)
config, _ = from_document(json.load(open(sys.argv[1])))
options = RunOptions(max_steps=int(sys.argv[2]), unfinished=config.continue_last_backup)  # as the panel says after a kill
print(engine.run(config, emit, FakeControl(), options), flush=True)
"""


def start(folder: Path, document: dict[str, object]) -> subprocess.Popen[str]:
    file = folder / "config.json"
    file.write_text(json.dumps(document))
    command = [sys.executable, "-c", CHILD, str(file), str(STEPS)]
    log = (folder / "errors.log").open("a")
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=Path(__file__).parents[2], env=child_environment()
    )


def killed(child: subprocess.Popen[str], phase: str, delay_s: float) -> bool:
    """Kill it some time after it enters a phase; return False if it ended before."""
    assert child.stdout is not None
    with child:
        for line in child.stdout:
            if line.strip() == phase:
                time.sleep(delay_s)
                child.kill()
                return True
    return False


def results(folder: Path) -> list[Path]:
    """Return the weights that the run finished: of valid backups, saves, and the final model."""
    backups = backups_in(folder / "workspace", whole=True)
    places = [*backups, folder / "workspace" / "save", folder / "out"]
    return [file for place in places for file in place.rglob("*.safetensors") if not _hidden(file, folder)]


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_moment_and_resumed(kind, tally, tmp_path):
    """Each file of a backup, save or model is complete after the kill; the next run completes, from the last backup if any."""
    from tests.models.tiny import write_model

    model, images = write_model(TYPE, tmp_path / "model"), write_data(tmp_path / "images")
    for number in range(max(1, ROUNDS // 2)):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        document = Case(TYPE, kind, KINDS[kind]).document(model, images, folder) | OFTEN
        phase = random.choice(PHASES)
        tally.check("unreachable", killed(start(folder, document), phase, random.uniform(0, 0.3)), phase)
        for file in results(folder):
            tally.check("torn", whole(file.read_bytes()), file.relative_to(folder))
        backups = backups_in(folder / "workspace", whole=True)
        resumed = document | {"continue_last_backup": bool(backups)}
        child = start(folder, resumed)
        said, _ = child.communicate(timeout=300)
        tally.check("unreachable", said.split()[-1:] == ["completed"], f"{phase}: {(folder / 'errors.log').read_text()[-500:]}")
        files = results(folder)
        tally.check("lost", any((folder / "out") in file.parents for file in files), "the final model")
        for file in files:
            tally.check("torn", whole(file.read_bytes()), file.relative_to(folder))

"""The built-in engine with a tiny model is killed around its saves: results of earlier runs stay, and no partial file does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import struct
import time
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.presets import DEMO_PRESET
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.trainer import TrainerService
from tests.chaos.conftest import ROUNDS
from tests.chaos.panels import end_all, ended, identities, leftovers, panel, until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


def started(service: TrainerService, folder: Path) -> Run:
    """Start a run of the demo's model with only the first concept and no samples, so that it saves soon."""
    current = service.configs.current()
    revision, concepts = current.revision, current.config["concepts"]
    changes = {
        "concepts": concepts[:1],
        "samples": [],
        "workspace_dir": str(folder / "workspace"),
        "cache_dir": str(folder / "cache"),
        "output_model_destination": str(folder / "models" / "lora.safetensors"),
        "validation": False,
    }
    service.configs.patch(changes, revision)
    return service.runs.get(service.start(None, RunOptions(name="demo", max_steps=2, backend="builtin")))


def model_of(run: Run) -> bytes:
    file = next(item for item in run.files() if item["kind"] == "model")
    return run.open_file(file["id"]).path.read_bytes()


def whole(content: bytes) -> bool:
    """Return whether these are all bytes of a safetensors file."""
    size = struct.unpack("<Q", content[:8])[0] if len(content) > 8 else 0
    return bool(size) and content[8 : 8 + size].strip().endswith(b"}")


def test_killed_around_the_final_save(tally, tmp_path):
    """The second of three runs with the same settings is killed while saving; the first one's result stays byte for byte."""
    for number in range(max(1, ROUNDS // 2)):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        try:
            with panel(folder, backend="builtin", demo=True, keep_loaded_s=60.0) as service:
                assert service.configs.name() == DEMO_PRESET
                first = started(service, folder)
                assert until(lambda service=service: ended(service.get_state()), 120)
                assert first.state()["end_reason"] == "completed", first.state()["error"]
                content = model_of(first)
                target = folder / "models" / "lora.safetensors"
                second = started(service, folder)
                saving = until(lambda second=second: second.state()["phase"] in {"backing_up", "saving"} or second.ended(), 120)
                time.sleep(random.uniform(0, 0.15))
                for each in identities(second.folder).values() if saving else ():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each.pid, signal.SIGKILL)
                tally.check("unstopped", until(lambda service=service: ended(service.get_state())), "the killed run")
                tally.check(
                    "lost", hashlib.sha256(model_of(first)).digest() == hashlib.sha256(content).digest(), "the first result"
                )
                tally.check("torn", target.exists() and whole(target.read_bytes()), "the file at the destination")
                third = started(service, folder)
                tally.check("unstopped", until(lambda service=service: ended(service.get_state()), 120), "the third run")
                tally.check("mislabelled", third.state()["end_reason"] == "completed", third.state()["error"])
                tally.check("lost", model_of(first) == content, "the first result after the third run")
                tally.check("torn", whole(model_of(third)), "the third result")
                tally.check("stray", not leftovers(folder), leftovers(folder))
        finally:
            end_all(folder)

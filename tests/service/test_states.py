"""A run of the built-in engine reports every state in order and under its name."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import get_args

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.events import Phase
from onetrainer_gradio.service.runs.record import Run
from tests.golden.cases import Case, _lora, write_data
from tests.service.conftest import MakeService
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

TYPE = "STABLE_DIFFUSION_15"
MODEL = Path(__file__).parents[1] / "fixtures" / "golden" / "model"
PROMPT = {"prompt": "a red square", "width": 64, "height": 64, "diffusion_steps": 1}


def phases(run: Run) -> list[str]:
    """Return the states in the journal, without repetitions."""
    seen = [entry.body["phase"] for entry in run.journal.since(0, 10_000, only=("phase_changed",))]
    return [phase for phase, _ in itertools.groupby(seen)]


@pytest.mark.parametrize("in_process", [True, False])
def test_each_state_has_its_turn(make_service: MakeService, tmp_path: Path, in_process: bool) -> None:
    """The order is queued, starting, loading, caching, then what every second
    step requests, paused, stopping, saving, and one end.
    """
    service = make_service(in_process=in_process, backend="builtin")
    document = Case(TYPE, "plain", _lora(TYPE)).document(MODEL, write_data(tmp_path / "data"), tmp_path / "run")
    every = dict.fromkeys(("sample_after", "backup_after", "save_every", "validate_after"), 2)
    document |= every | {f"{name}_unit": "STEP" for name in every} | {"validation": True, "samples": [PROMPT]}
    document |= {"backup_before_save": True, "epochs": 1000}
    document["concepts"].append(document["concepts"][0] | {"name": "validation", "type": "VALIDATION"})
    service.queue.pause()
    item = service.enqueue(from_document(document)[0], RunOptions())["id"]
    assert service.queue.get(item)["state"] == "waiting"
    service.queue.resume()
    until(lambda: service.get_state()["update_step"] >= 3)
    run = service.runs.get(service.queue.get(item)["run_id"])
    service.pause_training()
    until(lambda: service.get_state()["phase"] == "paused")
    service.stop_training()
    until(lambda: service.queue.get(item)["state"] == "stopped" and run.ended())
    seen = phases(run)
    first = ["starting", "loading", "caching", "sampling", "training", "validating", "backing_up", "saving", "training"]
    assert seen[: len(first)] == first
    last = seen[seen.index("paused") :]
    assert [phase for phase in last if phase != "backing_up"] == ["paused", "stopping", "saving"]  # no second backup of one step
    assert {"queued", *seen} == set(get_args(Phase))  # it was queued before it had a journal
    assert [entry.body["reason"] for entry in run.journal.since(0, 10_000, only=("run_ended",))] == ["stopped"]

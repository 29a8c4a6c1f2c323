"""The built-in engine stays loaded between runs: the next one starts without imports, with the same results."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.trainer import TrainerService
from tests.engine.conftest import GOLDEN, configuration
from tests.service.conftest import PATIENCE_S, MakeService, ended
from tests.service.test_recovery import bodies, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


def trained(service: TrainerService, folder: Path, number: int, **changes: object) -> Run:
    recorded = json.loads((GOLDEN / "run.json").read_text())
    config = configuration(folder, recorded, GOLDEN / "data", epochs=1, **changes)
    config = config.model_copy(update={"output_model_destination": str(folder / f"{number}.safetensors")})
    run = service.runs.get(service.start(config, RunOptions(name=f"run {number}", backend="builtin")))
    service.wait_for(ended, PATIENCE_S)
    return run


def seconds_to_training(run: Run) -> float:
    began = bodies(run, "run_started")[0]["at"]
    return next(float(body["at"]) for body in bodies(run, "phase_changed") if body["phase"] == "training") - float(began)


def test_the_next_run_begins_in_the_same_process(make_service: MakeService, tmp_path: Path) -> None:
    """It starts sooner than the first, which imported everything; its result is the same; unloading ends the process."""
    service = make_service(in_process=False, keep_loaded_s=60.0)
    first, second = (trained(service, tmp_path, number) for number in (1, 2))
    assert bodies(first, "run_started")[0]["pid"] == bodies(second, "run_started")[0]["pid"]
    one, other = (load_file(tmp_path / f"{number}.safetensors") for number in (1, 2))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert seconds_to_training(second) < seconds_to_training(first)
    assert service.get_state()["loaded_until"] > time.time()
    assert service.unload()
    service.wait_for(lambda state: state["loaded_until"] is None and ended(state), PATIENCE_S)
    wait_until(lambda: not service.get_state()["process_running"])


def test_after_an_error_nothing_stays_loaded(make_service: MakeService, tmp_path: Path) -> None:
    """The error may have left the device unusable."""
    service = make_service(in_process=False, keep_loaded_s=60.0)
    run = trained(service, tmp_path, 1, mse_strength=1e38)
    assert bodies(run, "run_ended")[0]["reason"] == "failed"
    assert service.get_state()["loaded_until"] is None

"""Where the results of a run belong, over REST. Covers ``service/take_away.py``."""

from __future__ import annotations

import numpy
import pytest
from safetensors.numpy import save_file

pytestmark = pytest.mark.slow


def test_a_result_comes_with_the_programs_that_read_it(panel) -> None:
    """The rehearsal's model has other names than the type's: every program has a problem; a sample is no model."""
    run_id = panel.finished(steps=2)
    files = panel.client.get(f"/api/runs/{run_id}/files").json()["files"]
    model = next(file for file in files if file["kind"] == "model")
    told = panel.client.get(f"/api/runs/{run_id}/files/{model['id']}/programs").json()
    assert told["path"] == model["written_to"]
    assert [program["key"] for program in told["programs"]] == ["comfyui", "forge", "diffusers", "onetrainer"]
    assert all(program["reads"] is not bool(program["problem"]) for program in told["programs"])
    assert panel.client.get(f"/api/runs/{run_id}/files/99999/programs").status_code == 404


def test_the_path_is_that_of_the_kept_file_once_another_run_replaced_the_output(panel) -> None:
    run_id = panel.finished(steps=2)
    run = panel.service.runs.get(run_id)
    model = next(file for file in run.files() if file["kind"] == "model")
    save_file({"other.weight": numpy.ones(3, numpy.float32)}, model["written_to"])
    told = panel.client.get(f"/api/runs/{run_id}/files/{model['id']}/programs").json()
    assert told["path"].startswith(str(run.folder))

"""The service, with runs on a thread."""

from __future__ import annotations

from pathlib import Path

from onetrainer_gradio.config import RunOptions
from tests.fakes.configs import small_config
from tests.service.conftest import PATIENCE_S, MakeService, ended


def test_run_from_start_to_end(make_service: MakeService, tmp_path: Path) -> None:
    """A run that is started ends as completed, with its model named and its steps counted."""
    service = make_service()
    run_id = service.start(small_config(tmp_path), RunOptions(name="first", tags=("steps=12",)))
    state = service.wait_for(ended, PATIENCE_S)
    assert state["run_id"] == run_id
    assert (state["status"], state["end_reason"], state["error"]) == ("completed", "completed", None)
    assert state["progress"] == {"epoch": 1, "epoch_step": 2, "epoch_sample": 2, "global_step": 12}
    assert (state["max_step"], state["max_epoch"], state["total_steps"]) == (10, 2, 12)
    assert Path(state["final_model"]).read_bytes() == b"weights"

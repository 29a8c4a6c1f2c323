"""Runs with the same settings, one after another, each keep their own result."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service.host.atomic import read_json
from onetrainer_gradio.service.host.process import ProcessIdentity, kill
from onetrainer_gradio.service.runs.journal import Entry
from onetrainer_gradio.service.trainer import TrainerService
from tests.fakes.configs import small_config
from tests.service.conftest import PATIENCE_S, MakeService, ended

pytestmark = pytest.mark.slow


def trained(service: TrainerService, folder: Path, **behavior: object) -> str:
    """Run a rehearsal until it and its process end."""
    tags = tuple(f"{name}={value}" for name, value in behavior.items())
    run_id = service.start(small_config(folder), RunOptions(tags=tags, name="same"))
    if "hold" in behavior:
        service.wait_for(lambda state: state["run_id"] == run_id and state["update_step"] > 0, PATIENCE_S)
        service.stop_training()
    service.wait_for(
        lambda state: state["run_id"] == run_id and not state["is_training"] and not state["process_running"], PATIENCE_S
    )
    return run_id


def model_of(service: TrainerService, run_id: str) -> bytes:
    run = service.runs.get(run_id)
    file = next(item for item in run.files() if item["kind"] == "model")
    return run.open_file(file["id"]).path.read_bytes()


@pytest.mark.exhaustive
@pytest.mark.parametrize("in_process", [True, False], ids=["thread", "process"])
def test_three_runs_with_the_same_settings_keep_three_results(
    make_service: MakeService, tmp_path: Path, in_process: bool
) -> None:
    """The rehearsal writes into the existing file, the hardest case; each run still serves what it wrote."""
    service = make_service(in_process=in_process)
    ids = [trained(service, tmp_path, steps=steps, weights=f"weights-{steps}") for steps in (2, 3, 4)]
    assert [model_of(service, run_id) for run_id in ids] == [b"weights-2", b"weights-3", b"weights-4"]
    rows = {row["id"]: row for row in service.runs.list()}
    for run_id, content in zip(ids, (b"weights-2", b"weights-3", b"weights-4"), strict=True):
        assert Path(rows[run_id]["final_model"]).read_bytes() == content
        assert Path(service.runs.get(run_id).state()["final_model"]).read_bytes() == content
    destination = Path(small_config(tmp_path).output_model_destination)
    assert destination.read_bytes() == b"weights-4"
    assert service.get_state()["final_model"] == str(destination)


def test_a_restarted_panel_still_has_them(make_service: MakeService, tmp_path: Path) -> None:
    """The kept files are in the run's folder."""
    service = make_service()
    ids = [trained(service, tmp_path, steps=2, weights=word) for word in ("one", "two")]
    service.close()
    again = make_service()
    assert [model_of(again, run_id) for run_id in ids] == [b"one", b"two"]


def test_deleting_a_run_frees_what_it_kept_and_nothing_else(make_service: MakeService, tmp_path: Path) -> None:
    """The output file and the files that other runs keep stay."""
    service = make_service()
    first, second = (trained(service, tmp_path, steps=2, weights=word) for word in ("one", "two"))
    assert service.delete_run(first) > 0
    assert model_of(service, second) == b"two"
    assert Path(small_config(tmp_path).output_model_destination).read_bytes() == b"two"
    assert not list((service.settings.data_folder / "runs").glob(f"*{first}*"))


def test_a_run_that_was_stopped_has_a_model_so_far(make_service: MakeService, tmp_path: Path) -> None:
    """Only a run that trained to its last step has a final model."""
    service = make_service()
    stopped = trained(service, tmp_path, steps=20, hold=4)
    step = service.runs.get(stopped).state()["progress"]["global_step"]
    assert 0 < step < 20
    assert service.runs.get(stopped).state()["final_model_title"] == f"Stopped at step {step} of 20: model so far"
    whole = trained(service, tmp_path, steps=5)
    row = next(row for row in service.runs.list() if row["id"] == whole)
    assert row["final_model_title"] == "Final model, step 5"
    file = next(item for item in service.runs.get(whole).files() if item["kind"] == "model")
    assert row["final_model_file"] == file["id"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("wait_for", ["phase_changed", "model_saved"])
@pytest.mark.parametrize("later_s", [0.0, 0.02])
def test_a_kill_around_the_final_save_loses_no_result(
    make_service: MakeService, tmp_path: Path, wait_for: str, later_s: float
) -> None:
    """All reported results are kept: of the run before, of the killed one, and of the one after it."""
    service = make_service(in_process=False)
    first = trained(service, tmp_path, steps=2, weights="first-result")
    killed = service.start(small_config(tmp_path), RunOptions(tags=("steps=2", "weights=killed-result")))
    run, give_up_at = service.runs.get(killed), time.monotonic() + PATIENCE_S
    while not _is_reported(run.journal.since(0, only=(wait_for,)), wait_for):
        assert time.monotonic() < give_up_at
        time.sleep(0.001)
    time.sleep(later_s)
    identity = ProcessIdentity.from_dict(read_json(run.folder / "worker.json"))
    assert identity is not None
    kill(identity.pid)
    service.wait_for(lambda state: state["run_id"] == killed and ended(state), PATIENCE_S)
    service.close()
    again = make_service(in_process=False)
    third = trained(again, tmp_path, steps=2, weights="third-result")
    assert (model_of(again, first), model_of(again, third)) == (b"first-result", b"third-result")
    if run.journal.since(0, only=("model_saved",)):
        assert model_of(again, killed) == b"killed-result"


def _is_reported(entries: list[Entry], kind: str) -> bool:
    return any(kind != "phase_changed" or entry.body["phase"] == "saving" for entry in entries)

"""The service, with runs on a thread. Covers service/scheduler.py."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.config.declarations.sample import SampleConfig
from onetrainer_gradio.config.families.sample_defaults import sample_defaults
from onetrainer_gradio.errors import (
    BackupNotFoundError,
    CommandRefusedError,
    ConfigInvalidError,
    DiskFullError,
    ForbiddenPathError,
    RunConflictError,
    RunNotFoundError,
)
from onetrainer_gradio.events import PhaseChanged, RunEnded
from onetrainer_gradio.service.host.atomic import write_json
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.service.people.roles import Identity, Kind, Role, act_as
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.record import Run, new_run_id
from onetrainer_gradio.service.trainer import TrainerService
from tests.fakes.configs import small_config, write_result
from tests.service.conftest import PATIENCE_S, MakeService, ended

pytestmark = pytest.mark.slow  # each of these trains or builds the whole panel

LONG = "steps=1000000"


def start(service: TrainerService, folder: Path, *tags: str, **options: Any) -> Run:
    return service.runs.get(service.start(small_config(folder), RunOptions(name="run", tags=tags, **options)))


def training(state: dict[str, Any]) -> bool:
    return bool(state["update_step"] > 0)


def test_run_from_start_to_end(make_service: MakeService, tmp_path: Path) -> None:
    """A started run ends as completed, with its model recorded and its steps counted."""
    service = make_service()
    run_id = service.start(small_config(tmp_path), RunOptions(name="first", tags=("steps=12",)))
    state = service.wait_for(ended, PATIENCE_S)
    assert state["run_id"] == run_id
    assert (state["status"], state["end_reason"], state["error"]) == ("completed", "completed", None)
    assert state["progress"] == {"epoch": 1, "epoch_step": 2, "epoch_sample": 2, "global_step": 12}
    assert (state["max_step"], state["max_epoch"], state["total_steps"]) == (10, 2, 12)
    assert Path(state["final_model"]).read_bytes() == b"weights"


def test_the_contract_in_python(make_service: MakeService, tmp_path: Path) -> None:
    """Initialize, start and stop lead through a run."""
    service = make_service()
    assert service.get_state()["status"] == "idle"
    service.initialize_trainer(small_config(tmp_path), RunOptions(tags=(LONG, "step_s=0.001", "write_s=0.5")))
    assert service.get_state()["status"] == "initialized"
    run_id = service.start_training()
    state = service.wait_for(training, PATIENCE_S)
    assert (state["status"], state["run_id"], state["is_training"]) == ("running", run_id, True)
    with pytest.raises(RunConflictError):
        service.initialize_trainer(small_config(tmp_path))
    service.stop_training()
    assert service.get_state()["status"] == "stopping"
    assert service.wait_for(ended, PATIENCE_S)["end_reason"] == "stopped"
    service.initialize_trainer(small_config(tmp_path))
    assert service.get_state()["status"] == "initialized"


def test_commands_are_answered_in_every_state_that_allows_them(make_service: MakeService, tmp_path: Path) -> None:
    """While paused, the model stays loaded and can sample, back up and save; resume continues."""
    service = make_service()
    start(service, tmp_path, LONG, "step_s=0.001")
    service.wait_for(training, PATIENCE_S)

    def answered(command_id: str) -> dict[str, Any]:
        answer = service.answer(command_id, PATIENCE_S)
        assert answer is not None
        assert (answer["command_id"], answer["outcome"]) == (command_id, "done")
        return answer

    answered(service.pause_training())
    state = service.get_state()
    assert (state["paused"], state["status"], state["can"]["resume"], state["can"]["pause"]) == (True, "running", True, False)
    step = state["update_step"]
    assert Path(answered(service.sample_default())["result"]).exists()
    assert Path(answered(service.backup())["result"]).is_dir()
    assert Path(answered(service.save())["result"]).exists()
    assert service.get_state()["update_step"] == step
    answered(service.resume_training())
    service.wait_for(lambda state: state["update_step"] > step, PATIENCE_S)
    with pytest.raises(CommandRefusedError, match="isn't paused"):
        service.resume_training()
    service.stop_training()
    service.wait_for(ended, PATIENCE_S)
    with pytest.raises(CommandRefusedError, match="No run"):
        service.pause_training()


def test_what_a_sample_request_leaves_out_suits_the_model_that_trains(make_service: MakeService, tmp_path: Path) -> None:
    """This holds from Python as over REST: given values stay, sampler and CFG scale are those of its type."""
    service = make_service()
    run = start(service, tmp_path, LONG, "step_s=0.001")
    service.wait_for(training, PATIENCE_S)
    answer = service.answer(service.sample_custom({"prompt": "a star", "diffusion_steps": 3}), PATIENCE_S)
    assert answer is not None
    assert answer["outcome"] == "done"
    made = next(entry.body for entry in run.journal.since(0, 1000) if entry.body["type"] == "sample_generated")
    suits = sample_defaults("STABLE_DIFFUSION_15")
    assert made["diffusion_steps"] == 3
    assert {name: made[name] for name in ("cfg_scale", "noise_scheduler")} == {
        name: suits[name] for name in ("cfg_scale", "noise_scheduler")
    }
    assert suits["noise_scheduler"] != SampleConfig().model_dump(mode="json")["noise_scheduler"]


def test_an_image_to_begin_with_is_inside_the_allowed_folders(make_service: MakeService, tmp_path: Path) -> None:
    """With allowed folders, a sample reads no other file either."""
    service = make_service(allowed_roots=(tmp_path / "open",))
    for setting in ("base_image_path", "mask_image_path"):
        with pytest.raises(ForbiddenPathError, match="outside the allowed folders"):
            service.sample_custom({"prompt": "x", setting: str(tmp_path / "closed" / "a.png")})
        with pytest.raises(CommandRefusedError, match="No run"):
            service.sample_custom({"prompt": "x", setting: str(tmp_path / "open" / "a.png")})


def test_a_bad_sample_request_names_its_field(make_service: MakeService, tmp_path: Path) -> None:
    """Parameters are validated before they are sent."""
    service = make_service()
    with pytest.raises(ConfigInvalidError) as error:
        service.sample_custom({"prompt": "x", "width": "wide"})
    assert error.value.findings()[0].path == "width"
    with pytest.raises(CommandRefusedError):
        service.sample_custom({"prompt": "x"})


def test_settings_that_cannot_work_are_rejected_before_anything_is_made(make_service: MakeService, tmp_path: Path) -> None:
    """The pre-flight check names every field, and no run is created."""
    service = make_service()
    config = small_config(tmp_path, base_model_name="nowhere.safetensors", batch_size=0)
    with pytest.raises(ConfigInvalidError) as error:
        service.start(config)
    assert {finding.path for finding in error.value.findings() if finding.severity == "error"} >= {
        "base_model_name",
        "batch_size",
    }
    assert service.runs.list() == []
    assert service.get_state()["status"] == "idle"


def test_the_settings_being_edited_are_what_starts(make_service: MakeService, tmp_path: Path) -> None:
    """Without a config the current one is used, frozen with absolute paths, and the run has its name."""
    service = make_service()
    small_config(tmp_path / "data" / "mine")
    config = small_config(tmp_path, base_model_name="mine/model", workspace_dir="mine/workspace")
    service.configs.replace(config, "mine")
    run_id = service.start(options=RunOptions(tags=("steps=3",)))
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["name"], state["end_reason"]) == ("mine", "completed")
    frozen = service.runs.get(run_id).config()
    assert frozen["base_model_name"] == str(tmp_path / "data" / "mine" / "model")
    assert frozen["workspace_dir"] == str(tmp_path / "data" / "mine" / "workspace")
    service.configs.patch({"epochs": 999})
    assert service.runs.get(run_id).config()["epochs"] != 999


def test_a_failure_is_reported_with_its_cause_and_the_next_run_starts(make_service: MakeService, tmp_path: Path) -> None:
    """The error of a run is shown until the next one starts."""
    service = make_service()
    failed = start(service, tmp_path, "fail_at=3")
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["status"], state["error_info"]["path"]) == ("error", "batch_size")
    assert state["error"] == "The graphics memory is used up"
    assert "Traceback" in failed.log(0)["text"]
    start(service, tmp_path, "steps=3")
    assert service.wait_for(ended, PATIENCE_S)["error"] is None


def test_a_second_start_is_rejected_with_the_name_of_the_first(make_service: MakeService, tmp_path: Path) -> None:
    """One run at a time; the error names the active run."""
    service = make_service()
    run = start(service, tmp_path, LONG, "step_s=0.001")
    with pytest.raises(RunConflictError, match="The run “run” is still running") as error:
        start(service, tmp_path)
    assert error.value.value == run.id
    with pytest.raises(RunConflictError):
        service.runs.delete(run.id)
    with pytest.raises(RunConflictError):
        service.resume(run.id)


def test_many_starts_at_once_make_one_run(make_service: MakeService, tmp_path: Path) -> None:
    """Two people press Start at the same moment."""
    service = make_service()
    config = small_config(tmp_path)
    started: list[str] = []
    refused: list[Exception] = []

    def press() -> None:
        try:
            started.append(service.start(config, RunOptions(tags=(LONG, "step_s=0.001"))))
        except RunConflictError as error:
            refused.append(error)

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(started), len(refused), len(service.runs.list())) == (1, 7, 1)


@pytest.mark.exhaustive
def test_a_run_started_while_another_stops_waits_and_can_be_taken_back(make_service: MakeService, tmp_path: Path) -> None:
    """The queue holds one run; it starts when the first one has ended, unless it is stopped before."""
    service = make_service()
    first = start(service, tmp_path, LONG, "hold=5", "eat=1", finish_step_s=0.05)
    service.wait_for(lambda state: state["update_step"] == 5, PATIENCE_S)
    service.stop_training()
    second = start(service, tmp_path, "steps=2")
    state = service.get_state()
    assert (state["run_id"], state["queued_run_id"], state["waits_for"]["run_id"]) == (second.id, second.id, first.id)
    assert (state["status"], state["phase"], state["is_training"], state["can"]["start"]) == ("starting", "queued", True, False)
    assert state["waits_for"]["stop"]["stage"] == "finish_step"
    service.stop_training(run_id=second.id)
    assert second.state()["end_reason"] == "stopped"
    assert service.get_state()["queued_run_id"] is None
    third = start(service, tmp_path, "steps=2")
    (tmp_path / "workspace").mkdir(exist_ok=True)
    (tmp_path / "workspace" / "go").touch()
    with pytest.raises(RunNotFoundError):
        service.stop_training(run_id=second.id)
    assert third.state()["phase"] == "queued"


@pytest.mark.exhaustive
def test_a_thread_that_does_not_react_is_reported(make_service: MakeService, tmp_path: Path) -> None:
    """The escalation of a thread has one stage; after it, the state shows the user what to do."""
    service = make_service()
    run = start(service, tmp_path, LONG, "load_s=0.01", "hang_at=3", finish_step_s=0.05)
    service.wait_for(lambda state: state["update_step"] == 3, PATIENCE_S)
    service.stop_training()
    state = service.wait_for(lambda state: bool(state["stop"] and state["stop"]["note"]), PATIENCE_S)
    assert "Restart the panel" in state["stop"]["note"]
    assert (state["stop"]["stage"], state["status"]) == ("finish_step", "stopping")
    assert [entry.body["stage"] for entry in run.journal.since(0) if entry.body["type"] == "stop_escalated"] == ["finish_step"]


def test_a_run_resumes_from_a_backup(make_service: MakeService, tmp_path: Path) -> None:
    """Resume starts a new run with the same settings at the newest backup, or at the given one."""
    service = make_service()
    first = start(service, tmp_path, "steps=20", "backup_every=5", "fail_at=12")
    service.wait_for(ended, PATIENCE_S)
    second = service.resume(first.id)
    state = service.wait_for(ended, PATIENCE_S)
    run = service.runs.get(second)
    assert (state["run_id"], run.options().resumes_run) == (second, first.id)
    assert run.metrics.rows()[0, 0] == 11
    assert run.config() == first.config()
    third = service.resume(first.id, "backup-5")
    service.wait_for(ended, PATIENCE_S)
    assert service.runs.get(third).options().resume_from.endswith("backup-5")
    with pytest.raises(BackupNotFoundError, match="backup-99"):
        service.resume(first.id, "backup-99")
    empty = start(service, tmp_path, "steps=20", "fail_at=1")
    service.wait_for(ended, PATIENCE_S)
    with pytest.raises(BackupNotFoundError):
        service.resume(empty.id)


@pytest.mark.exhaustive
def test_a_resumed_run_that_made_no_backup_resumes_from_where_it_began(make_service: MakeService, tmp_path: Path) -> None:
    """A run that dies soon after its resume loses nothing, because the backup that it began with still exists."""
    service = make_service()
    first = start(service, tmp_path, "steps=20", "backup_every=5", "fail_at=8")
    service.wait_for(ended, PATIENCE_S)
    second = service.resume(first.id)
    service.wait_for(ended, PATIENCE_S)
    made = service.runs.get(second)
    for file in made.files():
        if file["kind"] == "backup":
            shutil.rmtree(made.open_file(file["id"]).path)
    third = service.resume(second)
    service.wait_for(ended, PATIENCE_S)
    options = service.runs.get(third).options()
    assert (options.resume_from, options.resumes_run) == (made.options().resume_from, second)
    assert service.runs.get(third).metrics.rows()[0, 0] == 6


@pytest.mark.exhaustive
def test_a_step_limit_that_is_reached_does_not_end_the_resumed_run_at_once(make_service: MakeService, tmp_path: Path) -> None:
    """A limit at or before the backup's step is removed; a later one stays."""
    service = make_service()
    first = start(service, tmp_path, "steps=20", "backup_every=5", max_steps=10)
    service.wait_for(ended, PATIENCE_S)
    kept = service.resume(first.id, "backup-5")
    service.wait_for(ended, PATIENCE_S)
    assert service.runs.get(kept).options().max_steps == 10
    dropped = service.resume(first.id, "backup-10")
    service.wait_for(ended, PATIENCE_S)
    assert service.runs.get(dropped).options().max_steps is None
    assert service.runs.get(dropped).metrics.rows()[-1, 0] == 20


def test_a_run_without_its_result_is_resumed_to_save_it(make_service: MakeService, tmp_path: Path) -> None:
    """The reached step limit stays, and no epochs are requested; with its result, the same run has nothing left to train."""
    service = make_service()
    run = start(service, tmp_path, "steps=20", "backup_every=5", "save_fails=1", max_steps=10)
    service.wait_for(ended, PATIENCE_S)
    assert service.get_state()["end_reason"] == "failed"
    backup = run.files()[-1]
    assert backup["kind"] == "backup"
    resumed = service.resume(run.id, backup["id"])
    service.wait_for(ended, PATIENCE_S)
    assert service.runs.get(resumed).options().max_steps == 10


def test_a_run_whose_result_was_moved_away_is_not_resumed_to_save_it_again(make_service: MakeService, tmp_path: Path) -> None:
    """The run's folder still has it, so a resume needs more epochs, and the error asks for them."""
    service = make_service()
    first = start(service, tmp_path, "steps=4")
    service.wait_for(ended, PATIENCE_S)
    backup = next((tmp_path / "workspace" / "backup").iterdir())
    (backup / "meta.json").write_text('{"train_progress": {"epoch": 500, "epoch_step": 0, "epoch_sample": 0, "global_step": 4}}')
    (tmp_path / "lora.safetensors").rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ConfigInvalidError, match="nothing left to train"):
        service.resume(first.id)


@pytest.mark.exhaustive
def test_viewers_hear_of_everything_in_order(make_service: MakeService, tmp_path: Path) -> None:
    """The events, metrics, log lines, samples and states that a viewer receives add up to the run."""
    service = make_service()
    heard: list[dict[str, Any]] = []
    service.feed.subscribe(heard.append)
    run = start(service, tmp_path, "steps=30", "step_s=0.02", "sample_every=10")
    service.wait_for(ended, PATIENCE_S)
    give_up_at = time.monotonic() + PATIENCE_S
    while (
        not (states := [message for message in heard if message["type"] == "training_state"])
        or states[-1]["state"]["is_training"]
    ):
        assert time.monotonic() < give_up_at, "no state of the end was sent"
        time.sleep(0.02)
    numbers = [message["seq"] for message in heard]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    events = [message["event"]["type"] for message in heard if message["type"] == "event"]
    journal = [entry.body["type"] for entry in run.journal.since(0) if entry.body["type"] != "phase_progress"]
    assert events == journal
    metrics = [message for message in heard if message["type"] == "metrics"]
    assert [row[0] for message in metrics for row in message["rows"]] == list(range(1, 31))
    assert metrics[0]["row"] == 0
    assert metrics[0]["columns"][6] == "loss"
    assert len(metrics) <= states[-1]["state"]["elapsed_s"] / 0.25 + 2
    samples = [message for message in heard if message["type"] == "sample_default"]
    assert [message["step"] for message in samples] == [10, 20, 30]
    assert samples[0]["id"] == samples[0]["sample"]["id"]
    assert states[-1]["status"] == states[-1]["state"]["status"] == "completed"
    json.dumps(heard, allow_nan=False)


@pytest.mark.exhaustive
def test_a_snapshot_is_everything_a_page_needs(make_service: MakeService, tmp_path: Path) -> None:
    """After a reload the page looks the same as before."""
    service = make_service()
    start(service, tmp_path, "steps=20", "sample_every=5", "nan_at=3")
    service.wait_for(ended, PATIENCE_S)
    snapshot = service.feed.snapshot()
    assert (snapshot["type"], snapshot["status"], snapshot["state"]["update_step"]) == ("connected", "completed", 20)
    assert [sample["step"] for sample in snapshot["samples"]] == [20, 15, 10, 5]
    assert snapshot["row_columns"][:2] == ["update_step", "global_step"]
    assert snapshot["resources"]["memory_total"] > 0
    json.dumps(snapshot, allow_nan=False)


def test_an_edit_is_reported_to_all(make_service: MakeService) -> None:
    """A second page learns that the settings changed, and who changed them."""
    service = make_service()
    heard: list[dict[str, Any]] = []
    service.feed.subscribe(heard.append)
    document = service.configs.patch({"epochs": 3}, by="anna")
    messages = [message for message in heard if message["type"] == "config"]
    assert [(message["revision"], message["by"]) for message in messages] == [(document.revision, "anna")]


def test_a_run_on_a_thread_dies_with_its_panel_and_is_reported_as_lost(make_service: MakeService, tmp_path: Path) -> None:
    """The next panel finds a run whose thread no longer exists."""
    service = make_service()
    run = start(service, tmp_path, "steps=5")
    service.wait_for(ended, PATIENCE_S)
    service.close()
    journal = run.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().partition(b'{"type":"model_saved"')[0])
    for name in ("exit.json", "summary.json"):  # written once a run has ended
        (run.folder / name).unlink()
    write_json(run.folder / "worker.json", {**ProcessIdentity.of(os.getpid()).as_dict(), "pid": 2**22 + 1})
    state = make_service().get_state()
    assert (state["end_reason"], state["is_training"], state["process_running"]) == ("lost", False, False)
    assert "trained the run in its own process" in state["error"]


def test_a_run_that_waited_when_the_panel_died_starts_with_the_next(make_service: MakeService, tmp_path: Path) -> None:
    """A queued run is not forgotten."""
    service = make_service()
    run = start(service, tmp_path, "steps=5")
    service.wait_for(ended, PATIENCE_S)
    service.close()
    for name in ("journal.jsonl", "metrics.bin", "worker.json", "exit.json", "summary.json"):
        (run.folder / name).unlink()
    run.journal.close()
    Run(run.folder).journal.append(PhaseChanged(phase="queued"))
    again = make_service()
    state = again.wait_for(ended, PATIENCE_S)
    assert (state["run_id"], state["end_reason"]) == (run.id, "completed")


def test_closing_stops_a_run_on_a_thread_and_may_be_repeated(make_service: MakeService, tmp_path: Path) -> None:
    """Such a run can't continue without the panel, so it is stopped gracefully."""
    service = make_service()
    run = start(service, tmp_path, LONG, "step_s=0.001")
    service.wait_for(training, PATIENCE_S)
    service.close()
    service.close()
    assert run.state()["end_reason"] == "stopped"
    assert run.state()["final_model"]


@pytest.mark.exhaustive
def test_a_deleted_run_is_gone_from_the_state(make_service: MakeService, tmp_path: Path) -> None:
    """After the current run is deleted, the state is empty, and the run's samples are gone from the gallery."""
    service = make_service()
    run = start(service, tmp_path, "steps=5", "sample_every=5")
    service.wait_for(ended, PATIENCE_S)
    assert service.samples.latest()
    service.runs.delete(run.id)
    assert (service.get_state()["status"], service.get_state()["run_id"]) == ("idle", None)
    assert service.samples.latest() == []
    assert service.feed.snapshot()["log"] == []


def test_waiting_ends_in_time(make_service: MakeService) -> None:
    """Waiting for something that doesn't come ends with an error."""
    service = make_service()
    with pytest.raises(TimeoutError, match="idle"):
        service.wait_for(lambda state: False, 0.05)
    assert service.answer("nothing", 0.05) is None


def test_no_thread_works_while_nothing_runs(make_service: MakeService) -> None:
    """An idle panel has no follower; only the machine is measured, rarely."""
    before = {thread.name for thread in threading.enumerate()}
    make_service()
    assert {thread.name for thread in threading.enumerate()} - before <= {"system"}


LIGHT = """
import sys
from pathlib import Path
import onetrainer_gradio.service
from onetrainer_gradio.service import ServiceSettings, TrainerService
service = TrainerService(ServiceSettings(data_folder=Path(sys.argv[1])))
service.open()
service.system.resources()
service.configs.validate()
service.feed.snapshot()
service.close()
heavy = {"torch", "diffusers", "transformers", "gradio", "PIL", "accelerate", "peft", "fastapi", "huggingface_hub"}
print(*sorted(heavy & set(sys.modules)))
"""

SMALL = """
import sys
import onetrainer_gradio.service.processes.supervisor
print(*sorted({"torch", "pydantic", "numpy", "psutil", "gradio"} & set(sys.modules)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [LIGHT, SMALL], ids=["service", "supervisor"])
def test_the_panel_and_the_supervisor_stay_light(tmp_path: Path, code: str) -> None:
    """A serving panel loads neither torch nor gradio through its service; a supervisor loads next to nothing."""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


@pytest.mark.slow
def test_one_service_per_process(tmp_path: Path) -> None:
    """All callers in a process get the same opened service; another data folder is rejected."""
    code = """
import sys
from pathlib import Path
from onetrainer_gradio.errors import RunConflictError
from onetrainer_gradio.service import ServiceSettings, get_trainer_service
first = get_trainer_service()
assert first is get_trainer_service()
assert first.settings.data_folder == Path(sys.argv[1]).absolute()
assert first.get_state()["status"] == "idle"
try:
    get_trainer_service(ServiceSettings(data_folder=Path("other")))
except RunConflictError:
    print("refused")
first.close()
"""
    environment = {**os.environ, "ONETRAINER_GRADIO_DATA": str(tmp_path / "data")}
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stdout.strip() == "refused"


@pytest.mark.exhaustive
def test_options_cannot_load_torch_into_a_panel_that_was_not_started_so(make_service: MakeService, tmp_path: Path) -> None:
    """This includes a resumed run; a panel started with the option does so for every run."""
    service = make_service(in_process=False)
    run_id = service.start(small_config(tmp_path), RunOptions(in_process=True, tags=("backup_every=10",)))
    assert (service.settings.data_folder / "runs" / run_id / "supervisor.json").exists()
    assert service.runs.get(run_id).options().in_process is False
    service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 30)
    assert service.get_state()["end_reason"] == "completed"


@pytest.mark.exhaustive
def test_from_the_answer_to_a_start_on_the_state_is_about_the_new_run(make_service: MakeService, tmp_path: Path) -> None:
    """A program that starts a run and polls never mistakes the end of the previous run for its own."""
    service = make_service()
    messages: list[dict[str, Any]] = []
    before = start(service, tmp_path, "steps=3", "linger_s=0.5")
    service.wait_for(lambda state: not state["is_training"], PATIENCE_S)
    unsubscribe = service.feed.subscribe(
        lambda message: messages.append(message) if message["type"] == "training_state" else None
    )
    run_id = service.start(small_config(tmp_path), RunOptions(name="new", tags=("steps=3",)))
    messages.clear()
    seen = [service.get_state(), service.feed.snapshot()["state"]]
    give_up_at = time.monotonic() + PATIENCE_S
    while seen[-1]["is_training"] and time.monotonic() < give_up_at:
        seen.append(service.get_state())
    unsubscribe()
    states = [*seen, *(message["state"] for message in messages)]
    assert {state["run_id"] for state in states} == {run_id}
    assert all(state["is_training"] or state["end_reason"] == "completed" for state in states)
    assert before.id != run_id


@pytest.mark.exhaustive
def test_a_stop_right_after_a_start_ends_the_run_that_waits(make_service: MakeService, tmp_path: Path) -> None:
    """Stop applies to the run that the state shows; its command is answered, and the previous run can be hurried by its id."""
    service = make_service()
    first = start(service, tmp_path, LONG, "step_s=0.001", "write_s=1.5", finish_step_s=60)
    service.wait_for(training, PATIENCE_S)
    service.stop_training()
    second = start(service, tmp_path, "steps=2")
    hurried = service.stop_training(run_id=first.id)
    assert service.get_state()["run_id"] == second.id
    command = service.stop_training()
    assert second.state()["end_reason"] == "stopped"
    answer = service.answer(command)
    assert answer is not None
    assert answer["outcome"] == "done"
    state = service.get_state()
    assert (state["run_id"], state["status"], state["queued_run_id"]) == (first.id, "stopping", None)
    service.wait_for(ended, PATIENCE_S)
    assert service.answer(hurried) is not None


def test_a_start_on_a_full_disk_leaves_nothing(
    make_service: MakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error reports a full disk; neither a folder nor a run without an end remains, and the next start works."""
    service = make_service()
    monkeypatch.setattr(Journal, "append", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(DiskFullError):
        start(service, tmp_path, "steps=2")
    assert list(service.runs.folder.iterdir()) == []
    assert service.get_state()["status"] == "idle"
    monkeypatch.undo()
    start(service, tmp_path, "steps=2")
    assert service.wait_for(ended, PATIENCE_S)["end_reason"] == "completed"


@pytest.mark.exhaustive
def test_older_runs_do_not_hold_up_the_start(make_service: MakeService, tmp_path: Path) -> None:
    """Only the newest runs are checked before the panel is ready; an older unfinished one is ended afterwards."""
    runs = tmp_path / "data" / "runs"
    for second in range(130):
        folder = runs / new_run_id(second)
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        if second:
            Run(folder).journal.append(RunEnded(reason="completed"))
    service = make_service()
    assert service.runs.page(limit=5)["total"] == 130
    oldest = service.runs.get(new_run_id(0))
    give_up_at = time.monotonic() + PATIENCE_S
    while not (oldest.folder / "summary.json").exists():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    assert oldest.state()["end_reason"] == "lost"


def test_links_out_of_the_allowed_folders_are_rejected_whatever_the_options_say(
    make_service: MakeService, tmp_path: Path
) -> None:
    """The start fails with the links named; a run gets the allowed folders, whatever its options contain."""
    service = make_service(allowed_roots=(tmp_path / "open",))
    config = small_config(tmp_path / "open")
    folder = Path((config.concepts or ())[0].path)
    options = RunOptions(allowed_folders=("/",))
    run = service.runs.get(service.start(config, options))
    assert str((tmp_path / "open").resolve()) in run.options().allowed_folders
    assert "/" not in run.options().allowed_folders
    service.wait_for(ended, timeout_s=PATIENCE_S)
    (tmp_path / "secret.png").write_bytes(next(folder.glob("*.png")).read_bytes())
    (folder / "zz.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ConfigInvalidError, match=r"zz\.png"):
        service.start(config, options)


@pytest.mark.exhaustive
def test_a_finished_run_is_not_resumed_to_train_nothing(make_service: MakeService, tmp_path: Path) -> None:
    """A resume without remaining epochs fails before the start, names Epochs, and creates no run; with more epochs it starts."""
    service = make_service()
    start(service, tmp_path, "steps=4")
    service.wait_for(ended, PATIENCE_S)
    backup = next((tmp_path / "workspace" / "backup").iterdir())
    (backup / "meta.json").write_text('{"train_progress": {"epoch": 3, "epoch_step": 0, "epoch_sample": 0, "global_step": 4}}')
    write_result(tmp_path / "lora.safetensors")
    options = RunOptions(resume_from=str(backup), tags=("steps=6",))
    with pytest.raises(ConfigInvalidError, match="already at epoch 3 of 3") as error:
        service.start(small_config(tmp_path, epochs=3), options)
    assert error.value.findings()[0].path == "epochs"
    assert len(service.runs.ids()) == 1
    service.start(small_config(tmp_path, epochs=4), options)
    assert service.wait_for(ended, PATIENCE_S)["progress"]["global_step"] == 6


@pytest.mark.exhaustive
def test_a_finished_run_is_resumed_with_more_epochs(make_service: MakeService, tmp_path: Path) -> None:
    """The given number of epochs replaces the run's; one that is too low is rejected."""
    service = make_service()
    first = start(service, tmp_path, "steps=4")
    service.wait_for(ended, PATIENCE_S)
    backup = next((tmp_path / "workspace" / "backup").iterdir())
    (backup / "meta.json").write_text('{"train_progress": {"epoch": 500, "epoch_step": 0, "epoch_sample": 0, "global_step": 4}}')
    write_result(tmp_path / "lora.safetensors")
    for epochs in (None, 500):
        with pytest.raises(ConfigInvalidError, match="nothing left to train"):
            service.resume(first.id, epochs=epochs)
    second = service.resume(first.id, epochs=501)
    service.wait_for(ended, PATIENCE_S)
    assert service.runs.get(second).config()["epochs"] == 501


@pytest.mark.exhaustive
def test_a_finished_run_is_not_continued_to_train_nothing(make_service: MakeService, tmp_path: Path) -> None:
    """ "Continue from last backup" and a reached step limit are rejected like a chosen backup, which takes precedence."""
    service = make_service()
    start(service, tmp_path, "steps=4")
    service.wait_for(ended, PATIENCE_S)
    backup = next((tmp_path / "workspace" / "backup").iterdir())
    (backup / "meta.json").write_text('{"train_progress": {"epoch": 3, "epoch_step": 0, "epoch_sample": 0, "global_step": 4}}')
    write_result(tmp_path / "lora.safetensors")
    config = small_config(tmp_path, epochs=3, continue_last_backup=True)
    with pytest.raises(ConfigInvalidError, match="already at epoch 3 of 3") as error:
        service.start(config, RunOptions())
    assert [finding.path for finding in error.value.findings() if finding.severity == "error"] == ["epochs"]
    more = config.model_copy(update={"epochs": 5})
    for options in (RunOptions(max_steps=4), RunOptions(max_steps=3, resume_from=str(backup))):
        with pytest.raises(ConfigInvalidError, match="step limit") as error:
            service.start(more, options)
        assert error.value.findings()[0].path == "max_steps"
    assert len(service.runs.ids()) == 1
    earlier = backup.with_name("2000-01-01_00-00-00-backup-2-0-2")
    shutil.copytree(backup, earlier)
    (earlier / "meta.json").write_text('{"train_progress": {"epoch": 1, "epoch_step": 0, "epoch_sample": 0, "global_step": 2}}')
    service.start(config, RunOptions(resume_from=str(earlier), tags=("steps=6",)))
    assert service.wait_for(ended, PATIENCE_S)["progress"]["global_step"] == 6


@pytest.mark.exhaustive
@pytest.mark.parametrize("in_process", [True, False])
def test_a_command_given_while_the_run_loads_is_shown_as_waiting(
    make_service: MakeService, tmp_path: Path, in_process: bool
) -> None:
    """It is shown from the request's response until the run has executed it, also by a panel that takes over the run."""
    service = make_service(in_process=in_process)
    start(service, tmp_path, "steps=40", "step_s=0.05", "load_s=3")
    command_id = as_ada(service.sample_default)
    (waiting,) = service.get_state()["waiting_commands"]
    assert (waiting["command_id"], waiting["command"], waiting["by"]) == (command_id, "sample_default", "Ada")
    assert service.waiting_command(command_id) == waiting
    state = service.wait_for(lambda state: state["phase"] == "loading" and not state["update_step"], PATIENCE_S)
    assert [command["command_id"] for command in state["waiting_commands"]] == [command_id]
    service.wait_for(lambda state: not state["waiting_commands"], PATIENCE_S)
    answer = service.answer(command_id)
    assert answer is not None
    assert answer["outcome"] == "done"
    assert service.waiting_command(command_id) is None
    run_id = service.get_state()["run_id"]
    as_ada(service.stop_training)
    assert service.wait_for(ended, PATIENCE_S)["waiting_commands"] == []
    events = [entry.body for entry in service.runs.get(run_id).journal.since(0) if entry.body["type"].startswith("command_")]
    assert {(event["command"], event["by"]) for event in events} == {("sample_default", "Ada"), ("stop", "Ada")}


def as_ada(call: Callable[[], str]) -> str:
    """Call a method as Ada, like one of her requests."""

    def work() -> str:
        act_as(Identity(Role.OPERATOR, Kind.ACCOUNT, "Ada", "a1"))
        return call()

    return copy_context().run(work)

"""OneTrainer stays loaded between runs: the next one starts without an import, and no process is ever left behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service.host.process import ProcessIdentity
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.trainer import TrainerService
from tests.backends.onetrainer.standin import behave, set_up
from tests.backends.onetrainer.test_in_service import child_process, nothing_left
from tests.fakes.configs import small_config
from tests.service.conftest import PATIENCE_S, REHEARSAL, MakeService, ended, make_service
from tests.service.test_recovery import bodies, pid, training, wait_until, whole

__all__ = ["make_service"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="speaks of Unix signals"),
    pytest.mark.exhaustive,
]

LONG = 100_000
modes = pytest.mark.parametrize("in_process", [False, True])


def start(service: TrainerService, folder: Path, epochs: int = 2, options: dict[str, Any] | None = None, **settings: Any) -> Run:
    config = small_config(folder, **({"epochs": epochs, "tensorboard": False} | settings))
    given = RunOptions(name="run", backend="onetrainer", checkout=str(folder / "OneTrainer"), **(options or {}))
    return service.runs.get(service.start(config, given))


def ready(make_service: MakeService, folder: Path, *, in_process: bool = False, seconds: float = 60.0) -> TrainerService:
    set_up(folder / "OneTrainer", chatty=True)
    service = make_service(in_process=in_process, keep_loaded_s=seconds)
    service.checkouts.add(folder / "OneTrainer")
    return service


def wrong_model(folder: Path) -> str:
    """Return a model that passes the pre-flight check and that the stand-in can't load."""
    (folder / "wrong").mkdir()
    (folder / "wrong" / "model_index.json").write_text("{}")
    return str(folder / "wrong")


def over(service: TrainerService) -> dict[str, Any]:
    return service.wait_for(ended, PATIENCE_S)


def carried_by(run: Run) -> int:
    """Return the PID of OneTrainer's process."""
    return int(bodies(run, "child_process_started")[0]["pid"])


def imported(run: Run) -> bool:
    return any("importing" in body["detail"] for body in bodies(run, "phase_changed"))


@modes
def test_the_next_run_begins_without_an_import(make_service: MakeService, tmp_path: Path, in_process: bool) -> None:
    """In separate processes or on a thread, OneTrainer is the same, but journal, log and files belong to each run."""
    service = ready(make_service, tmp_path, in_process=in_process)
    runs = []
    for _ in range(3):
        runs.append(start(service, tmp_path))
        state = over(service)
        assert (state["end_reason"], state["error"], state["update_step"]) == ("completed", None, 10)
        assert state["loaded_until"] > time.time()
        assert state["can"]["start"]
    assert len({carried_by(run) for run in runs}) == 1
    assert [imported(run) for run in runs] == [True, False, False]
    for run in runs:
        whole(run)
        assert bodies(run, "run_started")[0]["versions"]["python"]
        assert (run.folder / "console.log").read_text().splitlines().count("an ordinary line") == 2  # one per epoch
        if not in_process:
            assert (run.folder / "exit.json").exists() or run is runs[-1]
    assert service.unload()
    state = service.wait_for(lambda state: state["loaded_until"] is None and ended(state), PATIENCE_S)
    assert not service.unload()
    assert nothing_left(runs[-1], carried_by(runs[-1])) or in_process


def test_a_run_that_was_prepared_is_shown_and_begins_at_once(make_service: MakeService, tmp_path: Path) -> None:
    """The waiting process still shows which run is next."""
    service = ready(make_service, tmp_path)
    first = start(service, tmp_path)
    over(service)
    options = RunOptions(backend="onetrainer", checkout=str(tmp_path / "OneTrainer"))
    service.initialize_trainer(small_config(tmp_path, epochs=1, tensorboard=False), options)
    state = service.get_state()
    assert (state["status"], state["process_running"], state["loaded_until"] is not None) == ("initialized", False, True)
    second = service.runs.get(service.start_training())
    assert service.wait_for(lambda state: ended(state) and state["run_id"] == second.id, PATIENCE_S)["end_reason"] == "completed"
    assert carried_by(first) == carried_by(second)


def test_a_wrong_model_path_leaves_it_loaded(make_service: MakeService, tmp_path: Path) -> None:
    """An error before training fails only its own run."""
    service = ready(make_service, tmp_path)
    wrong = start(service, tmp_path, base_model_name=wrong_model(tmp_path))
    assert over(service)["end_reason"] == "failed"
    right = start(service, tmp_path)
    assert over(service)["end_reason"] == "completed"
    assert carried_by(wrong) == carried_by(right)
    whole(wrong)
    whole(right)


def test_what_failed_in_the_middle_is_not_used_again(make_service: MakeService, tmp_path: Path) -> None:
    """An error during training may leave OneTrainer in an unknown state."""
    service = ready(make_service, tmp_path)
    behave(tmp_path / "OneTrainer", nan_at=3)
    failed = start(service, tmp_path)
    state = over(service)
    assert (state["end_reason"], state["loaded_until"]) == ("failed", None)
    wait_until(lambda: nothing_left(failed, carried_by(failed)))


def test_what_could_not_be_cleaned_up_is_not_used_again(make_service: MakeService, tmp_path: Path) -> None:
    """This includes a run that failed before training: the next one could be affected."""
    service = ready(make_service, tmp_path)
    behave(tmp_path / "OneTrainer", close_fails=True)
    run = start(service, tmp_path, base_model_name=wrong_model(tmp_path))
    state = over(service)
    assert (state["end_reason"], state["loaded_until"]) == ("failed", None)
    assert "clean_up" in [body["code"] for body in bodies(run, "warning_issued")]
    assert nothing_left(run, carried_by(run))


@modes
def test_nobody_waits_for_ever(make_service: MakeService, tmp_path: Path, in_process: bool) -> None:
    """After its timeout OneTrainer exits with everything that belonged to the run."""
    service = ready(make_service, tmp_path, in_process=in_process, seconds=1.0)
    run = start(service, tmp_path)
    over(service)
    service.wait_for(lambda state: state["loaded_until"] is None and ended(state), PATIENCE_S)
    assert in_process or nothing_left(run, carried_by(run))
    again = start(service, tmp_path)
    assert over(service)["end_reason"] == "completed"
    assert imported(again)


def test_kept_is_only_what_was_asked_for(make_service: MakeService, tmp_path: Path) -> None:
    """A run whose options contain 0 leaves nothing behind, whatever the panel's default."""
    service = ready(make_service, tmp_path)
    run = start(service, tmp_path, options={"keep_loaded_s": 0})
    assert over(service)["loaded_until"] is None
    assert nothing_left(run, carried_by(run))


@modes
def test_another_engine_waits_until_it_is_gone(make_service: MakeService, tmp_path: Path, in_process: bool) -> None:
    """Its memory is free before the next run needs it."""
    service = ready(make_service, tmp_path, in_process=in_process)
    first = start(service, tmp_path)
    over(service)
    other = service.start(small_config(tmp_path), RunOptions(name="other", backend=REHEARSAL, tags=("steps=3",)))
    service.wait_for(lambda state: ended(state) and state["run_id"] == other, PATIENCE_S)
    assert in_process or nothing_left(first, carried_by(first))
    assert bodies(service.runs.get(other), "phase_changed")[0]["phase"] == "queued"


def test_a_changed_checkout_is_imported_again(make_service: MakeService, tmp_path: Path) -> None:
    """After an update, the old OneTrainer is never used again."""
    service = ready(make_service, tmp_path)
    first = start(service, tmp_path)
    over(service)
    file = tmp_path / "OneTrainer" / "modules" / "util" / "create.py"
    os.utime(file, ns=(time.time_ns(), time.time_ns()))
    second = start(service, tmp_path)
    assert over(service)["end_reason"] == "completed"
    assert carried_by(first) != carried_by(second)
    assert imported(second)


@pytest.mark.parametrize("role", ["child_process", "worker", "supervisor"])
def test_who_is_killed_while_it_waits_is_not_missed(make_service: MakeService, tmp_path: Path, role: str) -> None:
    """The next run starts with an import again, and no old process remains."""
    service = ready(make_service, tmp_path)
    first = start(service, tmp_path)
    over(service)
    os.kill(pid(first, role), signal.SIGKILL)
    second = start(service, tmp_path)
    assert over(service)["end_reason"] == "completed"
    whole(second)
    assert imported(second)
    service.unload()
    service.wait_for(lambda state: state["loaded_until"] is None and ended(state), PATIENCE_S)
    assert nothing_left(first, carried_by(first))
    assert nothing_left(second, carried_by(second))


def test_a_killed_worker_of_a_later_run_does_not_take_the_training_along(make_service: MakeService, tmp_path: Path) -> None:
    """As in a first run, OneTrainer finishes its step, backs up, saves and exits."""
    service = ready(make_service, tmp_path)
    start(service, tmp_path)
    over(service)
    behave(tmp_path / "OneTrainer", step_s=0.05, child=True)
    run = start(service, tmp_path, LONG)
    service.wait_for(lambda state: training(state) and state["run_id"] == run.id, PATIENCE_S)
    group = child_process(run)
    os.kill(pid(run, "worker"), signal.SIGKILL)
    state = over(service)
    assert state["end_reason"] == "failed"
    assert "SIGKILL" in state["error"]
    assert bodies(run, "warning_issued")[-1]["code"] == "companion_finishes" or bodies(run, "backup_created")
    assert nothing_left(run, group)
    assert list((tmp_path / "workspace" / "backup").iterdir())
    whole(run)


def test_a_later_run_that_hangs_is_ended(make_service: MakeService, tmp_path: Path) -> None:
    """The stop escalates for the active run, not for the first one."""
    service = ready(make_service, tmp_path)
    start(service, tmp_path)
    over(service)
    behave(tmp_path / "OneTrainer", hang_at=3)
    run = start(service, tmp_path, options={"finish_step_s": 0.3, "interrupt_s": 0.3, "terminate_s": 0.3})
    service.wait_for(lambda state: state["update_step"] == 3 and state["run_id"] == run.id, PATIENCE_S)
    service.stop_training()
    assert over(service)["end_reason"] == "stopped"
    assert nothing_left(run, carried_by(run))
    behave(tmp_path / "OneTrainer")
    again = start(service, tmp_path)
    assert over(service)["end_reason"] == "completed"
    assert imported(again)


def test_a_run_that_waited_in_the_queue_takes_over(make_service: MakeService, tmp_path: Path) -> None:
    """Started while the current run is stopping, it begins in the same OneTrainer process as soon as that is free."""
    service = ready(make_service, tmp_path)
    behave(tmp_path / "OneTrainer", step_s=0.02)
    first = start(service, tmp_path, LONG)
    service.wait_for(training, PATIENCE_S)
    service.stop_training()
    second = start(service, tmp_path, 1)
    state = service.wait_for(lambda state: ended(state) and state["run_id"] == second.id, PATIENCE_S)
    assert state["end_reason"] == "completed"
    assert carried_by(first) == carried_by(second)


def test_a_panel_that_ends_leaves_nothing_that_waits(make_service: MakeService, tmp_path: Path) -> None:
    """A run outlives the panel; a process that waits for the next run doesn't."""
    service = ready(make_service, tmp_path)
    run = start(service, tmp_path)
    over(service)
    service.close()
    wait_until(lambda: nothing_left(run, carried_by(run)))


def test_a_new_panel_sees_off_what_a_dead_one_left(make_service: MakeService, tmp_path: Path) -> None:
    """After a kill without shutdown, the next panel ends the waiting process and then starts its own run."""
    service = ready(make_service, tmp_path)
    run = start(service, tmp_path)
    over(service)
    service.scheduler._follower.close()  # as far as the data folder shows, the panel is dead
    with TrainerService(service.settings) as other:
        assert other.get_state()["loaded_until"] is None
        again = start(other, tmp_path)
        state = other.wait_for(lambda state: ended(state) and state["run_id"] == again.id, PATIENCE_S)
        assert state["end_reason"] == "completed"
        assert imported(again)
        assert nothing_left(run, carried_by(run))


def test_a_deleted_run_takes_what_waits_along(make_service: MakeService, tmp_path: Path) -> None:
    """Whether the panel or a person deletes it, its folder doesn't come back."""
    service = ready(make_service, tmp_path)
    for by_hand in (False, True):
        run = start(service, tmp_path)
        over(service)
        identities = [pid(run, role) for role in ("supervisor", "worker", "child_process")]
        if by_hand:
            wait_until(lambda run=run: (run.folder / "exit.json").exists())
            shutil.rmtree(run.folder)
        else:
            service.delete_run(run.id)
        state = service.wait_for(lambda state: ended(state) and state["loaded_until"] is None, PATIENCE_S)
        assert state["run_id"] is None
        wait_until(lambda known=identities: not any(ProcessIdentity.of(number).created for number in known))
        assert not run.folder.exists()
    again = start(service, tmp_path)
    assert over(service)["end_reason"] == "completed"
    assert imported(again)


def test_another_hub_token_needs_another_process(make_service: MakeService, tmp_path: Path) -> None:
    """The token is in the environment of the processes, and only there."""
    service = ready(make_service, tmp_path)
    first = start(service, tmp_path)
    over(service)
    service.secrets.set_huggingface_token("hf_secret")
    second = start(service, tmp_path)
    over(service)
    assert carried_by(first) != carried_by(second)
    for file in tmp_path.joinpath("data", "runs").rglob("*"):
        assert not file.is_file() or b"hf_secret" not in file.read_bytes()

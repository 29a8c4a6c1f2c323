"""OneTrainer under the panel's supervisor and worker: whichever process is killed, nothing is lost and no process remains."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service.host.atomic import read_json
from onetrainer_gradio.service.host.process import ProcessIdentity, group_living
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.trainer import TrainerService
from tests.backends.onetrainer.standin import behave, set_up
from tests.fakes.configs import small_config
from tests.service.conftest import PATIENCE_S, MakeService, ended, make_service
from tests.service.test_recovery import QUICK_TIMEOUTS, bodies, pid, training, wait_until, whole

__all__ = ["make_service"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="speaks of Unix signals")]

LONG = 100_000


def start(
    service: TrainerService, folder: Path, *, epochs: int = LONG, options: dict[str, Any] | None = None, **behavior: Any
) -> Run:
    checkout = folder / "OneTrainer"
    if checkout.exists():
        behave(checkout, **behavior)
    else:
        set_up(checkout, **behavior)
    known = service.checkouts.add(checkout)
    config = small_config(folder, epochs=epochs, tensorboard=False)
    given = RunOptions(name="run", backend="onetrainer", checkout=str(known.folder), **(options or {}))
    return service.runs.get(service.start(config, given))


def child_process(run: Run) -> int:
    wait_until(lambda: (run.folder / "child_process.json").exists())
    return pid(run, "child_process")


def nothing_left(run: Run, group: int) -> bool:
    identities = [
        ProcessIdentity.from_dict(read_json(run.folder / f"{role}.json")) for role in ("supervisor", "worker", "child_process")
    ]
    return not any(identity and identity.alive() for identity in identities) and not group_living(group)


def backups(folder: Path) -> list[Path]:
    return sorted((folder / "workspace" / "backup").glob("*"))


@pytest.mark.parametrize("in_process", [False, True])
def test_a_run_goes_its_way(make_service: MakeService, tmp_path: Path, in_process: bool) -> None:
    """In separate processes or on a thread, state, steps, files and record are like those of every run."""
    service = make_service(in_process=in_process)
    run = start(service, tmp_path, epochs=2, chatty=True, child=True)
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["error"]) == ("completed", None) or state["error"] in ("", None), state["error"]
    assert state["update_step"] == 10
    assert bodies(run, "run_started")[0]["backend"] == "onetrainer"
    assert [body["final"] for body in bodies(run, "model_saved")] == [True]
    assert (tmp_path / "lora.safetensors").read_text() == "weights of step 10"
    assert str(tmp_path / "OneTrainer") in str(run.record.checkout)
    group = bodies(run, "child_process_started")[0]["pid"]
    wait_until(lambda: not group_living(group))
    assert "an ordinary line" in (run.folder / "console.log").read_text().splitlines()
    whole(run)


@pytest.mark.exhaustive
def test_a_stop_is_heard(make_service: MakeService, tmp_path: Path) -> None:
    """The step is finished, a backup and the model are written, and the run can be resumed."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, step_s=0.02)
    group = child_process(run)
    service.wait_for(training, PATIENCE_S)
    service.stop_training()
    state = service.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == "stopped"
    assert nothing_left(run, group)
    steps = state["update_step"]
    assert len(backups(tmp_path)) == 1
    again = start(service, tmp_path, epochs=steps // 5 + 1, options={"resume_from": str(backups(tmp_path)[0])})
    state = service.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == "completed"
    assert bodies(again, "resumed")[0]["global_step"] == steps


@pytest.mark.exhaustive
@pytest.mark.parametrize("deaf", [False, True])
def test_a_hanging_step_is_ended(make_service: MakeService, tmp_path: Path, deaf: bool) -> None:
    """The interrupt reaches OneTrainer through the worker; if it has no effect, the process is killed."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, options=QUICK_TIMEOUTS | {"interrupt_s": 30.0}, **{"deaf_at" if deaf else "hang_at": 3})
    group = child_process(run)
    service.wait_for(lambda state: state["update_step"] == 3, PATIENCE_S)
    service.stop_training()
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["end_signal"]) == ("stopped", "SIGINT")
    assert nothing_left(run, group)
    whole(run)


@pytest.mark.exhaustive
def test_a_stop_works_while_onetrainer_is_imported(make_service: MakeService, tmp_path: Path) -> None:
    """This holds even if the import hangs."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, **{"import": "hang"})
    group = child_process(run)
    service.stop_training()
    state = service.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == "stopped"
    assert nothing_left(run, group)


@pytest.mark.exhaustive
def test_a_killed_worker_does_not_take_the_training_along(make_service: MakeService, tmp_path: Path) -> None:
    """OneTrainer finishes its step, backs up, saves and exits; the end names the kill, and the backup can be resumed."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, step_s=0.02, child=True)
    group = child_process(run)
    service.wait_for(training, PATIENCE_S)
    os.kill(pid(run, "worker"), signal.SIGKILL)
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["end_signal"]) == ("failed", "SIGKILL")
    assert [body["code"] for body in bodies(run, "warning_issued")] == ["companion_finishes"]
    assert len(backups(tmp_path)) == 1
    assert [body["path"] for body in bodies(run, "backup_created")] == [str(backups(tmp_path)[0])]
    assert (tmp_path / "lora.safetensors").exists()
    assert nothing_left(run, group)


@pytest.mark.exhaustive
def test_a_stop_after_the_worker_was_killed_ends_a_hanging_onetrainer(make_service: MakeService, tmp_path: Path) -> None:
    """The escalation continues for the child process alone."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, options=QUICK_TIMEOUTS, deaf_at=3)
    group = child_process(run)
    service.wait_for(lambda state: state["update_step"] == 3, PATIENCE_S)
    os.kill(pid(run, "worker"), signal.SIGKILL)
    wait_until(lambda: bodies(run, "warning_issued"))
    service.stop_training()
    state = service.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == "stopped"
    assert nothing_left(run, group)


@pytest.mark.exhaustive
def test_the_kill_of_a_frozen_worker_reaches_onetrainer(make_service: MakeService, tmp_path: Path) -> None:
    """A stopped process forwards no interrupt; the last stage ends both groups."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, options=QUICK_TIMEOUTS, step_s=0.02, child=True)
    group = child_process(run)
    service.wait_for(training, PATIENCE_S)
    os.kill(pid(run, "worker"), signal.SIGSTOP)
    service.stop_training()
    state = service.wait_for(ended, PATIENCE_S)
    assert (state["end_reason"], state["end_signal"]) == ("stopped", "SIGKILL")
    assert nothing_left(run, group)


@pytest.mark.exhaustive
def test_a_killed_onetrainer_is_named(make_service: MakeService, tmp_path: Path) -> None:
    """The worker reports its death; the next run starts normally."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, step_s=0.02)
    group = child_process(run)
    service.wait_for(training, PATIENCE_S)
    os.kill(group, signal.SIGKILL)
    state = service.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == "failed"
    assert "SIGKILL" in state["error"]
    assert nothing_left(run, group)
    start(service, tmp_path, epochs=1)
    assert service.wait_for(ended, PATIENCE_S)["end_reason"] == "completed"


@pytest.mark.exhaustive
def test_without_supervisor_and_worker_the_panel_waits_for_it(make_service: MakeService, tmp_path: Path) -> None:
    """The run is marked as crashed, but OneTrainer backs up before it exits, and no process remains."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, step_s=0.02)
    group = child_process(run)
    service.wait_for(training, PATIENCE_S)
    for role in ("supervisor", "worker"):
        os.kill(pid(run, role), signal.SIGKILL)
    state = service.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == "lost"
    assert len(backups(tmp_path)) == 1
    assert nothing_left(run, group)


@pytest.mark.exhaustive
def test_a_panel_that_comes_back_continues_to_follow(make_service: MakeService, tmp_path: Path) -> None:
    """The run is unaffected; a later command reaches OneTrainer."""
    service = make_service(in_process=False)
    run = start(service, tmp_path, step_s=0.02)
    group = child_process(run)
    service.wait_for(training, PATIENCE_S)
    service.close()
    again = make_service(in_process=False)
    answer = again.answer(again.sample_default(), PATIENCE_S)
    assert answer is not None
    assert answer["outcome"] == "done"
    again.stop_training()
    assert again.wait_for(ended, PATIENCE_S)["end_reason"] == "stopped"
    assert nothing_left(run, group)

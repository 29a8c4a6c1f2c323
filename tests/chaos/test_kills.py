"""Runs whose processes are killed or suspended at random moments."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.trainer import TrainerService
from tests.chaos.conftest import ROUNDS, Tally
from tests.chaos.panels import TAGS, end_all, ended, examine, identities, killed_panel, leftovers, panel, until
from tests.fakes.configs import small_config

pytestmark = pytest.mark.slow


def started(service: TrainerService, folder: Path, *tags: str) -> Run:
    run_id = service.start(
        small_config(folder), RunOptions(name="run", tags=tags or TAGS, finish_step_s=3, interrupt_s=2, terminate_s=2)
    )
    return service.runs.get(run_id)


def aim(service: TrainerService, run: Run, role: str) -> int:
    """Return the process of a role, once it exists."""
    assert until(lambda: role in identities(run.folder) or run.ended(), 20)
    found = identities(run.folder).get(role)
    return found.pid if found else 0


def usable(tally: Tally, service: TrainerService, folder: Path) -> None:
    """Check that another run can be started and completes, without partial files."""
    run = started(service, folder, "steps=3")
    tally.check("unreachable", until(lambda: ended(service.get_state())), "the next run does not end")
    tally.check("mislabelled", run.state()["end_reason"] == "completed", f"the next run: {run.state()['end_reason']}")
    tally.check("stray", not leftovers(folder), leftovers(folder))


def test_panel_killed(tally, tmp_path):
    """The run continues without the panel, and the next panel finds it."""
    for number in range(ROUNDS + 1):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        try:
            run_id = killed_panel(folder, random.uniform(0.0, 2.5), *TAGS)
            with panel(folder) as service:
                ids = service.runs.ids()
                tally.check("lost", not run_id or run_id in ids, f"{run_id} is gone")
                tally.check("unstopped", until(lambda: ended(service.get_state())), service.get_state()["phase"])
                for each in ids:
                    run = service.runs.get(each)
                    examine(tally, service, run, {"completed"} if run_id else {"completed", "lost", "failed"})
                usable(tally, service, folder)
        finally:
            end_all(folder)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGSEGV, marks=pytest.mark.exhaustive)], ids=["kill", "segv"]
)
def test_worker_killed(tally, tmp_path, number):
    """The actual cause is reported, everything saved before is complete, and the run resumes from its newest backup."""
    for turn in range(ROUNDS):
        random, folder = tally.round(turn), tmp_path / str(turn)
        folder.mkdir()
        try:
            with panel(folder) as service:
                run = started(service, folder)
                pid = aim(service, run, "worker")
                time.sleep(random.uniform(0.0, 3.0))
                over = run.ended()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                tally.check("unstopped", until(lambda: ended(service.get_state())), service.get_state()["phase"])
                examine(tally, service, run, {"completed"} if over else {"failed", "completed"})
                if run.state()["end_reason"] == "failed":
                    tally.check("mislabelled", number.name in (run.state()["error"] or ""), run.state()["error"])
                if any(file["kind"] == "backup" for file in run.files()):
                    again = service.runs.get(service.resume(run.id))
                    tally.check("unstopped", until(lambda: ended(service.get_state())), "the resumed run")
                    tally.check("lost", again.state()["progress"]["global_step"] == 60, f"resumed to {again.state()['progress']}")
                usable(tally, service, folder)
        finally:
            end_all(folder)


def test_supervisor_killed(tally, tmp_path):
    """The run continues and keeps its name."""
    for number in range(ROUNDS):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        try:
            with panel(folder) as service:
                run = started(service, folder)
                pid = aim(service, run, "supervisor")
                time.sleep(random.uniform(0.3, 2.5))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                tally.check("unstopped", until(lambda: ended(service.get_state())), service.get_state()["phase"])
                examine(tally, service, run, {"completed"})
                usable(tally, service, folder)
        finally:
            end_all(folder)


@pytest.mark.exhaustive
def test_suspended_supervisor_and_stop(tally, tmp_path):
    """A suspended supervisor neither keeps its run from stopping nor another one from starting."""
    for number in range(ROUNDS):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        pid = 0
        try:
            with panel(folder) as service:
                run = started(service, folder, "steps=100000", "step_s=0.01")
                pid = aim(service, run, "supervisor")
                time.sleep(random.uniform(0.5, 1.5))
                os.kill(pid, signal.SIGSTOP)
                service.stop_training()
                over = until(lambda: ended(service.get_state()), 30)
                tally.check("unstopped", over, service.get_state()["process_running"])
                tally.check("mislabelled", run.state()["end_reason"] == "stopped", run.state()["end_reason"])
                if over:
                    usable(tally, service, folder)
        finally:
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            end_all(folder)


@pytest.mark.exhaustive
def test_run_folder_deleted(tally, tmp_path):
    """The processes notice it and end within seconds, backups stay, and the panel can start the next run."""
    for number in range(ROUNDS):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        with panel(folder) as service:
            run = started(service, folder, "steps=100000", "step_s=0.01", "backup_every=50")
            aim(service, run, "worker")
            time.sleep(random.uniform(0.8, 2.0))
            living = identities(run.folder)
            backups = list((folder / "workspace" / "backup").glob("*"))
            for _ in range(100):  # the run still writes into it
                shutil.rmtree(run.folder, ignore_errors=True)
                if not run.folder.exists():
                    break
            gone = until(lambda living=living: not any(each.alive() for each in living.values()), 20)
            tally.check("unstopped", gone, f"{[role for role, each in living.items() if each.alive()]} still alive")
            tally.check("lost", all(path.exists() for path in backups), "a backup is gone")
            tally.check(
                "unreachable", until(lambda: service.get_state()["can"]["start"], 15), service.get_state()["why"]["start"]
            )
            for each in living.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)
            if service.get_state()["can"]["start"]:
                usable(tally, service, folder)
        end_all(folder)


@pytest.mark.exhaustive
@pytest.mark.parametrize("in_process", [True, False], ids=["thread", "process"])
def test_status_after_a_start(tally, tmp_path, in_process):
    """From the response to a start on, the state is that of the new run, also while the last one's process is ending."""
    with panel(tmp_path, in_process=in_process) as service:
        for number in range((4 if in_process else 1) * ROUNDS + 1):
            random = tally.round(number)
            run = started(
                service, tmp_path, "steps=2", f"load_s={random.uniform(0, 0.1):.3f}", f"linger_s={random.uniform(0, 2):.1f}"
            )
            state = service.get_state()
            tally.check("mislabelled", state["run_id"] == run.id, f"{state['run_id']} instead of {run.id}")
            tally.check("mislabelled", state["is_training"] or run.ended(), f"{state['status']} right after the start")
            until(lambda: not service.get_state()["is_training"])
    end_all(tmp_path)

"""Automatic resumes while panels are killed, restarted repeatedly, and have wrong clocks: no resume is lost or made twice."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from onetrainer_gradio.config.options import AutoResume, RunOptions
from onetrainer_gradio.process_birth import boot_id
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.trainer import TrainerService
from tests.chaos.conftest import ROUNDS, Tally
from tests.chaos.panels import REHEARSAL, ROOT, end_all, ended, identities, panel, until
from tests.fakes.configs import small_config

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

ATTEMPTS = 3
# Fails at step 30 each time, with a complete backup at step 20.
TAGS = ("steps=60", "step_s=0.01", "backup_every=20", "fail_at=30")
WATCH = """
import sys, time
from pathlib import Path
from onetrainer_gradio.service import ServiceSettings, TrainerService

TrainerService(ServiceSettings(data_folder=Path(sys.argv[1]), backend=sys.argv[2])).open()
print("open", flush=True)
time.sleep(600)
"""


def options(first_wait_s: float = 0.0, tags: tuple[str, ...] = TAGS) -> RunOptions:
    return RunOptions(name="run", tags=tags, auto_resume=AutoResume(attempts=ATTEMPTS, first_wait_s=first_wait_s))


def panel_for(folder: Path, seconds: float) -> None:
    """Start another panel on the folder, killed this long after it was opened."""
    with subprocess.Popen(
        [sys.executable, "-c", WATCH, str(folder / "data"), REHEARSAL], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.kill()


def over(service: TrainerService) -> bool:
    """Return whether the last attempt has ended and its end is decided."""
    newest = service.runs.ids()[0]
    return ended(service.get_state()) and service.auto_resume.status(newest)["state"] == "exhausted"


def examine(tally: Tally, service: TrainerService) -> None:
    """Check for one run per attempt, each resuming the one before it, and one notification per end."""
    runs = [service.runs.get(run_id) for run_id in reversed(service.runs.ids())]
    attempts = [run.options().resumption.attempt if run.options().resumption else 0 for run in runs]
    tally.check("lost", set(range(ATTEMPTS + 1)) <= set(attempts), f"attempts {attempts}")
    tally.check("mislabelled", len(attempts) == ATTEMPTS + 1, f"attempts {attempts}")
    for before, run in itertools.pairwise(runs):
        resumption = run.options().resumption
        tally.check("mislabelled", resumption and resumption.run == before.id, f"{run.id} resumes {resumption}")
    notified = [each["run_id"] for each in service.notifications.page(200)["notifications"] if each["run_id"]]
    tally.check(
        "lost", set(notified) >= {run.id for run in runs}, f"no notification of { {run.id for run in runs} - set(notified) }"
    )
    twice = [run_id for run_id, count in Counter(notified).items() if count > 1]
    tally.check("mislabelled", not twice, f"notified twice: {twice}")
    tally.check("unstopped", not any(identities(run.folder) for run in runs), "a process is left")
    tally.check("stray", not service.queue.summary()["waiting"], service.queue.summary())


def test_panels_killed_during_automatic_resumes(tally, tmp_path):
    """Each panel lives for a moment, and the last one finds everything as it should be."""
    for number in range(ROUNDS):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        try:
            with panel(folder) as service:
                service.start(small_config(folder), options())
            for _ in range(6):
                panel_for(folder, random.uniform(0.0, 1.5))
            with panel(folder) as service:
                tally.check("unreachable", until(lambda: over(service), 60), service.runs.ids())
                examine(tally, service)
        finally:
            end_all(folder)


def power_cut(tally: Tally, folder: Path, more_s: float) -> None:
    endless = ("steps=100000", "step_s=0.01", "backup_every=20")
    with panel(folder) as service:
        run = service.runs.get(service.start(small_config(folder), options(tags=endless)))
        tally.check("unreachable", until(lambda: run.metrics.count() > 25), "the run doesn't train")
        time.sleep(more_s)
    for role, each in identities(run.folder).items():
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.pid, signal.SIGKILL)
        write_json(run.folder / f"{role}.json", {**each.as_dict(), "boot": f"not {boot_id()}"})
    with panel(folder) as service:
        tally.check("lost", until(lambda: len(service.runs.ids()) == 2), service.runs.ids())
        tally.check("mislabelled", run.state()["end_reason"] == "lost", run.state()["end_reason"])
        again = service.runs.get(service.runs.ids()[0])
        tally.check("lost", until(lambda: (again.resumed_step() or 0) >= 20), again.resumed_step())
        tally.check("mislabelled", again.resumes_run() == run.id, again.resumes_run())
        with contextlib.suppress(OSError):
            service.stop_training(now=True)
        tally.check("unstopped", until(lambda: ended(service.get_state())), service.get_state()["phase"])


def test_power_cuts_during_automatic_resumes(tally, tmp_path):
    """All processes die at once and the machine restarts: the run has crashed, and resumes from its newest complete backup."""
    for number in range(ROUNDS):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        try:
            power_cut(tally, folder, random.uniform(0.0, 1.0))
        finally:
            end_all(folder)


def clock_jump(tally: Tally, folder: Path, jump: float) -> None:
    with panel(folder) as service:
        first = service.start(small_config(folder), options(first_wait_s=3600))
        waits = until(lambda: service.auto_resume.status(first)["state"] == "waiting")
        tally.check("lost", waits, service.auto_resume.status(first))
        until(lambda: ended(service.get_state()))
    with panel(folder) as service:
        service.dispatcher._clock = lambda: time.time() + jump
        service.dispatcher.wake()
        if jump < 0:
            tally.check("mislabelled", service.auto_resume.status(first)["at"], service.auto_resume.status(first))
            service.auto_resume.resume_now(first)
        resumed = until(lambda: service.auto_resume.status(first)["state"] == "resumed")
        tally.check("unreachable", resumed, service.auto_resume.status(first))
        tally.check("mislabelled", until(lambda: len(service.runs.ids()) == 2), service.runs.ids())
        until(lambda: ended(service.get_state()))
        note = read_json(service.runs.get(first).folder / "auto_resume.json")
        tally.check("torn", isinstance(note, dict) and note["decision"] == "queued", json.dumps(note))


def test_clock_jumps_before_a_resume(tally, tmp_path):
    """A clock that was set forward resumes immediately, one that was set back can be overruled; the state has the time."""
    for number in range(ROUNDS):
        random, folder = tally.round(number), tmp_path / str(number)
        folder.mkdir()
        jump = random.choice((-1, 1)) * random.uniform(2e5, 1e6)
        try:
            clock_jump(tally, folder, jump)
        finally:
            end_all(folder)

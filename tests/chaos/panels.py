"""Panels to be killed, and a check of what they leave: is everything there, complete, reachable and correctly reported?"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from onetrainer_gradio.service.host.atomic import read_json
from onetrainer_gradio.service.host.process import ProcessIdentity, kill
from onetrainer_gradio.service.runs.record import Run
from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService
from tests.chaos.conftest import Tally

REHEARSAL = "tests.fakes.rehearsal:run"
ROOT = Path(__file__).parents[2]
PATIENCE_S = 40.0
ROLES = ("supervisor", "worker", "child_process")

# A run of about two seconds with all kinds of output.
TAGS = ("steps=60", "step_s=0.01", "load_s=0.2", "cache_s=0.2", "sample_every=20", "backup_every=20", "write_s=0.1", "print=5")

PANEL = """
import sys, time
from pathlib import Path
from onetrainer_gradio.config import RunOptions
from onetrainer_gradio.service import ServiceSettings, TrainerService
from tests.fakes.configs import small_config

folder = Path(sys.argv[1])
service = TrainerService(ServiceSettings(data_folder=folder / "data", backend=sys.argv[2]))
service.open()
print("open", flush=True)
print(service.start(small_config(folder), RunOptions(name="run", tags=tuple(sys.argv[3:]))), flush=True)
time.sleep(600)
"""


class NoGpu:
    """A machine without a GPU."""

    def read(self) -> list[dict[str, object]]:
        return []


@contextlib.contextmanager
def panel(folder: Path, **settings: Any) -> Iterator[TrainerService]:
    """Open a service on ``folder / "data"``."""
    given = {"data_folder": folder / "data", "backend": REHEARSAL} | settings
    service = TrainerService(ServiceSettings(**given), gpus=NoGpu)
    service.open()
    try:
        yield service
    finally:
        service.close()


def killed_panel(folder: Path, wait_s: float, *tags: str) -> str:
    """Return the id of a run that another panel started; that panel is killed this long after it began to start it."""
    command = [sys.executable, "-c", PANEL, str(folder), REHEARSAL, *tags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait_s)
        process.kill()
        return process.stdout.readline().strip()


def ended(state: dict[str, Any]) -> bool:
    """Return whether no process of the run is left."""
    return not state["is_training"] and not state["process_running"]


def until(predicate: Callable[[], Any], timeout_s: float = PATIENCE_S) -> bool:
    """Return whether the condition becomes true in time."""
    give_up_at = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() >= give_up_at:
            return False
        time.sleep(0.05)
    return True


def identities(run_folder: Path) -> dict[str, ProcessIdentity]:
    """Return the living processes that work for a run."""
    found = {role: ProcessIdentity.from_dict(read_json(run_folder / f"{role}.json")) for role in ROLES}
    return {role: each for role, each in found.items() if each is not None and each.alive() and each.pid != os.getpid()}


def end_all(folder: Path) -> None:
    """Kill all processes of any run."""
    for run_folder in (folder / "data" / "runs").glob("*"):
        for each in identities(run_folder).values():
            kill(each.pid)


def examine(tally: Tally, service: TrainerService, run: Run, expected: set[str]) -> None:
    """Compare an ended run with its files: end, journal, records, results, processes and leftovers."""
    state = run.state()
    events = [entry.body for entry in run.journal.since(0, 100_000)]
    ends = [event["reason"] for event in events if event["type"] == "run_ended"]
    tally.check("mislabelled", ends[-1:] and ends[-1] in expected, f"{run.id} ended as {ends}, expected {expected}")
    tally.check("mislabelled", len(ends) == 1, f"{run.id} has {len(ends)} ends")
    row = next((row for row in service.runs.list() if row["id"] == run.id), None)
    tally.check("lost", row, f"{run.id} is not in the list")
    tally.check("mislabelled", row and row["end_reason"] == state["end_reason"] == ends[-1], f"{run.id}: list, state and journal")
    steps = run.metrics.rows()[:, 0].tolist() if run.metrics.count() else []
    tally.check("torn", steps == list(range(1, len(steps) + 1)), f"{run.id} has steps {steps[:5]}... of {len(steps)}")
    tally.check("unstopped", until(lambda: not identities(run.folder), 15), f"{run.id}: {identities(run.folder)}")
    for path in run.folder.rglob("*.json"):
        tally.check("torn", read_json(path) is not None, f"{path} is no JSON")
    for event in events:
        kept = event.get("path") if event["type"] in {"backup_created", "sample_generated"} else None
        if kept and not Path(kept).exists():
            tally.count("lost", f"{event['type']} {kept}")
    for file in run.files():
        found = run.open_file(file["id"])
        tally.check("torn", found.size() > 0 or found.kind == "backup", f"{found.path} is empty")


def leftovers(folder: Path) -> list[str]:
    """Return partial files of interrupted writes; those of a writing panel are gone a moment later."""
    marks = (".tmp", ".unfinished", ".partial")

    def found() -> list[str]:
        return [str(path) for path in folder.rglob("*") if any(mark in path.name for mark in marks)]

    until(lambda: not found(), 5)
    return found()


def checksums(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def copied(source: Path, target: Path) -> Path:
    """Return a copy of a whole folder."""
    shutil.copytree(source, target, symlinks=True)
    return target


def as_json(path: Path) -> Any:
    return json.loads(path.read_text())

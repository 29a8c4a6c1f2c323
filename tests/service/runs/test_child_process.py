"""A worker's child process is identified by its start time, ended with its process group, and awaited while it finishes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onetrainer_gradio.events import RunEnded
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.process import group_living
from onetrainer_gradio.service.processes.supervisor import StopWatch
from onetrainer_gradio.service.runs.child_process import ChildProcess, record_child_process
from onetrainer_gradio.service.runs.control import CommandFolder
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.run_folder import process_file
from tests.waiting import until

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="speaks of process groups"), pytest.mark.slow]

CHILD_LEFT = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('left', flush=True)"
)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group and sleeps."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0) as sleeping:
        yield sleeping
        sleeping.kill()


def test_it_is_killed_by_its_number_and_birth(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    """It is alive before, and nothing is left afterwards."""
    record_child_process(tmp_path, process.pid)
    child_process = ChildProcess(tmp_path)
    assert child_process.alive()
    child_process.kill()
    process.wait(10)
    assert not child_process.alive()
    assert not child_process.kill()


def test_a_number_that_was_given_to_another_process_is_left_alone(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    """A process of another boot is left alone too."""
    record_child_process(tmp_path, process.pid)
    known = read_json(tmp_path / "child_process.json")
    for other in ({"created": "1"}, {"boot": "another boot"}, {"created": ""}):
        write_json(tmp_path / "child_process.json", known | other)
        assert not ChildProcess(tmp_path).kill()
    assert process.poll() is None
    assert not ChildProcess(tmp_path / "nobody").alive()
    assert not ChildProcess(tmp_path / "nobody").kill()


def test_it_is_found_under_the_name_of_an_earlier_version(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    """A run started by an older panel wrote companion.json; the supervisor's files had other names, too."""
    child_process = ChildProcess(tmp_path)
    record_child_process(tmp_path, process.pid)
    (tmp_path / "child_process.json").rename(tmp_path / "companion.json")
    assert child_process.alive()
    for name, former in (("supervisor.json", "keeper.json"), ("supervisor_heartbeat", "keeper_heartbeat")):
        (tmp_path / former).touch()
        assert process_file(tmp_path, name).name == former
        (tmp_path / name).touch()
        assert process_file(tmp_path, name).name == name


def test_what_it_left_in_its_group_is_ended_too(tmp_path: Path) -> None:
    """An example is a chart server or a data loader whose parent has exited."""
    with subprocess.Popen([sys.executable, "-c", CHILD_LEFT], process_group=0, stdout=subprocess.PIPE) as parent:
        record_child_process(tmp_path, parent.pid)
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"left\n"
        assert parent.wait(10) == 0
    child_process = ChildProcess(tmp_path)
    assert not child_process.alive()
    assert group_living(child_process.identity.pid)
    until(lambda: not child_process.kill())
    assert not group_living(child_process.identity.pid)


@pytest.mark.parametrize(("reason", "waits"), [("", True), ("lost", True), ("failed", False), ("stopped", False)])
def test_it_may_finish_where_nobody_wanted_its_end(
    tmp_path: Path, process: subprocess.Popen[bytes], reason: str, waits: bool
) -> None:
    """It may finish after its worker or the run's panel died; a run that ended otherwise no longer needs it."""
    CommandFolder(tmp_path).create()
    record_child_process(tmp_path, process.pid)
    journal = Journal(tmp_path / "journal.jsonl")
    if reason:
        journal.append(RunEnded(reason=reason))  # type: ignore[arg-type]
    watch = StopWatch(tmp_path, os.getpid())
    assert watch.wait_for_child_process()
    if not waits:
        process.wait(10)
    assert (process.poll() is None) is waits
    last = journal.since(0, 100)[-1].body["type"]
    assert last == ("run_ended" if reason else "warning_issued")
    watch.close()
    journal.close()

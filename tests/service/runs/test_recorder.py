"""Where a run's events are stored."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from onetrainer_gradio.commands import BackupNow, Command, Stop
from onetrainer_gradio.events import (
    CommandCompleted,
    CommandReceived,
    PhaseChanged,
    PhaseProgress,
    RunEnded,
    RunPlanned,
    WarningIssued,
)
from onetrainer_gradio.service.host.lock import FolderLock
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.metrics import MetricsReader
from onetrainer_gradio.service.runs.recorder import PROGRESS_EVERY_S, Recorder
from tests.service.runs.test_metrics import step


class Clock:
    """A clock that moves only when it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def kinds(folder: Path) -> list[str]:
    return [entry.body["type"] for entry in Journal(folder / "journal.jsonl").since(0)]


def test_steps_go_to_the_metrics_and_all_else_to_the_journal(tmp_path: Path) -> None:
    """A million steps don't make the journal long."""
    recorder = Recorder(tmp_path)
    plan = {"total_steps": 2, "steps_per_epoch": 2, "total_updates": 2, "epochs": 1, "first_step": 0, "images": 2}
    recorder(RunPlanned(**plan, trainable_parameters=1, learning_rates=("unet",)))
    recorder(step(1))
    recorder(step(2))
    recorder(RunEnded(reason="completed"))
    assert kinds(tmp_path) == ["run_planned", "run_ended"]
    reader = MetricsReader(tmp_path / "metrics.bin")
    assert (reader.count(), reader.columns()[-1]) == (2, "lr/unet")


def test_a_change_of_phase_comes_after_the_steps_before_it(tmp_path: Path) -> None:
    """A viewer that gets the phase also has the steps before it."""
    recorder = Recorder(tmp_path, clock=Clock())
    for number in range(5):
        recorder(step(number))
    recorder(PhaseChanged(phase="sampling"))
    assert MetricsReader(tmp_path / "metrics.bin").count() == 5


def test_progress_is_thinned_out_but_begins_and_ends(tmp_path: Path) -> None:
    """Ten thousand reports in a moment become two; the last one is never omitted."""
    clock = Clock()
    recorder = Recorder(tmp_path, clock=clock)
    for done in range(1, 1001):
        recorder(PhaseProgress(phase="caching", done=done, total=1000))
    assert [entry.body["done"] for entry in Journal(tmp_path / "journal.jsonl").since(0)] == [1, 1000]
    clock.now += PROGRESS_EVERY_S
    recorder(PhaseProgress(phase="sampling", done=1, total=20))
    recorder(PhaseProgress(phase="sampling", done=2, total=20))
    assert len(kinds(tmp_path)) == 3


def test_a_command_has_one_answer(tmp_path: Path) -> None:
    """If a backend answers twice, the first answer counts."""
    recorder = Recorder(tmp_path)
    for outcome in ("done", "refused"):
        recorder(CommandCompleted(command_id="x", command="pause", outcome=outcome))  # type: ignore[arg-type]
    assert [entry.body["outcome"] for entry in Journal(tmp_path / "journal.jsonl").since(0)] == ["done"]


def test_an_answer_has_the_author_of_its_command(tmp_path: Path) -> None:
    """Backends answer by ID only; the journal names the command's author in both events."""
    recorder = Recorder(tmp_path, lambda: [BackupNow(id="left", by="Ada")])
    recorder(CommandReceived(command_id="x", command="pause", by="Bob"))
    recorder(CommandCompleted(command_id="x", command="pause", outcome="done"))
    recorder(RunEnded(reason="completed"))
    found = [(entry.body["command_id"], entry.body["by"]) for entry in Journal(tmp_path / "journal.jsonl").since(0)[:-1]]
    assert found == [("x", "Bob"), ("x", "Bob"), ("left", "Ada")]


def test_what_was_left_is_answered_before_the_end(tmp_path: Path) -> None:
    """No command is without an answer, and RunEnded stays the last line."""
    commands: list[Command] = [BackupNow(id="done"), BackupNow(id="left"), Stop(id="stop")]
    recorder = Recorder(tmp_path, lambda: commands)
    recorder(CommandCompleted(command_id="done", command="backup_now", outcome="done"))
    recorder(RunEnded(reason="stopped"))
    recorder(WarningIssued(code="late", message="after the end"))
    bodies = [entry.body for entry in Journal(tmp_path / "journal.jsonl").since(0)]
    assert [(body["type"], body.get("command_id"), body.get("outcome")) for body in bodies] == [
        ("command_completed", "done", "done"),
        ("command_completed", "left", "refused"),
        ("command_completed", "stop", "done"),
        ("run_ended", None, None),
    ]
    assert "ended" in bodies[1]["reason"]


@pytest.mark.slow
def test_a_command_and_the_end_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A command holds the folder's lock while it is recorded; the end waits for that lock."""
    recorder = Recorder(tmp_path, lambda: [Stop(id="a")])
    with FolderLock(tmp_path):
        end = threading.Thread(target=recorder, args=(RunEnded(reason="stopped"),))
        end.start()
        time.sleep(0.1)  # it is waiting for the folder's lock now
        command = threading.Thread(target=recorder, args=(CommandReceived(command_id="a", command="stop"),))
        command.start()
        command.join(5.0)
        assert not command.is_alive()
    end.join(5.0)
    assert kinds(tmp_path) == ["command_received", "command_completed", "run_ended"]


def test_followers_in_this_process_are_notified_of_each_write(tmp_path: Path) -> None:
    """A run on a thread needs no polling."""
    calls: list[int] = []
    recorder = Recorder(tmp_path, notify=lambda: calls.append(1))
    recorder(PhaseChanged(phase="training"))
    assert len(calls) == 1
    recorder(RunEnded(reason="completed"))
    assert len(calls) > 1


FULL_DISK = """
import resource, sys
from pathlib import Path
from onetrainer_gradio.events import PhaseChanged, RunEnded, WarningIssued
from onetrainer_gradio.service.runs.recorder import Recorder
from tests.service.runs.test_metrics import step

folder, later = Path(sys.argv[1]), sys.argv[2] == "later"
recorder = Recorder(folder, last_try_s=0.1)
recorder(PhaseChanged(phase="training"))
recorder(step(1))
recorder.flush()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))  # from here on every file is full
for number in range(2, 100):
    recorder(step(number))
    recorder.flush()
    recorder(WarningIssued(code="n", message=str(number)))
if later:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
recorder.flush()
recorder(RunEnded(reason="completed"))
print(recorder.ended)
"""


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the limit on file sizes is a thing of Unix")
@pytest.mark.parametrize("space", ["later", "never"])
def test_a_full_disk_stops_neither_the_training_nor_loses_what_fits_in_memory(tmp_path: Path, space: str) -> None:
    """While nothing can be written, training continues; afterwards everything is recorded, with a warning."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), space]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=Path(__file__).parents[3])
    assert "Can't write" in done.stderr
    assert done.stdout.strip() == str(space == "later")
    entries = Journal(tmp_path / "journal.jsonl").since(0)
    if space == "later":
        assert MetricsReader(tmp_path / "metrics.bin").rows()[:, 0].tolist() == list(range(1, 100))
        messages = [entry.body["message"] for entry in entries if entry.body.get("code") == "n"]
        assert messages == [str(number) for number in range(2, 100)]
        assert sum(entry.body.get("code") == "records_delayed" for entry in entries) >= 1
        assert entries[-1].body["type"] == "run_ended"
    else:
        assert entries[0].body["type"] == "phase_changed"

"""Finishing a run from outside."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from onetrainer_gradio.commands import Pause, Stop
from onetrainer_gradio.errors import CommandRefusedError
from onetrainer_gradio.events import CommandCompleted, ErrorInfo, ModelSaved, RunEnded, RunPlanned
from onetrainer_gradio.service.runs.control import CommandFolder
from onetrainer_gradio.service.runs.ending import finish, recorded_end, send
from onetrainer_gradio.service.runs.journal import Journal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    CommandFolder(tmp_path).create()
    return tmp_path


def lines(folder: Path) -> list[tuple[str, str]]:
    entries = Journal(folder / "journal.jsonl").since(0)
    return [(entry.body["type"], entry.body.get("command_id", entry.body.get("reason"))) for entry in entries]


@pytest.mark.slow
def test_the_first_who_finishes_a_run_counts(folder: Path) -> None:
    """Supervisor and panel may both try: there is one end and one answer for each command."""
    send(folder, Pause(id="taken"))
    CommandFolder(folder).take()
    send(folder, Pause(id="waiting"))
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(finish(folder, RunEnded(reason="lost")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 7 + [True]
    assert lines(folder) == [("command_completed", "taken"), ("command_completed", "waiting"), ("run_ended", "lost")]


@pytest.mark.slow
def test_what_was_answered_is_not_answered_again(folder: Path) -> None:
    """Only the commands without an answer get one."""
    send(folder, Pause(id="a"))
    send(folder, Stop(id="b"))
    Journal(folder / "journal.jsonl").append(CommandCompleted(command_id="a", command="pause", outcome="done"))
    finish(folder, RunEnded(reason="failed"))
    assert [name for kind, name in lines(folder) if kind == "command_completed"] == ["a", "b"]


def test_an_ended_run_takes_no_commands(folder: Path) -> None:
    """A late command gets an error, and the end stays the last line."""
    finish(folder, RunEnded(reason="completed"))
    with pytest.raises(CommandRefusedError, match="ended"):
        send(folder, Pause())
    assert CommandFolder(folder).received() == []


@pytest.mark.slow
def test_senders_racing_with_the_end_get_an_answer_or_a_refusal(folder: Path) -> None:
    """However the race ends, an accepted command is answered before the end."""
    refused: list[str] = []

    def press(name: str) -> None:
        try:
            send(folder, Pause(id=name))
        except CommandRefusedError:
            refused.append(name)

    names = [f"c{number}" for number in range(20)]
    threads = [threading.Thread(target=press, args=(name,)) for name in names]
    threads.insert(10, threading.Thread(target=finish, args=(folder, RunEnded(reason="completed"))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = [name for kind, name in lines(folder) if kind == "command_completed"]
    assert sorted(answered + refused) == sorted(names)
    assert lines(folder)[-1] == ("run_ended", "completed")


def test_an_end_written_under_the_old_key_keeps_its_suggestion(folder: Path) -> None:
    """Run folders of earlier versions have `change` where this version writes `suggestion`."""
    error = {"type": "OutOfMemoryError", "message": "No memory is left.", "change": "lower the batch size"}
    end = {"type": "run_ended", "at": 1.0, "reason": "failed", "error": error}
    (folder / "exit.json").write_text(json.dumps({"exit_code": 1, "signal": "", "rung": None, "at": 1.0, "end": end}))
    recorded = recorded_end(folder)
    assert recorded is not None
    assert recorded.error == ErrorInfo(type="OutOfMemoryError", message="No memory is left.", suggestion="lower the batch size")
    (folder / "journal.jsonl").write_text(json.dumps(end) + "\n")
    (entry,) = Journal(folder / "journal.jsonl").since(0)
    assert entry.body["error"] == {
        "type": "OutOfMemoryError",
        "message": "No memory is left.",
        "suggestion": "lower the batch size",
    }
    assert entry.event() == recorded


KILLED = ErrorInfo(type="WorkerDiedError", message="The training process ended with signal SIGKILL.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("saved_at", "final", "stop", "end", "killed", "reason"),
    [
        (10, True, False, RunEnded(reason="failed", error=KILLED, signal="SIGKILL"), True, "completed"),
        (10, True, False, RunEnded(reason="lost", error=KILLED), True, "completed"),
        (10, True, False, RunEnded(reason="lost", error=KILLED), False, "lost"),
        (10, True, True, RunEnded(reason="lost", error=KILLED), True, "stopped"),
        (9, True, False, RunEnded(reason="lost", error=KILLED), True, "lost"),
        (10, False, False, RunEnded(reason="lost", error=KILLED), True, "lost"),
        (10, True, False, RunEnded(reason="failed", error=KILLED, exit_code=1), False, "failed"),
    ],
)
def test_a_run_that_was_killed_after_its_last_save_has_completed(
    folder: Path, saved_at: int, final: bool, stop: bool, end: RunEnded, killed: bool, reason: str
) -> None:
    """It has completed if that was the final model of the last planned step.

    An error raised by the run is a failure; a power cut may damage it.
    """
    journal = Journal(folder / "journal.jsonl")
    plan = {"total_steps": 10, "steps_per_epoch": 10, "total_updates": 10, "epochs": 1}
    journal.append(RunPlanned(**plan, first_step=0, images=10, trainable_parameters=1, learning_rates=("unet",)))
    journal.append(ModelSaved(path="/x", final=final, global_step=saved_at, bytes=1))
    if stop:
        CommandFolder(folder).note_stop(Stop())
    finish(folder, end, killed=killed)
    ended = journal.ended()
    assert ended is not None
    assert ended.body["reason"] == reason
    warned = [entry.body["message"] for entry in journal.since(0, only=("warning_issued",))]
    assert warned == ([] if reason in ("failed", "lost") else [f"{KILLED.message} The final model was already saved."])

"""Finish a run from outside: answer remaining commands and record the one RunEnded.

``exit.json`` contains the end as well. It is written atomically, so a journal that was damaged by a crash, a full disk or an edit
doesn't change how a run ended.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any, get_args

from onetrainer_gradio.commands import Command
from onetrainer_gradio.errors import CommandRefusedError
from onetrainer_gradio.events import (
    CommandCompleted,
    EndReason,
    ErrorInfo,
    ModelSaved,
    RunEnded,
    RunPlanned,
    WarningIssued,
    decode,
    is_event,
    tag,
)
from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.host.lock import FolderLock
from onetrainer_gradio.service.runs.cause import end_of_worker
from onetrainer_gradio.service.runs.control import CommandFolder, unanswered
from onetrainer_gradio.service.runs.journal import Journal
from onetrainer_gradio.service.runs.stop_escalation import STOP_STAGES

_EXIT = "exit.json"
_SUMMARY = "summary.json"
# A command must not wait for a frozen process that holds the lock of the run.
_COMMAND_WAITS_S = 1.0


def note_exit(folder: Path, *, exit_code: int | None = None, by_signal: str = "", stage: str | None = None) -> None:
    """Write how the process of a run ended, with the end in the journal.

    :raises OSError: if the disk can't be written.
    """
    ended = Journal(folder / "journal.jsonl").ended()
    note = {"exit_code": exit_code, "signal": by_signal, "stage": stage, "at": time.time(), "end": ended.body if ended else None}
    write_json(folder / _EXIT, note, make_folder=False)


def recorded_end(folder: Path) -> RunEnded | None:
    """Return the end of a run from its exit.json, or else from its line in the list, or None."""
    note = read_json(folder / _EXIT)
    if isinstance(note, dict) and (end := _end_of_note(folder, note)):
        return end
    kept = read_json(folder / _SUMMARY)
    summary = kept.get("summary") if isinstance(kept, dict) else None
    return _end_of_summary(summary) if isinstance(summary, dict) else None


def _end_of_note(folder: Path, note: dict[str, Any]) -> RunEnded | None:
    body = note.get("end")
    if isinstance(body, dict) and is_event(body) and body["type"] == tag(RunEnded):
        end = decode(body)
        return end if isinstance(end, RunEnded) else None
    code, name, at = note.get("exit_code"), note.get("signal") or "", note.get("at")
    if not isinstance(at, int | float) or not isinstance(name, str) or (not name and type(code) is not int):
        return None
    if code == 0:  # written before the end was part of the file
        stopped = bool(CommandFolder(folder).stops())
        return RunEnded(at=at, reason="stopped" if stopped else "completed")
    number = -int(getattr(signal, name, signal.SIGTERM)) if name else code
    noted = note.get("stage", note.get("rung"))  # earlier versions wrote `rung`
    stage = next((known for known in STOP_STAGES if known == noted), None)
    return end_of_worker(int(number or 0), stage, {}, {})


def _end_of_summary(summary: dict[str, Any]) -> RunEnded | None:
    at, error = summary.get("ended_at"), summary.get("error")
    reason: EndReason | None = next((known for known in get_args(EndReason) if known == summary.get("end_reason")), None)
    if reason is None or not isinstance(at, int | float):
        return None
    return RunEnded(at=at, reason=reason, error=ErrorInfo(type="TrainerError", message=error) if isinstance(error, str) else None)


def answered_commands(journal: Journal) -> set[str]:
    """Return the IDs of the answered commands."""
    entries = journal.since(0, journal.length(), only=(tag(CommandCompleted),))
    return {entry.body["command_id"] for entry in entries}


def finish(folder: Path, end: RunEnded, *, killed: bool = False) -> bool:
    """Answer remaining commands and record the end, unless it is already recorded. Return whether this call did it.

    An end in exit.json takes precedence over ``end``. A run whose process was ``killed`` after it had saved the final model of
    its last step has completed, with a warning about the kill: only the record of its end is missing. A power cut is no such
    kill, because it may damage what was just written.

    :raises OSError: if the journal cannot be written.
    """
    journal = Journal(folder / "journal.jsonl")
    try:
        with FolderLock(folder):
            if journal.ended():
                return False
            if (recorded := recorded_end(folder)) is not None:
                end = recorded
            elif killed and end.reason in ("failed", "lost") and _saved_last_step(journal):
                cause = f"{end.error.message} " if end.error else ""
                journal.append(WarningIssued(code="killed_after_save", message=f"{cause}The final model was already saved."))
                end = RunEnded(reason="stopped" if CommandFolder(folder).stops() else "completed")
            for answer in unanswered(CommandFolder(folder).received(), answered_commands(journal), end.reason):
                journal.append(answer)
            journal.append(end)
            return True
    finally:
        journal.close()


def _saved_last_step(journal: Journal) -> bool:
    planned, saved = None, None
    for entry in journal.since(0, journal.length(), only=(tag(RunPlanned), tag(ModelSaved))):
        event = entry.event()
        if isinstance(event, RunPlanned):
            planned = event
        elif isinstance(event, ModelSaved) and event.final:
            saved = event
    return saved_last_step(planned, saved)


def saved_last_step(planned: RunPlanned | None, saved: ModelSaved | None) -> bool:
    """Return whether a final model is that of the last planned step.

    A OneTrainer whose worker died saves one, too, in the middle of its training.
    """
    return saved is not None and (planned is None or saved.global_step >= planned.total_steps)


def send(folder: Path, command: Command) -> None:
    """Write a command for the worker of a run.

    :raises CommandRefusedError: if the run has ended.
    :raises OSError: if the disk can't be written.
    """
    try:
        with FolderLock(folder, wait_s=_COMMAND_WAITS_S):
            _send(folder, command)
    except TimeoutError:  # the lock only orders commands and the end; a frozen process must not keep a Stop away
        _send(folder, command)


def _send(folder: Path, command: Command) -> None:
    if Journal(folder / "journal.jsonl").ended():
        raise CommandRefusedError("The run has already ended", value=folder.name)
    CommandFolder(folder).send(command)

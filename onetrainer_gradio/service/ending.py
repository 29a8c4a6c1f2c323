"""Finishing a run from outside: answers to what was left, and the one RunEnded, by whoever gets there first."""

from __future__ import annotations

from pathlib import Path

from onetrainer_gradio.commands import Command
from onetrainer_gradio.errors import CommandRefusedError
from onetrainer_gradio.events import CommandAnswered, RunEnded, tag
from onetrainer_gradio.service.control import CommandFolder, unanswered
from onetrainer_gradio.service.journal import Journal
from onetrainer_gradio.service.lock import FolderLock


def answered_commands(journal: Journal) -> set[str]:
    """The ids of the commands that have their answer."""
    entries = journal.since(0, journal.length(), only=(tag(CommandAnswered),))
    return {entry.body["command_id"] for entry in entries}


def finish(folder: Path, end: RunEnded) -> bool:
    """Answer what is left and record the end, unless the end stands there already; says whether this call did it.

    :raises OSError: when the journal cannot be written.
    """
    journal = Journal(folder / "journal.jsonl")
    try:
        with FolderLock(folder):
            if journal.ended():
                return False
            for answer in unanswered(CommandFolder(folder).received(), answered_commands(journal), end.reason):
                journal.append(answer)
            journal.append(end)
            return True
    finally:
        journal.close()


def send(folder: Path, command: Command) -> None:
    """Lay a command down for the worker of a run.

    :raises CommandRefusedError: when the run has ended.
    """
    journal = Journal(folder / "journal.jsonl")
    with FolderLock(folder):
        if journal.ended():
            raise CommandRefusedError("The run has ended already", value=folder.name)
        CommandFolder(folder).send(command)

"""Send commands to a run: a queue within the process, a folder between processes.

A command file is in ``commands/`` until the worker takes it, and then in ``commands/taken/``; only the journal records which
commands were answered. So a command runs at most once (one worker per run, one rename per file) and always gets an answer:
remaining commands are answered at the end of the run.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.commands import Command, Stop, decode_command, encode_command
from onetrainer_gradio.events import CommandCompleted, CommandReceived, Event, tag
from onetrainer_gradio.service.host.atomic import read_bytes, read_json

_MAX_STOPS_BYTES = 1 << 20
_NAME = re.compile(r"^\d{19,}-[0-9a-zA-Z]+\.json$")


class QueueControl:
    """Commands for a run in a thread of this process."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self._taken: list[Command] = []
        self._changed = threading.Condition()

    def put(self, command: Command) -> None:
        """Add the command."""
        with self._changed:
            self._commands.append(command)
            self._changed.notify_all()

    def take(self) -> tuple[Command, ...]:
        """Return all waiting commands, in order."""
        with self._changed:
            taken = tuple(self._commands)
            self._commands.clear()
            self._taken.extend(taken)
            return taken

    def stop_requested(self) -> bool:
        """Return whether a Stop is waiting."""
        return any(isinstance(command, Stop) for command in tuple(self._commands))

    def wait(self, timeout_s: float) -> bool:
        """Block until a command waits or the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._commands), timeout_s)

    def received(self) -> tuple[Command, ...]:
        """Return every command so far."""
        with self._changed:
            return (*self._taken, *self._commands)


class CommandFolder:
    """The commands of a run as files; names sort by time."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / "commands"
        self.taken_folder = self.folder / "taken"
        self.stops_path = run_folder / "stops.jsonl"

    def create(self) -> None:
        """Create the folders."""
        self.taken_folder.mkdir(parents=True, exist_ok=True)

    def send(self, command: Command) -> None:
        """Write the command for the worker."""
        self.note_stop(command)  # first, because it makes a stop work on a disk with space for only one of the two
        body = json.dumps(encode_command(command))
        try:
            write_atomic(self.folder / f"{time.time_ns():019d}-{command.id}.json", body, durable=False)
        except OSError:
            if not isinstance(command, Stop):  # whose note is enough
                raise

    def note_stop(self, command: Command) -> None:
        """Record a Stop for the supervisor, so that it takes effect regardless of the worker; other commands don't need this."""
        if not isinstance(command, Stop):
            return
        note = json.dumps({"id": command.id, "at": time.time(), "now": command.now, "by": command.by}) + "\n"
        descriptor = os.open(self.stops_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, note.encode())
        finally:
            os.close(descriptor)

    def stops(self) -> list[Stop]:
        """Return the Stops so far."""
        try:
            data = read_bytes(self.stops_path, _MAX_STOPS_BYTES)
        except OSError:
            return []
        notes = (note for line in (data or b"").split(b"\n") if (note := _parsed(line)))
        return [Stop(id=str(note["id"]), now=bool(note["now"]), by=str(note.get("by", ""))) for note in notes]

    def take(self) -> list[Command]:
        """Return the waiting commands, in order; each is returned once."""
        commands = []
        for name in _names(self.folder):
            taken = self.taken_folder / name
            try:
                os.replace(self.folder / name, taken)
            except OSError:
                continue
            command = _command(taken)
            if command is not None:
                commands.append(command)
        return commands

    def received(self) -> list[Command]:
        """Return every command so far, in order."""
        paths = [*((name, self.folder / name) for name in _names(self.folder))]
        paths += [(name, self.taken_folder / name) for name in _names(self.taken_folder)]
        return [command for _, path in sorted(paths) if (command := _command(path)) is not None]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        note = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return note if isinstance(note, dict) and "id" in note and "now" in note else None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _NAME.match(name))
    except OSError:
        return []


def _command(path: Path) -> Command | None:
    body = read_json(path)
    if not isinstance(body, dict) or not all(isinstance(body.get(name, ""), str) for name in ("type", "id", "by")):
        return None
    try:
        return decode_command(body)
    except (KeyError, TypeError):
        return None


class FileControl:
    """Commands for a worker: ``poll`` moves them from the folder to a queue, where the backend takes them."""

    def __init__(self, folder: CommandFolder) -> None:
        self._folder = folder
        self._queue = QueueControl()

    def put(self, *commands: Command) -> None:
        """Add commands without a file."""
        for command in commands:
            self._queue.put(command)

    def poll(self, acknowledge: Callable[[Event], None] = lambda event: None) -> None:
        """Read the folder once; each new command is acknowledged before the run can answer it."""
        for command in self._folder.take():
            acknowledge(received_event(command))
            self._queue.put(command)

    def take(self) -> tuple[Command, ...]:
        """Return all waiting commands, in order."""
        return self._queue.take()

    def stop_requested(self) -> bool:
        """Return whether a Stop is waiting."""
        return self._queue.stop_requested()

    def wait(self, timeout_s: float) -> bool:
        """Block until a command waits or the time is over."""
        return self._queue.wait(timeout_s)

    def received(self) -> tuple[Command, ...]:
        """Return every command for this run."""
        return tuple(self._folder.received())


def received_event(command: Command) -> CommandReceived:
    """Return the event that acknowledges a command."""
    return CommandReceived(command_id=command.id, command=tag(type(command)), by=command.by)


def unanswered(commands: Iterable[Command], answered: set[str], reason: str) -> list[CommandCompleted]:
    """Return the answers to commands that weren't answered before the run ended; a Stop is done."""
    return [
        CommandCompleted(
            command_id=command.id,
            command=tag(type(command)),
            outcome="done" if isinstance(command, Stop) else "refused",
            reason="" if isinstance(command, Stop) else f"The run ended ({reason}) before this could be done.",
            by=command.by,
        )
        for command in commands
        if command.id not in answered
    ]

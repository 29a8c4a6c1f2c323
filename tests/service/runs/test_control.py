"""How commands reach a run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from onetrainer_gradio.commands import BackupNow, Command, Pause, SampleCustom, Stop
from onetrainer_gradio.service.runs.control import CommandFolder, FileControl, QueueControl


@pytest.fixture
def folder(tmp_path: Path) -> CommandFolder:
    folder = CommandFolder(tmp_path)
    folder.create()
    return folder


def ids(commands: tuple[Command, ...] | list[Command]) -> list[str]:
    return [command.id for command in commands]


def test_commands_are_taken_in_order_and_once() -> None:
    """A command belongs to the first reader that takes it."""
    control = QueueControl()
    commands = [Pause(), BackupNow(), Stop()]
    for command in commands:
        control.put(command)
    assert control.take() == tuple(commands)
    assert control.take() == ()
    assert ids(control.received()) == ids(commands)


def test_a_stop_is_seen_without_being_taken() -> None:
    """Loading and caching check for a stop and leave every command in place."""
    control = QueueControl()
    control.put(Pause())
    assert not control.stop_requested()
    control.put(Stop())
    assert control.stop_requested()
    assert len(control.take()) == 2
    assert not control.stop_requested()


def test_waiting_ends_when_a_command_comes() -> None:
    """A paused run continues immediately."""
    control = QueueControl()
    assert not control.wait(0.0)
    waiting = threading.Thread(target=control.wait, args=(30.0,))
    waiting.start()
    control.put(Pause())
    waiting.join(5.0)
    assert not waiting.is_alive()


def test_files_carry_commands_between_processes(folder: CommandFolder) -> None:
    """Each command arrives complete, in order, once."""
    sent = [Pause(by="anna"), SampleCustom(params={"prompt": "ein Häuschen"}), BackupNow()]
    for command in sent:
        folder.send(command)
    control = FileControl(folder)
    assert control.take() == ()
    control.poll()
    assert list(control.take()) == sent
    control.poll()
    assert control.take() == ()
    assert list(control.received()) == sent


@pytest.mark.slow
def test_two_takers_share_the_commands(folder: CommandFolder) -> None:
    """With several readers, each command is taken once."""
    for _ in range(50):
        folder.send(BackupNow())
    taken: list[list[Command]] = [[], []]

    def take(into: list[Command]) -> None:
        into.extend(CommandFolder(folder.folder.parent).take())

    threads = [threading.Thread(target=take, args=(into,)) for into in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids(taken[0] + taken[1])) == sorted(ids(folder.received()))


def test_foreign_files_in_the_folder_are_left_alone(folder: CommandFolder) -> None:
    """A partly written or unknown file neither breaks the run nor becomes a command."""
    (folder.folder / ".1.json.tmp").write_text("{")
    (folder.folder / "notes.txt").write_text("hello")
    (folder.folder / "1795447570918348300-abc.json").write_text("{ torn")
    (folder.folder / "1795447570918348301-abd.json").write_text('{"type": "dance"}')
    folder.send(Pause(id="good"))
    assert ids(folder.take()) == ["good"]
    assert (folder.folder / "notes.txt").exists()


def test_a_stop_is_noted_next_to_the_queue(folder: CommandFolder) -> None:
    """The supervisor learns of a stop even if the worker has taken it and hangs."""
    folder.send(Pause())
    assert folder.stops() == []
    folder.send(Stop(id="a"))
    folder.send(Stop(id="b", now=True, by="Ada"))
    folder.take()
    assert [(stop.id, stop.now, stop.by) for stop in folder.stops()] == [("a", False, ""), ("b", True, "Ada")]

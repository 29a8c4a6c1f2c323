"""Define all commands to a run as frozen dataclasses, and the interface through which a backend takes them."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from onetrainer_gradio.events import tag


def new_command_id() -> str:
    """Return a short unique ID for a command."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True, kw_only=True)
class Command:
    """Base of all commands; the answer refers to ``id``, and ``by`` is who sent it."""

    id: str = field(default_factory=new_command_id)
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Stop(Command):
    """End the run: finish the step, back up and save. ``now`` escalates the stop at once."""

    now: bool = False


@dataclass(frozen=True, kw_only=True)
class Pause(Command):
    """Wait after the current step, with the model in memory."""


@dataclass(frozen=True, kw_only=True)
class Resume(Command):
    """Continue after a pause."""


@dataclass(frozen=True, kw_only=True)
class SampleDefault(Command):
    """Generate samples for the configured prompts now."""


@dataclass(frozen=True, kw_only=True)
class SampleCustom(Command):
    """Generate one sample with the given parameters (the fields of SampleConfig)."""

    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BackupNow(Command):
    """Write a backup now."""


@dataclass(frozen=True, kw_only=True)
class SaveNow(Command):
    """Save the model now."""


COMMANDS: tuple[type[Command], ...] = (Stop, Pause, Resume, SampleDefault, SampleCustom, BackupNow, SaveNow)
COMMAND_BY_TAG: dict[str, type[Command]] = {tag(kind): kind for kind in COMMANDS}


def encode_command(command: Command) -> dict[str, Any]:
    """Return the command as a JSON object with its tag under ``type``."""
    return {"type": tag(type(command)), **asdict(command)}


def decode_command(body: dict[str, Any]) -> Command:
    """Return the command of a JSON object.

    :raises KeyError: if the tag is unknown.
    """
    kind = COMMAND_BY_TAG[body["type"]]
    known = {item.name for item in fields(kind)}
    return kind(**{name: value for name, value in body.items() if name in known})


class Control(Protocol):
    """The interface through which a backend receives commands."""

    def take(self) -> tuple[Command, ...]:
        """Return all waiting commands, in order; the caller must answer them."""
        ...

    def stop_requested(self) -> bool:
        """Return whether a Stop is waiting; cheap, and takes no command."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Block until a command waits or the time is over. Return whether one waits."""
        ...

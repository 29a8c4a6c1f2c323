"""Everything that a run can be told, as frozen dataclasses, and the seam through which a backend takes it."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from onetrainer_gradio.events import tag


def new_command_id() -> str:
    """A short unique name for a command."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True, kw_only=True)
class Command:
    """Base of all commands; ``id`` is what the answer refers to, ``by`` who gave it."""

    id: str = field(default_factory=new_command_id)
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Stop(Command):
    """End the run: finish the step, back up and save. ``now`` climbs the stop ladder at once."""

    now: bool = False


@dataclass(frozen=True, kw_only=True)
class Pause(Command):
    """Wait after the present step, model in memory."""


@dataclass(frozen=True, kw_only=True)
class Resume(Command):
    """Go on after a pause."""


@dataclass(frozen=True, kw_only=True)
class SampleDefault(Command):
    """Paint the configured prompts now."""


@dataclass(frozen=True, kw_only=True)
class SampleCustom(Command):
    """Paint one picture with the given parameters (the fields of SampleConfig)."""

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
    """The command as a JSON object with its tag under ``type``."""
    return {"type": tag(type(command)), **asdict(command)}


def decode_command(body: dict[str, Any]) -> Command:
    """The command of a JSON object.

    :raises KeyError: when the tag is unknown.
    """
    kind = COMMAND_BY_TAG[body["type"]]
    known = {item.name for item in fields(kind)}
    return kind(**{name: value for name, value in body.items() if name in known})


class Control(Protocol):
    """How a backend learns what it is told."""

    def take(self) -> tuple[Command, ...]:
        """All commands waiting, in order; they are the caller's to answer from now on."""
        ...

    def stop_requested(self) -> bool:
        """Whether a Stop is waiting; cheap, takes nothing."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Block until a command waits or the time is over; says whether one waits."""
        ...

"""Stand-ins for the engine's environment: they record events and give commands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from onetrainer_gradio.commands import Command, Stop
from onetrainer_gradio.events import CommandCompleted, Event, PhaseChanged, StepDone

Kind = TypeVar("Kind", bound=Event)


@dataclass
class Recorder:
    """Records events; ``on`` is called with each of them and may give commands."""

    on: Callable[[Event], None] = lambda event: None
    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.on(event)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def steps(self) -> list[StepDone]:
        return self.of(StepDone)

    @property
    def losses(self) -> list[float]:
        return [step.loss for step in self.steps]

    @property
    def phases(self) -> list[str]:
        return [event.phase for event in self.of(PhaseChanged)]

    def answer(self, command: Command) -> CommandCompleted:
        found = [event for event in self.of(CommandCompleted) if event.command_id == command.id]
        assert len(found) == 1, f"{command} was answered {len(found)} times"
        return found[0]


@dataclass
class FakeControl:
    """A control with predefined commands."""

    waiting: list[Command] = field(default_factory=list)
    given: threading.Event = field(default_factory=threading.Event)

    def give(self, *commands: Command) -> None:
        self.waiting += commands
        self.given.set()

    def take(self) -> Sequence[Command]:
        commands, self.waiting = tuple(self.waiting), []
        self.given.clear()
        return commands

    def stop_requested(self) -> bool:
        return any(isinstance(command, Stop) for command in self.waiting)

    def wait(self, timeout_s: float) -> bool:
        return self.given.wait(timeout_s)


def after_step(recorder: Recorder, control: FakeControl, update_step: int, *commands: Command) -> None:
    """Give the commands as soon as the optimizer step ``update_step`` is done."""
    on = recorder.on

    def on_event(event: Event) -> None:
        on(event)
        if isinstance(event, StepDone) and event.update_step == update_step:
            control.give(*commands)

    recorder.on = on_event

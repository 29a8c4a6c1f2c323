"""Run samples, backups, saves and commands between two optimizer steps, when no gradients are pending."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from onetrainer_gradio.commands import (
    BackupNow,
    Command,
    Pause,
    Resume,
    SampleCustom,
    SampleDefault,
    SaveNow,
    Stop,
)
from onetrainer_gradio.engine.intervals import Interval
from onetrainer_gradio.engine.outputs import Outputs
from onetrainer_gradio.engine.reporter import RunReporter, StopRequested
from onetrainer_gradio.engine.sampling import SampleRunner, sample_of
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.errors import SamplingError, TrainerError
from onetrainer_gradio.events import WarningIssued

STOPPING = "the run is stopping"
PAUSE_POLL_S = 1.0


@dataclass
class StepActions:
    """Collect due actions and run them after the optimizer step, in OneTrainer's order: sample, back up, save."""

    reporter: RunReporter
    sample_runner: SampleRunner
    outputs: Outputs
    sample: Interval
    backup: Interval
    save: Interval
    state: Callable[[], TrainState]
    """Returns the state for a backup."""
    eval_mode: Callable[[], Any]
    """A context for sampling: everything in evaluation mode."""
    due: set[str] = field(default_factory=set)

    def note(self, state: TrainState) -> None:
        """Record the actions that are due before this micro-batch."""
        for name, interval in (("sample", self.sample), ("backup", self.backup), ("save", self.save)):
            if interval.due(state):
                self.due.add(name)

    def note_end(self, state: TrainState) -> None:
        """Record samples that are due after the last step: what is saved must be seen, too. Backup and save come anyway."""
        if self.sample.due(state):
            self.due.add("sample")

    def act(self) -> bool:
        """Run due actions and waiting commands. Return True if the run must end."""
        due, self.due = self.due, set()
        return self._handle_commands(due)

    def handle_commands(self) -> bool:
        """Run waiting commands. Return True if the run must end."""
        return self._handle_commands(set())

    def _handle_commands(self, due: set[str]) -> bool:
        commands = self.reporter.control.take()
        commands = self._do_due(due, commands, stop=any(isinstance(command, Stop) for command in commands))
        while commands:
            stop = any(isinstance(command, Stop) for command in commands)
            pause: Command | None = None
            for command, *same in merged(commands):
                if isinstance(command, Pause):
                    pause = command
                elif isinstance(command, Resume):
                    self._resumed(command, pause)
                    pause = None
                else:
                    self._execute((command, *same), stop=stop)
            if pause is not None:
                if stop:
                    self.reporter.refuse(pause, STOPPING)
                else:
                    stop = self._wait(pause)
            if stop:
                return True
            commands = self.reporter.control.take()
        return False

    def _do_due(self, due: set[str], commands: Sequence[Command], *, stop: bool) -> tuple[Command, ...]:
        """Run due actions, which also answer equal commands. Return the other commands."""
        rest = list(commands)

        def asking_for(name: str) -> list[Command]:
            """Take the commands out of the rest that the result of this action answers."""
            found = [command for command in rest if isinstance(command, _SAME_AS_DUE[name])]
            rest[:] = [command for command in rest if command not in found]
            return found

        def came_since() -> list[Command]:
            rest.extend(self.reporter.control.take())
            return asking_for("sample")

        if stop:  # no samples; the commands for them are rejected with the reason
            due.discard("sample")
        if "sample" in due:
            # a Stop that comes during the sampling interrupts it, so commands are taken only afterward
            self._sample_due(asking_for("sample"), came_since)
        if "backup" in due:
            self._answer(asking_for("backup"), *self.outputs.back_up(self.state()))
        if "save" in due:
            self._answer(asking_for("save"), *self.outputs.save(self.state()))
        return tuple(rest)

    def _resumed(self, command: Resume, pause: Command | None) -> None:
        if pause is None:
            self.reporter.refuse(command, "the run is not paused")
        else:
            self.reporter.done(pause)
            self.reporter.done(command)

    def _wait(self, pause: Command) -> bool:
        """Wait until Resume or Stop and run other commands meanwhile. Return True if the run must end."""
        self.reporter.enter("paused")
        self.reporter.done(pause)
        while True:
            self.reporter.control.wait(PAUSE_POLL_S)
            commands = self.reporter.control.take()
            stop = any(isinstance(command, Stop) for command in commands)
            resumed = False
            for command, *same in merged(commands):
                if isinstance(command, Pause):
                    self.reporter.refuse(command, "the run is already paused")
                elif isinstance(command, Resume):
                    resumed = True
                    self.reporter.done(command)
                else:
                    self._execute((command, *same), stop=stop)
            if stop or resumed:
                return stop
            self.reporter.enter("paused")

    def _execute(self, commands: Sequence[Command], *, stop: bool) -> None:
        """Run equal commands once, and answer each of them."""
        command = commands[0]
        if isinstance(command, Stop):
            self.reporter.enter("stopping")
            self.reporter.done(command)
        elif isinstance(command, BackupNow):
            self._answer(commands, *self.outputs.back_up(self.state()))
        elif isinstance(command, SaveNow):
            self._answer(commands, *self.outputs.save(self.state()))
        elif stop:
            self._refuse(commands, STOPPING)
        elif isinstance(command, SampleDefault):
            self._sample_for(commands, lambda: self._sample_default(command.id))
        elif isinstance(command, SampleCustom):
            params = command.params
            self._sample_for(commands, lambda: self._sample_custom(params, command.id))
        else:
            self._refuse(commands, "the built-in engine doesn't support this command")

    def _answer(self, commands: Sequence[Command], path: Any, reason: str) -> None:
        if path is None:
            self._refuse(commands, reason)
            return
        for command in commands:
            self.reporter.done(command, str(path))

    def _refuse(self, commands: Sequence[Command], reason: str) -> None:
        for command in commands:
            self.reporter.refuse(command, reason)

    def _sample_for(self, commands: Sequence[Command], generate: Callable[[], str]) -> None:
        try:
            self._answer(commands, generate(), "")
        except StopRequested:
            self._refuse(commands, STOPPING)
        except TrainerError as error:
            self._refuse(commands, str(error))

    def _sample_default(self, command_id: str) -> str:
        self.reporter.enter("sampling")
        with self.eval_mode():
            made = self.sample_runner.sample_default(self.state(), command_id)
        if not made:
            raise SamplingError("No sample prompt is enabled.", path="samples", suggestion="Add or enable a sample prompt.")
        return ""

    def _sample_custom(self, params: dict[str, Any], command_id: str) -> str:
        sample = sample_of(params)
        self.reporter.enter("sampling")
        with self.eval_mode():
            return str(self.sample_runner.sample_custom(sample, self.state(), command_id))

    def _sample_due(self, asked: Sequence[Command], asked_since: Callable[[], Sequence[Command]]) -> None:
        try:
            path = self._sample_default(asked[0].id if asked else "")
            self._answer([*asked, *asked_since()], path, "")
        except StopRequested:  # the stop is read with the next commands
            self._refuse(asked, STOPPING)
        except TrainerError as error:
            self._refuse(asked, str(error))
            self.reporter.warn(WarningIssued(code="sampling_failed", message=f"Sampling failed: {error}", path=error.path))


# what is due -> the command that requests the same
_SAME_AS_DUE: dict[str, type[Command]] = {"sample": SampleDefault, "backup": BackupNow, "save": SaveNow}


def merged(commands: Sequence[Command]) -> list[tuple[Command, ...]]:
    """Return the commands in order, grouped if they request the same and have the same result."""
    groups: dict[Any, list[Command]] = {}
    for command in commands:
        groups.setdefault(_result_of(command), []).append(command)
    return [tuple(group) for group in groups.values()]


def _result_of(command: Command) -> Any:
    """Return a key that is equal for commands with the same result."""
    if isinstance(command, SampleDefault | BackupNow | SaveNow):
        return type(command)
    if isinstance(command, SampleCustom) and not command.params.get("random_seed"):
        return type(command), json.dumps(command.params, sort_keys=True, default=str)
    return id(command)

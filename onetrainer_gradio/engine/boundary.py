"""What happens between two optimizer steps, when no gradients are pending: samples, backups, saves and commands."""

from __future__ import annotations

from collections.abc import Callable
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
from onetrainer_gradio.engine.previews import Previews, sample_of
from onetrainer_gradio.engine.state import TrainState
from onetrainer_gradio.engine.voice import StopAsked, Voice
from onetrainer_gradio.errors import SamplingError, TrainerError
from onetrainer_gradio.events import Warned

STOPPING = "the run is stopping"
PAUSE_POLL_S = 1.0


@dataclass
class Boundary:
    """Remembers what is due and does it at the next boundary, in OneTrainer's order: sample, back up, save."""

    voice: Voice
    previews: Previews
    outputs: Outputs
    sample: Interval
    backup: Interval
    save: Interval
    state: Callable[[], TrainState]
    """The state as a backup needs it."""
    quiet: Callable[[], Any]
    """A context in which the model paints: everything in evaluation mode."""
    due: set[str] = field(default_factory=set)

    def note(self, state: TrainState) -> None:
        """Remembers what is due before this micro-batch."""
        for name, interval in (("sample", self.sample), ("backup", self.backup), ("save", self.save)):
            if interval.due(state):
                self.due.add(name)

    def act(self) -> bool:
        """Does what is due and what is told; True when the run shall end."""
        due, self.due = self.due, set()
        if "sample" in due and not self.voice.control.stop_requested():
            self._sample_due()
        if "backup" in due:
            self.outputs.back_up(self.state())
        if "save" in due:
            self.outputs.save(self.state())
        return self.obey()

    def obey(self) -> bool:
        """Carries out the commands that wait; True when the run shall end."""
        commands = self.voice.control.take()
        while commands:
            stop = any(isinstance(command, Stop) for command in commands)
            pause: Command | None = None
            for command in commands:
                if isinstance(command, Pause):
                    pause = command
                elif isinstance(command, Resume):
                    self._resumed(command, pause)
                    pause = None
                else:
                    self._carry_out(command, stop=stop)
            if pause is not None:
                if stop:
                    self.voice.refuse(pause, STOPPING)
                else:
                    stop = self._wait(pause)
            if stop:
                return True
            commands = self.voice.control.take()
        return False

    def _resumed(self, command: Resume, pause: Command | None) -> None:
        if pause is None:
            self.voice.refuse(command, "the run is not paused")
        else:
            self.voice.done(pause)
            self.voice.done(command)

    def _wait(self, pause: Command) -> bool:
        """Paused until Resume or Stop; everything else is carried out meanwhile. True when the run shall end."""
        self.voice.enter("paused")
        self.voice.done(pause)
        while True:
            self.voice.control.wait(PAUSE_POLL_S)
            commands = self.voice.control.take()
            stop = any(isinstance(command, Stop) for command in commands)
            resumed = False
            for command in commands:
                if isinstance(command, Pause):
                    self.voice.refuse(command, "the run is paused already")
                elif isinstance(command, Resume):
                    resumed = True
                    self.voice.done(command)
                else:
                    self._carry_out(command, stop=stop)
            if stop or resumed:
                return stop
            self.voice.enter("paused")

    def _carry_out(self, command: Command, *, stop: bool) -> None:
        if isinstance(command, Stop):
            self.voice.enter("stopping")
            self.voice.done(command)
        elif isinstance(command, BackupNow):
            self._answer(command, *self.outputs.back_up(self.state()))
        elif isinstance(command, SaveNow):
            self._answer(command, *self.outputs.save(self.state()))
        elif stop:
            self.voice.refuse(command, STOPPING)
        elif isinstance(command, SampleDefault):
            self._paint(command, lambda: self._paint_default(command.id))
        elif isinstance(command, SampleCustom):
            params = command.params
            self._paint(command, lambda: self._paint_custom(params, command.id))
        else:
            self.voice.refuse(command, "this engine does not know the command")

    def _answer(self, command: Command, path: Any, reason: str) -> None:
        if path is None:
            self.voice.refuse(command, reason)
        else:
            self.voice.done(command, str(path))

    def _paint(self, command: Command, paint: Callable[[], str]) -> None:
        try:
            self.voice.done(command, paint())
        except StopAsked:
            self.voice.refuse(command, STOPPING)
        except TrainerError as error:
            self.voice.refuse(command, str(error))

    def _paint_default(self, command_id: str) -> str:
        self.voice.enter("sampling")
        with self.quiet():
            made = self.previews.paint_default(self.state(), command_id)
        if not made:
            raise SamplingError("No sample prompt is enabled.", path="samples", change="add a sample prompt")
        return ""

    def _paint_custom(self, params: dict[str, Any], command_id: str) -> str:
        sample = sample_of(params)
        self.voice.enter("sampling")
        with self.quiet():
            return str(self.previews.paint_custom(sample, self.state(), command_id))

    def _sample_due(self) -> None:
        try:
            self._paint_default("")
        except StopAsked:
            return  # the stop is taken with the next commands
        except TrainerError as error:
            self.voice.warn(Warned(code="sampling_failed", message=f"No sample was painted: {error}", path=error.path))

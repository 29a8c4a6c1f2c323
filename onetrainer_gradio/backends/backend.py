"""Define the backend interface: a title, the unsupported settings, and training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from onetrainer_gradio.commands import Control
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import Finding
from onetrainer_gradio.events import Emit, Outcome


@dataclass(frozen=True)
class RunContext:
    """The context of a run in addition to its configuration.

    ``emit`` takes the events of the run, ``control`` gives its commands between optimizer steps, and ``options`` hold what
    OneTrainer has no setting for: name, step limit, seed.
    """

    emit: Emit
    control: Control
    options: RunOptions


@runtime_checkable
class Backend(Protocol):
    """Anything that trains configurations."""

    @property
    def title(self) -> str:
        """Return the title of the backend, such as "the built-in engine"."""
        ...

    def refusals(self, config: TrainConfig) -> tuple[Finding, ...]:
        """Return the unsupported settings of a configuration. The pre-flight check calls this, so nothing heavy is imported."""
        ...

    def run(self, config: TrainConfig, context: RunContext) -> Outcome:
        """Train a configuration.

        :raises TrainerError: with the cause, if the run can't continue.
        """
        ...


RunFunction = Callable[[TrainConfig, Emit, Control, RunOptions], Outcome]


@dataclass(frozen=True)
class FunctionBackend:
    """A backend made of one function, which trains whatever it gets."""

    title: str
    function: RunFunction

    def refusals(self, config: TrainConfig) -> tuple[Finding, ...]:
        """Return nothing: the function raises errors for unsupported settings."""
        return ()

    def run(self, config: TrainConfig, context: RunContext) -> Outcome:
        """Call the function."""
        return self.function(config, context.emit, context.control, context.options)

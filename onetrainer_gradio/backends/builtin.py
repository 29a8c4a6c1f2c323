"""Train with this package's own engine."""

from __future__ import annotations

import os

from onetrainer_gradio.backends.backend import Backend, RunContext
from onetrainer_gradio.backends.keep_loaded import KEEP_LOADED
from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.file_names import unusable_names
from onetrainer_gradio.engine import unsupported
from onetrainer_gradio.errors import Finding
from onetrainer_gradio.events import Outcome, RunStarted
from onetrainer_gradio.versions import hardware, versions


class BuiltinBackend:
    """The backend of the built-in engine."""

    title = "the built-in engine"

    def refusals(self, config: TrainConfig) -> tuple[Finding, ...]:
        """Return what the engine doesn't support of a configuration, without importing torch."""
        return (*unusable_names(config), *unsupported.findings(config))

    def run(self, config: TrainConfig, context: RunContext) -> Outcome:
        """Train with the engine.

        :raises TrainerError: with the cause, if the run can't continue.
        """
        described = hardware(device=config.train_device)
        context.emit(RunStarted(backend="builtin", pid=os.getpid(), versions=versions(), hardware=described))
        # Threads of a CPU's matrix kernels wait for each other by spinning, unless set otherwise before torch is loaded.
        # If other programs use the CPU too, that made a step 10 to 25 times slower (measured on 2 cores).
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # torch, diffusers and transformers take seconds to import, and a panel without runs doesn't need them
        from onetrainer_gradio import engine
        from onetrainer_gradio.engine.failures import FOREIGN, translate

        place = KEEP_LOADED.get()
        loaded = place.take(self.title) if place is not None else None
        try:
            outcome = engine.run(config, context.emit, context.control, context.options)
            if place is not None:  # not after an error, which may have left the device unusable
                place.keep(self.title, loaded or LoadedEngine())
            return outcome
        except FOREIGN as error:
            known = translate(error)
            if known is None:
                raise
            raise known from error


class LoadedEngine:
    """The imported engine of this process: importing torch, diffusers and transformers takes most of a run's start.

    It holds no weights: a run frees its model when it ends.
    """

    def usable(self) -> bool:
        """Return True: imported modules stay usable."""
        return True

    def close(self) -> None:
        """Do nothing: the memory is freed when the process exits."""


BACKEND: Backend = BuiltinBackend()

"""The backend that trains with this package's own engine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from onetrainer_gradio import __version__
from onetrainer_gradio.backends.hardware import hardware
from onetrainer_gradio.commands import Control
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.declarations.file_names import unusable_names
from onetrainer_gradio.engine import refusals
from onetrainer_gradio.errors import Finding
from onetrainer_gradio.events import Emit, Outcome, RunStarted

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors")


def run(config: TrainConfig, emit: Emit, control: Control, options: RunOptions) -> Outcome:
    """Trains with the engine.

    :raises TrainerError: with the cause, when the run cannot go on.
    """
    emit(RunStarted(backend="builtin", pid=os.getpid(), versions=versions(), hardware=hardware(config)))
    # Threads of a processor's matrix kernels wait for each other by spinning, unless told otherwise before torch is loaded.
    # Where other programs want the processor too, that made a step 10 to 25 times slower (measured on 2 cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # torch, diffusers and transformers take seconds to import, and a panel without runs does without them
    from onetrainer_gradio import engine
    from onetrainer_gradio.engine.failures import FOREIGN, translate

    try:
        return engine.run(config, emit, control, options)
    except FOREIGN as error:
        known = translate(error)
        if known is None:
            raise
        raise known from error


def findings(config: TrainConfig) -> tuple[Finding, ...]:
    """What the engine refuses of a configuration; asked by the panel, so no torch is touched."""
    return (*unusable_names(config), *refusals.findings(config))


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that train."""
    found = {"onetrainer_gradio": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found

"""Run the pre-flight check: problems of the settings, and settings that the selected backend doesn't support."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from onetrainer_gradio import backends
from onetrainer_gradio.config.check import check, first_per_path
from onetrainer_gradio.config.dataset.reader import ImageSizeReader, Memory
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.machine import Machine
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import Finding
from onetrainer_gradio.service.engines.selection import Engines


@dataclass(frozen=True)
class Preflight:
    """Check a configuration for an engine; relative paths start at ``base_folder``, paths outside ``roots`` are errors.

    Without ``engines``, there is only the ``backend``.
    """

    base_folder: Path
    roots: tuple[Path, ...] = ()
    backend: str = "builtin"
    engines: Engines | None = None
    expected: Callable[[TrainConfig], tuple[Finding, ...]] = lambda config: ()
    """Returns what an estimate of the run's memory finds."""
    machine: Callable[[], Machine] = Machine.here
    """Returns the hardware to check for."""
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)
    """The cache of images and captions: a check that ran out of time continues at the next one."""

    def __call__(self, config: TrainConfig, backend: str = "", checkout: str = "") -> tuple[Finding, ...]:
        """Return all findings, errors first; ``backend`` and ``checkout`` replace the selected engine.

        :raises CheckoutNotFoundError: if the checkout isn't registered.
        """
        if self.engines is None:
            trains, folder = backend or self.backend, ""
            refused = backends.refusals(trains, config)
        else:
            engine = self.engines.for_run(config, RunOptions(backend=backend, checkout=checkout))
            trains, folder = engine.backend, str(engine.known.folder) if engine.known else ""
            refused = self.engines.findings(config, engine)
        reader = ImageSizeReader(memory=self.memory)
        found = check(
            config,
            base_folder=self.base_folder,
            roots=self.roots,
            reader=reader,
            backend=trains,
            checkout=folder,
            machine=self.machine(),
        )
        found = (*found, *self.expected(config))
        errors = first_per_path([*(item for item in found if item.severity == "error"), *refused])
        rest = (item for item in found if item.severity != "error")
        return tuple(sorted((*errors, *rest), key=lambda item: item.severity != "error"))

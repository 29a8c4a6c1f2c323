"""The check before the start: what is wrong with the settings, and what the chosen backend cannot carry out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onetrainer_gradio import backends
from onetrainer_gradio.config.check import check, first_per_path
from onetrainer_gradio.config.train import TrainConfig
from onetrainer_gradio.errors import Finding


@dataclass(frozen=True)
class Preflight:
    """Examines a configuration for a backend; relative paths lie in ``base_folder``, paths outside ``roots`` are errors."""

    base_folder: Path
    roots: tuple[Path, ...] = ()
    backend: str = "builtin"

    def __call__(self, config: TrainConfig, backend: str = "") -> tuple[Finding, ...]:
        """Everything found, errors first; ``backend`` is asked instead of the usual one when given."""
        found = check(config, base_folder=self.base_folder, roots=self.roots)
        refused = backends.refusals(backend or self.backend, config)
        errors = first_per_path([*(item for item in found if item.severity == "error"), *refused])
        return (*errors, *(item for item in found if item.severity != "error"))

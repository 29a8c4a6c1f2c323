"""What was last set for each optimizer: switching back and forth loses nothing.

As in OneTrainer, ``optimizer_defaults`` holds the last values for each optimizer that was edited. Switching restores them, or
fills in the optimizer's usual values; an edit updates the entry, and loading the usual values forgets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.config.declarations.optimizer import TrainOptimizerConfig
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizers import OPTIMIZERS


def usual(optimizer: Optimizer) -> TrainOptimizerConfig:
    """The optimizer with its usual values; what it does not take keeps the default of the file."""
    return TrainOptimizerConfig.model_validate({"optimizer": optimizer, **_defaults(optimizer)})


def _defaults(optimizer: Optimizer) -> Mapping[str, Any]:
    """The usual values of an optimizer; none for one that only a newer OneTrainer knows."""
    return OPTIMIZERS[optimizer].defaults if optimizer in OPTIMIZERS else {}


def switched(config: TrainConfig, optimizer: Optimizer) -> TrainConfig:
    """The configuration with another optimizer: as it was last set, or with its usual values."""
    values = config.optimizer_defaults.get(optimizer.value)
    present = usual(optimizer) if values is None else values.model_copy(update={"optimizer": optimizer})
    return config.model_copy(update={"optimizer": present})


def remembered(config: TrainConfig) -> TrainConfig:
    """The configuration with the present values of its optimizer noted, for the next switch back; to be called after an edit."""
    entry = {config.optimizer.optimizer.value: config.optimizer}
    return config.model_copy(update={"optimizer_defaults": {**config.optimizer_defaults, **entry}})


def with_usual_values(config: TrainConfig) -> TrainConfig:
    """The configuration with the usual values of its optimizer, and nothing noted for it."""
    optimizer = config.optimizer.optimizer
    others: dict[str, Any] = {name: values for name, values in config.optimizer_defaults.items() if name != optimizer.value}
    return config.model_copy(update={"optimizer": usual(optimizer), "optimizer_defaults": others})

"""Remember the last parameters of each optimizer, so that switching back restores them.

As in OneTrainer, ``optimizer_defaults`` contains the last values of each edited optimizer. Switching restores them, or sets the
optimizer's defaults; an edit updates the entry, and loading the defaults removes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.config.declarations.optimizer import TrainOptimizerConfig
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizers import OPTIMIZERS


def default_parameters(optimizer: Optimizer) -> TrainOptimizerConfig:
    """Return the optimizer with its defaults; unused parameters keep the default of the file."""
    return TrainOptimizerConfig.model_validate({"optimizer": optimizer, **_defaults(optimizer)})


def _defaults(optimizer: Optimizer) -> Mapping[str, Any]:
    """Return the defaults of an optimizer; none for one that only a newer OneTrainer has."""
    return OPTIMIZERS[optimizer].defaults if optimizer in OPTIMIZERS else {}


def switched(config: TrainConfig, optimizer: Optimizer) -> TrainConfig:
    """Return the configuration with another optimizer: with its last parameters, or its defaults."""
    values = config.optimizer_defaults.get(optimizer.value)
    present = default_parameters(optimizer) if values is None else values.model_copy(update={"optimizer": optimizer})
    return config.model_copy(update={"optimizer": present})


def remembered(config: TrainConfig) -> TrainConfig:
    """Return the configuration with the current parameters of its optimizer stored; to be called after an edit."""
    entry = {config.optimizer.optimizer.value: config.optimizer}
    return config.model_copy(update={"optimizer_defaults": {**config.optimizer_defaults, **entry}})


def with_default_parameters(config: TrainConfig) -> TrainConfig:
    """Return the configuration with the defaults of its optimizer, and no stored parameters for it."""
    optimizer = config.optimizer.optimizer
    others: dict[str, Any] = {name: values for name, values in config.optimizer_defaults.items() if name != optimizer.value}
    return config.model_copy(update={"optimizer": default_parameters(optimizer), "optimizer_defaults": others})

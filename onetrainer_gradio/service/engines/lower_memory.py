"""Find the next change that lowers the memory of a run that is resumed, of those that the memory meter suggests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.enums import LearningRateScaler
from onetrainer_gradio.config.form.patch import apply
from onetrainer_gradio.errors import BusyError, UnsupportedError
from onetrainer_gradio.service.engines.memory import MemoryEstimator, memory_changes

Changes = dict[str, Any]

# With the other scalers, the learning rate depends on the batch size or the accumulation alone.
_SAME_RATE = (LearningRateScaler.NONE, LearningRateScaler.BOTH, LearningRateScaler.GLOBAL_BOTH)
# Changes that prevent resuming a backup: its weights and optimizer states would have other shapes.
_FIXED = frozenset({"lora_rank", "optimizer.optimizer"})


def candidates(config: TrainConfig) -> Iterator[tuple[str, Changes]]:
    """Yield the changes that keep the result the same up to rounding: the effective batch stays, by accumulation."""
    for label, changes in memory_changes(config):
        if not _FIXED.isdisjoint(changes):
            continue
        if (size := changes.get("batch_size")) is None:
            yield label, changes
        elif config.batch_size % size == 0 and config.learning_rate_scaler in _SAME_RATE:
            accumulated = config.gradient_accumulation_steps * (config.batch_size // size)
            more = f"{label}, with {accumulated} accumulation steps"
            yield more, {**changes, "gradient_accumulation_steps": accumulated}


def next_step(config: TrainConfig, estimator: MemoryEstimator) -> tuple[str, TrainConfig] | None:
    """Return the first change that is estimated to lower the memory, with the changed settings; None if there is none.

    Settings without an estimate get the first change of the list.
    """
    for label, changes in candidates(config):
        changed = apply(config, changes)
        try:
            if estimator.saves(config, changed):
                return label, changed
        except (UnsupportedError, BusyError):
            return label, changed
    return None

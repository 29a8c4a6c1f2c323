"""Compute loss and learning rate scalers for larger effective batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# One process trains, so the GLOBAL variants equal the local ones.
EFFECTIVE_BATCH: Mapping[str, Callable[[int, int], int]] = {
    "NONE": lambda batch, accumulation: 1,
    "BATCH": lambda batch, accumulation: batch,
    "GLOBAL_BATCH": lambda batch, accumulation: batch,
    "GRADIENT_ACCUMULATION": lambda batch, accumulation: accumulation,
    "BOTH": lambda batch, accumulation: batch * accumulation,
    "GLOBAL_BOTH": lambda batch, accumulation: batch * accumulation,
}


def loss_scale(name: str, batch_size: int, accumulation: int) -> int:
    """Return the loss multiplier: the effective batch size."""
    return EFFECTIVE_BATCH[name](batch_size, accumulation)


def learning_rate_scale(name: str, batch_size: int, accumulation: int) -> float:
    """Return the learning rate multiplier: the square root of the effective batch size."""
    return float(EFFECTIVE_BATCH[name](batch_size, accumulation) ** 0.5)

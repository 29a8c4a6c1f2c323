"""Compute learning rate schedules: the factor of the learning rate at each optimizer step.

Every schedule has the signature ``(step, steps, cycles) -> factor``; ``step`` counts optimizer steps after the warmup.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Schedule = Callable[[int, int, float], float]


def constant(step: int, steps: int, cycles: float) -> float:
    """Return a constant factor."""
    return 1.0


def linear(step: int, steps: int, cycles: float) -> float:
    """Return a factor that decreases linearly to 0."""
    return max(0.0, (steps - step) / steps)


def cosine(step: int, steps: int, cycles: float) -> float:
    """Return half a cosine wave (SGDR, arXiv 1608.03983, without restarts)."""
    return max(0.0, 0.5 * (1.0 + math.cos(step / steps * math.pi)))


def cosine_with_restarts(step: int, steps: int, cycles: float) -> float:
    """Return ``cycles`` complete cosine waves: the factor rises as smoothly as it falls."""
    progress = min(step, steps - 1) / steps
    return max(0.0, 0.5 * (1.0 + math.cos(progress * 2.0 * math.pi * cycles)))


def cosine_with_hard_restarts(step: int, steps: int, cycles: float) -> float:
    """Return ``cycles`` half waves, each starting at the full rate (SGDR, arXiv 1608.03983)."""
    progress = min(step, steps - 1) / steps
    return max(0.0, 0.5 * (1.0 + math.cos((progress * cycles) % 1.0 * math.pi)))


def rex(step: int, steps: int, cycles: float, d: float = 0.9) -> float:
    """Return a reflected exponential (REX, arXiv 2107.04197): slow at first, steep at the end."""
    if step >= steps:
        return 0.0
    progress = step / steps
    return (1.0 - progress) / ((1.0 - d) + d * (1.0 - progress))


SCHEDULES: Mapping[str, Schedule] = {
    "CONSTANT": constant,
    "LINEAR": linear,
    "COSINE": cosine,
    "COSINE_WITH_RESTARTS": cosine_with_restarts,
    "COSINE_WITH_HARD_RESTARTS": cosine_with_hard_restarts,
    "REX": rex,
}


def warmup_updates(warmup: float, accumulation: int, total_updates: int) -> int:
    """Return the optimizer steps of the warmup: values above 1 count micro-batches, 0 to 1 are a fraction of the run."""
    if warmup > 1:
        return int(warmup / accumulation)
    return int(warmup * total_updates) if warmup > 0 else 0


@dataclass(frozen=True)
class LearningRateFactor:
    """The factor of each optimizer step: linear warmup, then ``schedule`` down to ``min_factor``."""

    schedule: Schedule
    warmup: int
    steps: int
    cycles: float
    min_factor: float

    def __call__(self, update_step: int) -> float:
        """Return the factor of optimizer step ``update_step`` (counted from 0)."""
        if update_step < self.warmup:
            return update_step / self.warmup
        if self.schedule is constant:
            return 1.0
        # a run no longer than its warm-up has no steps left to decay over
        factor = self.schedule(update_step - self.warmup, max(1, self.steps), self.cycles)
        return self.min_factor + (1.0 - self.min_factor) * factor


def learning_rate_factor(
    name: str, *, warmup: float, cycles: float, min_factor: float, epoch_steps: int, epochs: int, accumulation: int
) -> LearningRateFactor:
    """Return the schedule ``name`` for a complete run of ``epochs`` times ``epoch_steps`` micro-batches."""
    total = int(epoch_steps * epochs / accumulation)
    first = warmup_updates(warmup, accumulation, total)
    return LearningRateFactor(SCHEDULES[name], first, total - first, cycles, min_factor)

"""Decide when an action is due: every n epochs, steps or minutes, counted as in OneTrainer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from onetrainer_gradio.engine.state import TrainState

SECONDS = {"SECOND": 1.0, "MINUTE": 60.0, "HOUR": 3600.0}


def elapsed(delay: float, unit: str, state: TrainState, running_s: float) -> bool:
    """Return whether ``delay`` units have passed; epochs and steps by the counters, times since the process start."""
    if unit in SECONDS:
        return running_s > delay * SECONDS[unit]
    return {
        "EPOCH": state.epoch + 1 > int(delay),
        "STEP": state.global_step + 1 > int(delay),
        "ALWAYS": True,
    }.get(unit, False)


@dataclass
class Interval:
    """Decide at each step whether an action is due.

    ``at_zero`` actions (sampling, validation) are due before the first step, the others (backup, save) not. Epoch and
    step intervals use the run's counters, so a resume repeats an epoch-start action; times count from the process.
    """

    every: float
    unit: str
    at_zero: bool
    skip_first: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _start_s: float = field(init=False)
    _last_s: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._start_s = self.clock()
        if not self.at_zero:
            self._last_s = self._start_s

    def due(self, state: TrainState) -> bool:
        """Return whether the action is due before the micro-batch ``state.global_step``."""
        if not elapsed(self.skip_first, self.unit, state, self.clock() - self._start_s):
            return False
        if self.unit in SECONDS:
            return self._time_due()
        every = int(self.every)
        if self.unit == "EPOCH":
            begins = every > 0 and state.epoch_step == 0 and state.epoch % every == 0
            return begins and (self.at_zero or state.epoch > 0)
        if self.unit == "STEP":
            return every > 0 and (state.global_step + (0 if self.at_zero else 1)) % every == 0
        return self.unit == "ALWAYS"

    def _time_due(self) -> bool:
        now = self.clock()
        if self._last_s is not None and now - self._last_s <= self.every * SECONDS[self.unit]:
            return False
        self._last_s = now
        return True

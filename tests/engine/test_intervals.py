"""When an interval is due."""

from __future__ import annotations

import pytest

from onetrainer_gradio.engine.intervals import Interval
from onetrainer_gradio.engine.state import TrainState


def due_at(interval, *, steps=12, epoch_steps=3):
    """Return the global steps before which the interval is due."""
    state, found = TrainState(), []
    for step in range(steps):
        if interval.due(state):
            found.append(step)
        state.next_step(1)
        if (step + 1) % epoch_steps == 0:
            state.next_epoch()
    return found


@pytest.mark.parametrize(
    ("every", "unit", "at_zero", "skip", "expected"),
    [
        (1, "EPOCH", True, 0, [0, 3, 6, 9]),
        (2, "EPOCH", True, 0, [0, 6]),
        (1, "EPOCH", False, 0, [3, 6, 9]),
        (2, "EPOCH", False, 0, [6]),
        (1, "EPOCH", True, 2, [6, 9]),
        (5, "STEP", True, 0, [0, 5, 10]),
        (5, "STEP", False, 0, [4, 9]),
        (5, "STEP", True, 6, [10]),
        (0, "STEP", True, 0, []),
        (0, "EPOCH", False, 0, []),
        (1, "NEVER", True, 0, []),
        (1, "ALWAYS", False, 0, list(range(12))),
    ],
)
def test_epochs_and_steps_are_counted_as_onetrainer_counts(every, unit, at_zero, skip, expected):
    """Samples are due before the first step, backups and saves are not; the latter count steps from one."""
    assert due_at(Interval(every, unit, at_zero, skip)) == expected


@pytest.mark.parametrize(("unit", "seconds"), [("SECOND", 1), ("MINUTE", 60), ("HOUR", 3600)])
def test_times_count_from_the_start_of_the_process(unit, seconds):
    """There are two kinds: due at zero and again after more than two units, or not at zero."""
    now = [1000.0]
    sample = Interval(2, unit, True, clock=lambda: now[0])
    backup = Interval(2, unit, False, clock=lambda: now[0])
    late = Interval(1, unit, True, skip_first=3, clock=lambda: now[0])
    found = []
    for _ in range(9):
        now[0] += seconds / 2
        found.append((sample.due(TrainState()), backup.due(TrainState()), late.due(TrainState())))
    assert [index for index, (first, _, _) in enumerate(found) if first] == [0, 5]
    assert [index for index, (_, second, _) in enumerate(found) if second] == [4]
    assert next(index for index, (_, _, third) in enumerate(found) if third) == 6

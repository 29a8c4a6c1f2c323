"""Learning rate schedulers."""

from __future__ import annotations

import math

import pytest

from onetrainer_gradio.engine.scalers import EFFECTIVE_BATCH, learning_rate_scale, loss_scale
from onetrainer_gradio.engine.schedules import SCHEDULES, learning_rate_factor, warmup_updates


def factors(name, updates, warmup=0.0, cycles=1.0, min_factor=0.0):
    factor = learning_rate_factor(
        name, warmup=warmup, cycles=cycles, min_factor=min_factor, epoch_steps=updates, epochs=1, accumulation=1
    )
    return [factor(step) for step in range(updates + 1)]


@pytest.mark.parametrize(
    ("name", "start", "middle", "end"),
    [
        ("CONSTANT", 1, 1, 1),
        ("LINEAR", 1, 0.5, 0),
        ("COSINE", 1, 0.5, 0),
        ("COSINE_WITH_RESTARTS", 1, 0, 0.5 * (1 + math.cos(2 * math.pi * 99 / 100))),
        ("COSINE_WITH_HARD_RESTARTS", 1, 0.5, 0.5 * (1 + math.cos(math.pi * 99 / 100))),
        ("REX", 1, 0.5 / (0.1 + 0.45), 0),
    ],
)
def test_each_schedule_passes_through_its_points(name, start, middle, end):
    """Start, middle and end of each curve, from its formula."""
    curve = factors(name, 100)
    assert (curve[0], curve[50], curve[100]) == pytest.approx((start, middle, end), abs=1e-9)


def test_all_schedules_are_known():
    """The table has the six that need no custom class."""
    assert set(SCHEDULES) == {"CONSTANT", "LINEAR", "COSINE", "COSINE_WITH_RESTARTS", "COSINE_WITH_HARD_RESTARTS", "REX"}


def test_warm_up_rises_from_zero_before_the_curve_begins():
    """Ten warmup steps come first, then the curve over the rest."""
    curve = factors("LINEAR", 110, warmup=10)
    assert curve[:11] == pytest.approx([step / 10 for step in range(11)])
    assert curve[60] == pytest.approx(0.5)


def test_warm_up_counts_micro_batches_or_is_a_share():
    """Above 1 it counts micro-batches, up to 1 it is a share of all optimizer steps."""
    assert warmup_updates(200, accumulation=4, total_updates=1000) == 50
    assert warmup_updates(0.1, accumulation=4, total_updates=1000) == 100
    assert warmup_updates(0, accumulation=4, total_updates=1000) == 0


def test_the_lowest_factor_is_the_floor():
    """``min_factor`` is where the curve ends."""
    assert factors("COSINE", 10, min_factor=0.2)[-1] == pytest.approx(0.2)


def test_hard_restarts_come_back_at_once():
    """With two cycles, the full rate is reached again in the middle."""
    curve = factors("COSINE_WITH_HARD_RESTARTS", 100, cycles=2)
    assert curve[49] < 0.01
    assert curve[50] == 1


def test_a_run_shorter_than_its_warm_up_still_has_factors():
    """With 200 warmup steps in a run of 18, the rate rises to the end, without a division by zero."""
    assert factors("COSINE", 18, warmup=200)[18] == pytest.approx(0.09)


def test_scalers_take_the_effective_batch():
    """The loss scales with it, the learning rate with its square root."""
    expected = {"NONE": 1, "BATCH": 4, "GLOBAL_BATCH": 4, "GRADIENT_ACCUMULATION": 9, "BOTH": 36, "GLOBAL_BOTH": 36}
    assert {name: loss_scale(name, 4, 9) for name in EFFECTIVE_BATCH} == expected
    assert learning_rate_scale("BOTH", 4, 9) == 6

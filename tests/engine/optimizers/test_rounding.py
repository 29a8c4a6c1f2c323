"""Stochastic rounding is correct on average, and reproducible for the same step."""

from __future__ import annotations

import torch

from onetrainer_gradio.engine.optimizers.rounding import StochasticRounding


def rounded(value: float, step: int, count: int = 20_000) -> torch.Tensor:
    rounding = StochasticRounding(torch.device("cpu"))
    rounding.seed(step)
    target = torch.empty(count, dtype=torch.bfloat16)
    rounding.copy_(target, torch.full((count,), value))
    return target


def test_the_mean_is_the_value():
    """1 + 1/512 is a quarter of the way to the next number, so a quarter is rounded up."""
    result = rounded(1 + 2**-9, 0).float()
    assert set(result.tolist()) == {1.0, 1 + 2**-7}
    assert abs((result > 1).float().mean().item() - 0.25) < 0.02


def test_a_step_repeats_its_numbers():
    """The random numbers depend only on the step's number."""
    assert torch.equal(rounded(0.3, 5), rounded(0.3, 5))
    assert not torch.equal(rounded(0.3, 5), rounded(0.3, 6))


def test_numbers_that_bfloat16_has_stay():
    """This includes negative ones."""
    assert torch.equal(rounded(-1.5, 3), torch.full((20_000,), -1.5, dtype=torch.bfloat16))

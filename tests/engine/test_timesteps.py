"""Which timesteps a step trains."""

from __future__ import annotations

import pytest
import torch

from onetrainer_gradio.config.timesteps import TimestepSettings, probabilities
from onetrainer_gradio.engine.timesteps import CONTINUOUS, DISCRETE, TimestepSampler, middle_timestep


def drawn(count=20_000, seed=5, **settings):
    return TimestepSampler(1000, TimestepSettings(**settings))(torch.Generator().manual_seed(seed), count)


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_every_distribution_is_reproducible_and_stays_in_its_window(name):
    """They are integers from 0 to 999, the same for the same seed, within the window if there is one."""
    settings = {"distribution": name, "weight": 0.7, "bias": 0.3}
    one = drawn(**settings)
    assert one.dtype == torch.int32
    assert torch.equal(one, drawn(**settings))
    assert not torch.equal(one, drawn(seed=6, **settings))
    assert one.min() >= 0
    assert one.max() <= 999
    window = drawn(min_strength=0.25, max_strength=0.5, **settings)
    assert window.min() >= 250
    assert window.max() <= 500


def test_uniform_is_the_recipe():
    """It is (1000 * rand).int() from one generator."""
    expected = (1000 * torch.rand(7, generator=torch.Generator().manual_seed(3))).int()
    assert torch.equal(drawn(7, 3), expected)


@pytest.mark.parametrize(
    ("settings", "mean"),
    [
        ({"distribution": "UNIFORM"}, 500),
        ({"distribution": "LOGIT_NORMAL"}, 500),
        ({"distribution": "LOGIT_NORMAL", "bias": 2.0}, 843),
        ({"distribution": "HEAVY_TAIL", "weight": 0.0}, 500),
        ({"distribution": "COS_MAP"}, 500),
        ({"distribution": "SIGMOID", "weight": 0.0}, 500),
        ({"distribution": "SIGMOID", "weight": 20.0}, 740),
        ({"distribution": "INVERTED_PARABOLA", "weight": 8.0}, 500),
        ({"distribution": "BETA", "weight": 0.5, "bias": 1.0}, 333),
        ({"distribution": "BETA", "weight": 1.0, "bias": 3.0}, 250),
        ({"distribution": "BETA", "weight": 2.0, "bias": 3.0}, 400),
    ],
)
def test_distributions_have_their_means(settings, mean):
    """The mean of many samples is that of the distribution."""
    assert drawn(**settings).double().mean().item() == pytest.approx(mean, abs=10)


def test_the_shift_moves_draws_towards_noise():
    """t' = N s t / ((s - 1) t + N): with a shift of 3, half becomes three quarters."""
    plain, shifted = drawn(), drawn(shift=3.0)
    expected = 1000 * 3 * plain / (2 * plain + 1000)
    assert (shifted - expected).abs().max() < 3
    assert drawn(distribution="COS_MAP", shift=3.0).double().mean() > 600


def test_validation_looks_at_the_middle():
    """It uses 499 of 1000."""
    assert middle_timestep(1000) == 499


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
@pytest.mark.parametrize(("weight", "bias"), [(0.5, 0.3), (3.0, 0.9)])
@pytest.mark.parametrize(("shift", "window"), [(1.0, (0.0, 1.0)), (2.5, (0.1, 0.8))])
def test_draws_follow_the_chances_that_the_page_shows(name, weight, bias, shift, window):
    """The settings' plot and the engine's sampling have one distribution: their cumulative shares agree within 2%."""
    low, high = window
    settings = {"distribution": name, "weight": weight, "bias": bias, "shift": shift, "min_strength": low, "max_strength": high}
    steps = drawn(**settings).long().clamp(min=0)
    share = torch.bincount(steps, minlength=1000).double() / len(steps)
    shown = torch.tensor(probabilities(TimestepSettings(**settings)), dtype=torch.double)
    assert (share.cumsum(0) - shown.cumsum(0)).abs().max() < 0.02

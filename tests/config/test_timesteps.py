"""How often each timestep is sampled, calculated without sampling."""

import math

import pytest

from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.timesteps import (
    TimestepSettings,
    beta_cdf,
    probabilities,
    timestep_plot,
)
from onetrainer_gradio.errors import ConfigError, ConfigValueError


def plot(**settings):
    return timestep_plot(from_document(settings)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "distribution", ["UNIFORM", "LOGIT_NORMAL", "HEAVY_TAIL", "BETA", "SIGMOID", "COS_MAP", "INVERTED_PARABOLA"]
)
@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_chances_add_up_to_one(distribution, shift):
    """Whatever the settings, one timestep is sampled."""
    for window in ((0.0, 1.0), (0.2, 0.7), (0.5, 0.501)):
        chances = probabilities(TimestepSettings(distribution, 1.3, 0.4, shift, *window))
        assert len(chances) == 1000
        assert min(chances) >= 0
        assert sum(chances) == pytest.approx(1)


@pytest.mark.parametrize(("a", "b", "x"), [(2, 3, 0.3), (5, 1, 0.8), (1, 4, 0.05), (7, 7, 0.5)])
def test_the_beta_function_is_the_binomial_tail(a, b, x):
    """For integers, I_x(a, b) is the probability of at least a hits in a + b - 1 throws."""
    throws = a + b - 1
    tail = sum(math.comb(throws, hits) * x**hits * (1 - x) ** (throws - hits) for hits in range(a, throws + 1))
    assert beta_cdf(x, a, b) == pytest.approx(tail, rel=1e-9)


def test_the_window_moves_with_the_shift_of_continuous_draws_only():
    """The shift is applied after the window, except in distributions that are tables."""
    moved = probabilities(TimestepSettings("UNIFORM", shift=3.0, min_strength=0.5))
    assert sum(moved[:750]) == pytest.approx(0)
    kept = probabilities(TimestepSettings("COS_MAP", shift=3.0, min_strength=0.5))
    assert sum(kept[:500]) == 0 < kept[500]


def test_a_curve_is_relative_to_an_even_draw():
    """Uniform is 1 everywhere; with a shift of 3, the median is three quarters."""
    (even,) = plot().curves
    assert even.density == pytest.approx([1.0] * 200)
    assert even.quantiles == (100, 500, 900) or even.quantiles == (99, 499, 899)
    (shifted,) = plot(timestep_shift=3.0).curves
    assert shifted.quantiles[1] == pytest.approx(750, abs=1)


@pytest.mark.parametrize(
    "settings",
    [
        {"timestep_shift": 0.0},
        {"timestep_shift": -3.0},
        {"min_noising_strength": "inf"},
        {"timestep_distribution": "OF_NEXT_YEAR"},
    ],
)
def test_what_a_file_may_hold_and_nobody_can_draw_is_named(settings):
    """A value out of bounds, or a distribution that only a newer OneTrainer has, is an error at its setting."""
    with pytest.raises(ConfigError) as caught:
        plot(**settings)
    assert [finding.path for finding in caught.value.findings()] == [*settings]


def test_a_model_type_that_is_not_known_here_has_the_fixed_shift():
    """The plot shows a newer OneTrainer's model type, and reports what is unknown."""
    found = plot(model_type="MODEL_OF_NEXT_YEAR", dynamic_timestep_shifting=True)
    assert not found.dynamic
    assert "MODEL_OF_NEXT_YEAR" in found.notes[0]


def test_dynamic_shifting_has_a_curve_for_each_resolution():
    """FLUX.1 at 1024 pixels: 64 x 64 patches, mu 1.15; at 256: mu 0.5. The fixed shift is not used."""
    found = plot(model_type="FLUX_DEV_1", dynamic_timestep_shifting=True, timestep_shift=9.0, resolution="256,1024", concepts=[])
    assert found.dynamic
    assert [(curve.size, round(math.log(curve.shift), 6)) for curve in found.curves] == [((256, 256), 0.5), ((1024, 1024), 1.15)]
    assert found.curves[0].mean < found.curves[1].mean


def test_a_concept_with_its_own_resolution_has_its_own_curve():
    """Another size has another shift; disabled concepts don't count."""
    concepts = [
        {"path": "a", "enabled": enabled, "image": {"enable_resolution_override": True, "resolution_override": size}}
        for enabled, size in ((True, "768x512"), (False, "2048"))
    ]
    found = plot(model_type="IDEOGRAM_4", dynamic_timestep_shifting=True, resolution="512", concepts=concepts)
    assert [curve.size for curve in found.curves] == [(512, 512), (512, 768)]
    assert [curve.shift for curve in found.curves] == pytest.approx([1.0, math.sqrt(1.5)])


def test_the_types_that_shift_by_size_are_those_of_the_facts():
    """A type without a formula would use the fixed shift."""
    assert {name for name, facts in MODELS.items() if facts.dynamic_shift} == {
        name for name, facts in MODELS.items() if "dynamic_shift" in facts.abilities
    }


def test_dynamic_shifting_of_a_type_without_it_is_reported_to_have_no_effect():
    """The fixed shift is used, and the reason is shown."""
    found = plot(dynamic_timestep_shifting=True, timestep_shift=3.0)
    assert (found.dynamic, found.curves[0].shift) == (False, 3.0)
    assert "doesn't support dynamic timestep shifting" in found.notes[0]


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"min_noising_strength": 0.7, "max_noising_strength": 0.7}, "max_noising_strength"),
        ({"timestep_distribution": "LOGIT_NORMAL", "noising_weight": -1}, "noising_weight"),
        ({"timestep_distribution": "INVERTED_PARABOLA", "noising_weight": 1000, "noising_bias": 9}, "noising_weight"),
    ],
)
def test_what_cannot_be_drawn_is_explained(settings, path):
    """The error names the setting to change."""
    with pytest.raises(ConfigValueError) as error:
        plot(**settings)
    assert error.value.path == path

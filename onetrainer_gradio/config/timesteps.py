"""Compute how often each timestep is sampled: exact probabilities, without torch and without sampling.

The distributions and the shift are those of ``engine/timesteps.py``. It implements the formulas on float32 tensors, whose
rounding is part of the recorded numbers; these use doubles, and a test compares both. Continuous distributions sample a
fraction of the window and are shifted afterwards, so the window moves, too. Discrete ones weight every timestep of the
window, which doesn't move.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from onetrainer_gradio.config.dataset.buckets import Size, parse_resolution, rounded
from onetrainer_gradio.config.declarations.bounds import out_of_bounds
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.enums import TimestepDistribution
from onetrainer_gradio.config.families.models import MODELS, UNFAMILIAR
from onetrainer_gradio.errors import ConfigInvalidError, ConfigValueError

TIMESTEPS = 1000
"""Train timesteps of the noise schedules of all model types."""

# Points of the curve for a distribution without a closed form.
_GRID = 4096
_SMALLEST_SHAPE = 1e-4
# The settings that timestep sampling depends on and that have bounds.
_DRAW = frozenset({"timestep_shift", "noising_weight", "noising_bias", "min_noising_strength", "max_noising_strength"})


def _normal(fraction: float, weight: float, bias: float) -> float:
    if fraction <= 0.0 or fraction >= 1.0:
        return float(fraction >= 1.0)
    logit = math.log(fraction / (1.0 - fraction))
    return 0.5 * math.erfc((bias - logit) / ((weight + 1.0) * math.sqrt(2.0)))


def _beta(fraction: float, weight: float, bias: float) -> float:
    return beta_cdf(fraction, max(_SMALLEST_SHAPE, weight), max(_SMALLEST_SHAPE, bias))


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    value, numerator, denominator = 1.0, 1.0, 0.0
    for step in range(400):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        denominator = 1.0 / _not_zero(1.0 + term * denominator)
        numerator = _not_zero(1.0 + term / numerator)
        value *= numerator * denominator
        if step and abs(1.0 - numerator * denominator) < 1e-12:
            break
    return front * (value - 1.0)


def _not_zero(value: float) -> float:
    return value if abs(value) > 1e-30 else 1e-30


def _heavy_tail(u: float, weight: float) -> float:
    return 1.0 - u - weight * (math.cos(math.pi / 2.0 * u) ** 2 - 1.0 + u)


CUMULATIVE: Mapping[str, Callable[[float, float, float], float]] = {
    "UNIFORM": lambda fraction, weight, bias: min(1.0, max(0.0, fraction)),
    "LOGIT_NORMAL": _normal,
    "BETA": _beta,
}
"""Continuous distributions: the probability that the sampled fraction is below a given one, ``(fraction, weight, bias)``."""

WEIGHTS: Mapping[str, Callable[[float, float, float], float]] = {
    "SIGMOID": lambda x, weight, bias: 0.5 * (1.0 + math.tanh(0.5 * weight * (x - bias - 0.5))),
    "COS_MAP": lambda x, weight, bias: 2.0 / (math.pi - 2.0 * math.pi * x + 2.0 * math.pi * x * x),
    "INVERTED_PARABOLA": lambda x, weight, bias: max(0.0, 2.0 - weight * (x - bias - 0.5) ** 2),
}
"""Discrete distributions: the weight of the timestep at x in 0..1, ``(x, weight, bias)``."""


@dataclass(frozen=True)
class TimestepSettings:
    """The settings that timestep sampling depends on."""

    distribution: str = "UNIFORM"
    weight: float = 0.0
    bias: float = 0.0
    shift: float = 1.0
    min_strength: float = 0.0
    max_strength: float = 1.0

    @classmethod
    def of(cls, config: TrainConfig) -> TimestepSettings:
        """Return the settings of a configuration, with its fixed shift."""
        return cls(
            config.timestep_distribution.value,
            config.noising_weight,
            config.noising_bias,
            config.timestep_shift,
            config.min_noising_strength,
            config.max_noising_strength,
        )

    def window(self, timesteps: int = TIMESTEPS) -> tuple[int, int]:
        """Return the first timestep of the window and the end after its last one, before the shift."""
        return int(timesteps * self.min_strength), int(timesteps * self.max_strength)


def probabilities(settings: TimestepSettings) -> list[float]:
    """Return the probability of each of the 1000 timesteps; their sum is 1.

    :raises ConfigValueError: if no timestep can be sampled with these values.
    """
    low, high = settings.window()
    if high <= low:
        raise ConfigValueError(
            f"There is no timestep between {title_of('min_noising_strength')} and {title_of('max_noising_strength')}",
            path="max_noising_strength",
            value=settings.max_strength,
            expected=f"more than {settings.min_strength:g}",
            suggestion=f"Raise {title_of('max_noising_strength')}, or lower {title_of('min_noising_strength')}.",
        )
    if settings.distribution in WEIGHTS:
        return _table(settings, low, high)
    if settings.distribution == "HEAVY_TAIL":
        return _pushed([_heavy_tail(step / _GRID, settings.weight) for step in range(_GRID + 1)], settings)
    if settings.distribution == "LOGIT_NORMAL" and settings.weight <= -1.0:
        raise ConfigValueError(
            f"{title_of('noising_weight')} must be more than -1 with {name_of(TimestepDistribution.LOGIT_NORMAL)}, not "
            f"{settings.weight:g}",
            path="noising_weight",
            value=settings.weight,
            expected="more than -1; the default width is 0",
            suggestion=f"Set {title_of('noising_weight')} to 0.",
        )
    cumulative = CUMULATIVE.get(settings.distribution)
    if cumulative is None:
        raise ConfigValueError(
            f"{title_of('timestep_distribution')} {settings.distribution} isn't supported by the built-in engine, so it "
            "can't be plotted",
            path="timestep_distribution",
            value=settings.distribution,
            expected=", ".join((*CUMULATIVE, "HEAVY_TAIL", *WEIGHTS)),
            suggestion="Choose another distribution, or train with OneTrainer.",
        )
    edges = [(_unshifted(step, settings.shift) - low) / (high - low) for step in range(TIMESTEPS + 1)]
    below = [cumulative(min(1.0, max(0.0, edge)), settings.weight, settings.bias) for edge in edges]
    below[-1] = 1.0  # a sample that would be timestep 1000 becomes 999
    return [max(0.0, after - before) for before, after in pairwise(below)]


def _shifted(step: float, shift: float) -> float:
    return TIMESTEPS * shift * step / ((shift - 1.0) * step + TIMESTEPS)


def _unshifted(step: float, shift: float) -> float:
    return TIMESTEPS * step / (shift * (TIMESTEPS - step) + step)


def _table(settings: TimestepSettings, low: int, high: int) -> list[float]:
    """Return the weights of a discrete distribution over the shifted axis, times the width of each shifted point."""
    shift, count = settings.shift, high - low
    weights = []
    for step in range(count):
        x = step / (count - 1) if count > 1 else 0.0
        moved = x / (shift - shift * x + x)
        if settings.distribution == "SIGMOID":  # OneTrainer shifts this one twice
            moved = moved / (shift - shift * moved + moved)
        width = shift / (shift + x - x * shift) ** 2
        weights.append(WEIGHTS[settings.distribution](moved, settings.weight, settings.bias) * width)
    total = sum(weights)
    if not total > 0.0 or not math.isfinite(total):
        raise ConfigValueError(
            f"With this {title_of('noising_weight')} and {title_of('noising_bias')}, no timestep is ever sampled",
            path="noising_weight",
            value=settings.weight,
            expected="a distribution that is above zero somewhere",
            suggestion=f"Lower {title_of('noising_weight')}, or set {title_of('noising_bias')} closer to 0.",
        )
    return [0.0] * low + [weight / total for weight in weights] + [0.0] * (TIMESTEPS - high)


def _pushed(fractions: Sequence[float], settings: TimestepSettings) -> list[float]:
    """Return the distribution of samples that are uniform over ``fractions``: each interval is spread evenly."""
    low, high = settings.window()
    counts = [0.0] * TIMESTEPS
    share = 1.0 / (len(fractions) - 1)
    steps = [_shifted(max(0.0, low + (high - low) * fraction), settings.shift) for fraction in fractions]
    for one, other in pairwise(steps):
        start, end = sorted((min(one, TIMESTEPS), min(other, TIMESTEPS)))
        for at, part in _spread(start, end):
            counts[min(at, TIMESTEPS - 1)] += share * part
    return counts


def _spread(start: float, end: float) -> Iterator[tuple[int, float]]:
    first, last = int(start), int(end)
    if first == last:
        yield first, 1.0
        return
    for at in range(first, last + 1):
        yield at, (min(end, at + 1.0) - max(start, float(at))) / (end - start)


@dataclass(frozen=True)
class TimestepCurve:
    """The sampling for images of one size (height, width; None: all sizes): its shift and distribution.

    ``density`` is relative to uniform sampling (1 = as often as in UNIFORM) in equal bins from low to high noise; ``quantiles``
    are the timesteps below which 10, 50 and 90% of the samples are.
    """

    size: Size | None
    shift: float
    density: tuple[float, ...]
    mean: float
    quantiles: tuple[int, int, int]


@dataclass(frozen=True)
class TimestepPlot:
    """The curves of timestep sampling, with notes."""

    curves: tuple[TimestepCurve, ...]
    window: tuple[int, int]
    dynamic: bool
    notes: tuple[str, ...] = ()


def timestep_plot(config: TrainConfig, bins: int = 200) -> TimestepPlot:
    """Return the sampling density for ``config``: one curve, or with dynamic timestep shifting one per resolution.

    :raises ConfigInvalidError: if one of the values is out of its bounds.
    :raises ConfigValueError: if no timestep can be sampled with these values.
    """
    if wrong := [finding for finding in out_of_bounds(config) if finding.path in _DRAW]:
        raise ConfigInvalidError(wrong)
    settings = TimestepSettings.of(config)
    facts = MODELS.get(config.model_type, UNFAMILIAR)
    shift_of = facts.dynamic_shift if config.dynamic_timestep_shifting else None
    sizes: list[Size | None] = [*_sizes(config)] if shift_of else [None]
    curves = []
    for size in sizes or [None]:
        shift = shift_of(size) if shift_of and size else settings.shift
        curves.append(_curve(size, shift, probabilities(replace(settings, shift=shift)), bins))
    return TimestepPlot(tuple(curves), settings.window(), shift_of is not None, tuple(_notes(config, settings, sizes)))


def _curve(size: Size | None, shift: float, chances: Sequence[float], bins: int) -> TimestepCurve:
    edges = [round(TIMESTEPS * at / bins) for at in range(bins + 1)]
    density = tuple(sum(chances[start:end]) * TIMESTEPS / (end - start) for start, end in pairwise(edges))
    below = list(accumulate(chances))
    first, middle, last = (next((at for at, sum_ in enumerate(below) if sum_ >= part), TIMESTEPS - 1) for part in (0.1, 0.5, 0.9))
    mean = sum(at * chance for at, chance in enumerate(chances))
    return TimestepCurve(size, shift, density, mean, (first, middle, last))


def _sizes(config: TrainConfig) -> Iterator[Size]:
    """Yield the trained sizes, each once; for buckets of about equal pixel count, only the square one."""
    multiple = MODELS[config.model_type].pixel_multiple
    texts = [config.resolution, *_overrides(config)]
    seen: dict[Size, None] = {}
    for text in texts:
        resolution = parse_resolution(text)
        if resolution is None:
            continue
        edges: Iterable[Size] = [resolution.fixed] if resolution.fixed else [(edge, edge) for edge in resolution.edges]
        for height, width in edges:
            seen[rounded(height, multiple), rounded(width, multiple)] = None
    yield from seen


def _overrides(config: TrainConfig) -> list[str]:
    used = [concept for concept in config.concepts or () if concept.enabled and concept.image.enable_resolution_override]
    return [concept.image.resolution_override for concept in used]


def _notes(config: TrainConfig, settings: TimestepSettings, sizes: Sequence[Size | None]) -> Iterator[str]:
    facts = MODELS.get(config.model_type, UNFAMILIAR)
    if config.dynamic_timestep_shifting and facts.dynamic_shift is None:
        if facts is UNFAMILIAR:
            name = config.model_type.value
            yield f"It isn't known whether {name} supports dynamic timestep shifting. The plot shows the fixed shift."
        else:
            yield f"{facts.label} doesn't support dynamic timestep shifting. The fixed shift is used."
    if settings.distribution in WEIGHTS and len(sizes) > 1:
        yield "With this distribution, OneTrainer uses the shift of the first batch's image size for the whole run."
    if facts.continuous:
        yield "This model has continuous timesteps. Read the axis as the noise level."

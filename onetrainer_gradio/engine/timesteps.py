"""Sample the timesteps of a step. There are two families of distributions:

continuous ones sample a fraction of the window, ``(generator, batch, weight, bias) -> fraction_B``;
discrete ones weight every timestep of the window, ``(x_T in 0..1, weight, bias) -> weight_T``, and sample from that table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from onetrainer_gradio.config.timesteps import TimestepSettings

ContinuousDraw = Callable[[Generator, int, float, float], Tensor]
DiscreteWeight = Callable[[Tensor, float, float], Tensor]


def _uniform_draw(generator: Generator, batch: int) -> Tensor:
    return torch.rand(batch, generator=generator, device=generator.device)


def uniform(generator: Generator, batch: int, weight: float, bias: float) -> Tensor:
    """Sample all timesteps with equal probability."""
    return _uniform_draw(generator, batch)


def logit_normal(generator: Generator, batch: int, weight: float, bias: float) -> Tensor:
    """Sample the sigmoid of a Gaussian with mean ``bias`` and deviation ``weight + 1`` (SD3, arXiv 2403.03206, section 3.1)."""
    normal = torch.normal(bias, weight + 1.0, size=(batch,), generator=generator, device=generator.device)
    return normal.sigmoid()


def heavy_tail(generator: Generator, batch: int, weight: float, bias: float) -> Tensor:
    """Sample with heavy tails (SD3, arXiv 2403.03206, eq. 20) with scale ``weight``."""
    u = _uniform_draw(generator, batch)
    return 1.0 - u - weight * (torch.cos(math.pi / 2.0 * u) ** 2.0 - 1.0 + u)


def beta(generator: Generator, batch: int, weight: float, bias: float) -> Tensor:
    """Sample Beta(alpha = ``weight``, beta = ``bias``) (B-TTDM); one shape parameter at 1 allows the inverse of the CDF.

    For other shapes, the sample is alpha / (alpha + beta) of two gamma variables, computed on the CPU from a seed of the
    generator, so that it depends only on the step.
    """
    a, b = max(1e-4, weight), max(1e-4, bias)
    if abs(b - 1.0) < 1e-5:
        return _uniform_draw(generator, batch).pow(1.0 / a)
    if abs(a - 1.0) < 1e-5:
        return 1.0 - _uniform_draw(generator, batch).pow(1.0 / b)
    own = torch.Generator()
    own.manual_seed(int(torch.randint(2**31, (1,), generator=generator, device=generator.device).item()))
    x, y = (torch._standard_gamma(torch.full((batch,), shape), generator=own) for shape in (a, b))
    return (x / (x + y)).to(generator.device)


def cos_map(x_T: Tensor, weight: float, bias: float) -> Tensor:
    """Sample CosMap (SD3, arXiv 2403.03206, eq. 21)."""
    return 2.0 / (math.pi - 2.0 * math.pi * x_T + 2.0 * math.pi * x_T**2.0)


def sigmoid(x_T: Tensor, weight: float, bias: float) -> Tensor:
    """Return a sigmoid of slope ``weight`` around ``bias + 0.5``."""
    return 1 / (1 + torch.exp(-weight * (x_T - (bias + 0.5))))


def inverted_parabola(x_T: Tensor, weight: float, bias: float) -> Tensor:
    """Return 2 - ``weight`` (x - center)^2, cut at 0, with the center at ``bias + 0.5``."""
    return torch.clamp(-weight * ((x_T - (bias + 0.5)) ** 2) + 2, min=0.0)


CONTINUOUS: Mapping[str, ContinuousDraw] = {
    "UNIFORM": uniform,
    "LOGIT_NORMAL": logit_normal,
    "HEAVY_TAIL": heavy_tail,
    "BETA": beta,
}
DISCRETE: Mapping[str, DiscreteWeight] = {
    "SIGMOID": sigmoid,
    "COS_MAP": cos_map,
    "INVERTED_PARABOLA": inverted_parabola,
}


@dataclass(frozen=True)
class TimestepSampler:
    """Sample from ``timesteps`` as configured: from their window, shifted toward noise."""

    timesteps: int
    settings: TimestepSettings
    _first_shift: list[float] = field(default_factory=list)

    def __call__(self, generator: Generator, batch: int, dynamic_shift: float | None = None) -> Tensor:
        """Return timestep_B as int32 on the device of ``generator``; ``dynamic_shift`` takes the place of the fixed shift."""
        name = self.settings.distribution
        shift = self.settings.shift if dynamic_shift is None else dynamic_shift
        low, high = self.settings.window(self.timesteps)
        if name in CONTINUOUS:
            fraction = CONTINUOUS[name](generator, batch, self.settings.weight, self.settings.bias)
            t = low + (high - low) * fraction if name == "UNIFORM" else fraction * (high - low) + low
            # the shift moves the window along with the draw
            t = self.timesteps * shift * t / ((shift - 1) * t + self.timesteps)
            return t.int().clamp(max=self.timesteps - 1)
        # OneTrainer computes the table of a discrete distribution once, with the shift of the first batch
        self._first_shift.append(shift)
        del self._first_shift[1:]
        table = self.table(high - low, self._first_shift[0]).to(generator.device)
        sampled = torch.multinomial(table, num_samples=batch, replacement=True, generator=generator)
        return (sampled + low).int()

    def table(self, steps: int, shift: float) -> Tensor:
        """Return the weights of a discrete distribution over ``steps`` timesteps."""
        name = self.settings.distribution
        x = torch.linspace(0, 1, steps)
        unshifted = x / (shift - shift * x + x)
        # the derivative of the inverse shift: how wide each moved sample point is
        width = shift / (shift + x - x * shift).pow(2)
        if name == "SIGMOID":  # OneTrainer unshifts this one twice
            unshifted = unshifted / (shift - shift * unshifted + unshifted)
        return DISCRETE[name](unshifted, self.settings.weight, self.settings.bias) * width


def middle_timestep(timesteps: int) -> int:
    """Return the one timestep of validation."""
    return int(timesteps * 0.5) - 1

"""Round float32 results to bfloat16 weights stochastically, so that updates below half a unit aren't always lost.

The probability of rounding up is the share of the discarded bits ("Revisiting BFloat16 Training", arXiv 2010.06192).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

# bfloat16 is the upper half of float32
_LOWER_BITS = 1 << 16
_UPPER_MASK = -_LOWER_BITS


class StochasticRounding:
    """Random numbers for rounding, on the device of the weights. Within a step, each write takes the next ones."""

    def __init__(self, device: torch.device) -> None:
        self._generator = Generator(device)

    def seed(self, step: int) -> None:
        """Make the random numbers depend on the number of the micro-batch only, so that a resumed run continues them."""
        self._generator.manual_seed(step)

    def copy_(self, target: Tensor, source: Tensor) -> None:
        """Write the float32 ``source`` to the bfloat16 ``target``."""
        bits = torch.randint(0, _LOWER_BITS, source.shape, dtype=torch.int32, device=source.device, generator=self._generator)
        bits.add_(source.view(torch.int32)).bitwise_and_(_UPPER_MASK)
        target.copy_(bits.view(torch.float32))


def rounding_for(groups: list[dict[str, object]], wanted: bool) -> StochasticRounding | None:
    """Return the rounding of an optimizer: None unless it is wanted and there are bfloat16 weights."""
    weights = [weight for group in groups for weight in group["params"] if weight.dtype == torch.bfloat16]  # type: ignore[attr-defined]
    return StochasticRounding(weights[0].device) if wanted and weights else None

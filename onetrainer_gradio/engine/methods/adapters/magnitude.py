"""Train the magnitude of a weight apart from its direction (DoRA, arXiv 2402.09353)."""

from __future__ import annotations

import torch
from torch import Tensor


def norms(weight: Tensor, output_axis: bool) -> Tensor:
    """Return the norms of a weight in a shape that can be multiplied with it.

    One for each output has the shape (out, 1[, 1, 1]), one for each input (1, in[, 1, 1]).
    """
    axis = 0 if output_axis else 1
    others = [other for other in range(weight.dim()) if other != axis]
    lengths: Tensor = weight.transpose(0, axis).flatten(1).norm(dim=1)
    return lengths.reshape([1 if other in others else -1 for other in range(weight.dim())])


def with_magnitude(weight: Tensor, magnitude: Tensor, output_axis: bool, epsilon: bool) -> Tensor:
    """Return ``weight`` with the norms ``magnitude``. The norms that it has are a constant of the graph (section 4.3)."""
    length = norms(weight.detach(), output_axis)
    return magnitude * (weight / (length + torch.finfo(weight.dtype).eps if epsilon else length))

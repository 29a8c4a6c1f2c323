"""Losses and their weights by timestep. Each elementwise loss maps two tensors to one of the same shape,
every weighting maps (snr_B, v-prediction?, gamma) to weight_B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Weighting = Callable[[Tensor, bool, float], Tensor]


def log_cosh(predicted: Tensor, target: Tensor) -> Tensor:
    """Return log(cosh(x)): squared near zero, absolute far away, without overflow."""
    difference = predicted - target
    return difference + functional.softplus(-2.0 * difference) - math.log(2.0)


@dataclass(frozen=True)
class LossMix:
    """The strengths of the elementwise losses; those at 0 aren't computed."""

    mse: float = 1.0
    mae: float = 0.0
    log_cosh: float = 0.0
    huber: float = 0.0
    huber_delta: float = 1.0

    def __call__(self, predicted_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Return the sum of the losses, each the mean over an image times its strength: loss_B."""
        predicted, target = predicted_BCHW.float(), target_BCHW.float()
        dims = tuple(range(1, predicted.ndim))
        terms: list[Tensor] = []
        if self.mse:
            terms.append(functional.mse_loss(predicted, target, reduction="none").mean(dims) * self.mse)
        if self.mae:
            terms.append(functional.l1_loss(predicted, target, reduction="none").mean(dims) * self.mae)
        if self.log_cosh:
            terms.append(log_cosh(predicted, target).mean(dims) * self.log_cosh)
        if self.huber:
            each = functional.huber_loss(predicted, target, reduction="none", delta=self.huber_delta)
            terms.append(each.mean(dims) * self.huber)
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total


def constant(snr_B: Tensor, v_prediction: bool, gamma: float) -> Tensor:
    """Weight every timestep equally."""
    return torch.ones_like(snr_B)


def min_snr_gamma(snr_B: Tensor, v_prediction: bool, gamma: float) -> Tensor:
    """Return min(SNR, gamma) / SNR, for v-prediction / (SNR + 1) (Min-SNR, arXiv 2303.09556)."""
    return snr_B.clamp(max=gamma) / (snr_B + 1.0 if v_prediction else snr_B)


def debiased_estimation(snr_B: Tensor, v_prediction: bool, gamma: float) -> Tensor:
    """Return 1 / sqrt(SNR) with the SNR limited to 1000, for v-prediction 1 / sqrt(SNR + 1) (arXiv 2310.08442)."""
    snr_B = snr_B.clamp(max=1.0e3)
    return torch.rsqrt(snr_B + 1.0 if v_prediction else snr_B)


def p2(snr_B: Tensor, v_prediction: bool, gamma: float) -> Tensor:
    """Return (1 + SNR) ** -gamma, for v-prediction with one more 1 (P2, arXiv 2204.00227)."""
    return (1.0 + (snr_B + 1.0 if v_prediction else snr_B)) ** -gamma


LOSS_WEIGHTS: Mapping[str, Weighting] = {
    "CONSTANT": constant,
    "P2": p2,
    "MIN_SNR_GAMMA": min_snr_gamma,
    "DEBIASED_ESTIMATION": debiased_estimation,
}

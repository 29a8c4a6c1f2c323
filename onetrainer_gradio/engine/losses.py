"""Losses and their weights by timestep. Each elementwise loss maps two tensors to one of the same shape,
every weighting maps (snr_B, v-prediction?, gamma) to weight_B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from onetrainer_gradio.config import TrainConfig

Weighting = Callable[[Tensor, bool, float], Tensor]


def log_cosh(predicted: Tensor, target: Tensor) -> Tensor:
    """Return log(cosh(x)): squared near zero, absolute far away, without overflow."""
    difference = predicted - target
    return difference + functional.softplus(-2.0 * difference) - math.log(2.0)


def _mse(predicted: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(predicted, target, reduction="none")


def _mae(predicted: Tensor, target: Tensor) -> Tensor:
    return functional.l1_loss(predicted, target, reduction="none")


@dataclass(frozen=True)
class Masking:
    """How masked training weighs the parts of an image.

    What isn't masked counts ``unmasked_weight``. With ``normalize``, the size of the masked area has no effect. With
    ``prior_weight``, what isn't masked is also kept as the model without its adapter predicts it. ``multiplies`` is False for
    models that are conditioned on an image: there the mask has no effect but that of ``normalize``, as in OneTrainer.
    """

    unmasked_weight: float
    normalize: bool = False
    prior_weight: float = 0.0
    multiplies: bool = True

    @classmethod
    def of(cls, config: TrainConfig, *, conditioned: bool) -> Masking | None:
        """Return the masking of a run, or None without masked training."""
        if not config.masked_training:
            return None
        return cls(
            config.unmasked_weight,
            config.normalize_masked_area_loss,
            config.masked_prior_preservation_weight,
            multiplies=not conditioned,
        )

    def weighed(self, losses_BCHW: Tensor, prior_losses_BCHW: Tensor | None, mask_B1HW: Tensor) -> Tensor:
        """Return losses per element with their weights, those toward the prior prediction included."""
        weight = mask_B1HW.float().clamp(self.unmasked_weight, 1)
        losses = self._evened(losses_BCHW * weight, weight)
        if prior_losses_BCHW is None or not self.prior_weight:
            return losses
        rest = 1 - weight
        return losses + self._evened(prior_losses_BCHW * (rest * self.prior_weight), rest)

    def _evened(self, losses: Tensor, weight: Tensor) -> Tensor:
        # with frames, the last dimension isn't averaged, as in OneTrainer
        return losses / weight.mean(dim=(1, 2, 3), keepdim=True) if self.normalize else losses

    def evened_without_mask(self, losses_B: Tensor, mask_B1HW: Tensor) -> Tensor:
        """Return the losses of models whose losses aren't multiplied by the mask."""
        if not self.normalize:
            return losses_B
        return losses_B / mask_B1HW.clamp(self.unmasked_weight, 1).mean(tuple(range(1, mask_B1HW.ndim)))


@dataclass(frozen=True)
class LossMix:
    """The strengths of the elementwise losses; those at 0 aren't computed."""

    mse: float = 1.0
    mae: float = 0.0
    log_cosh: float = 0.0
    huber: float = 0.0
    huber_delta: float = 1.0

    def __call__(
        self,
        predicted_BCHW: Tensor,
        target_BCHW: Tensor,
        masking: Masking | None = None,
        mask_B1HW: Tensor | None = None,
        prior_BCHW: Tensor | None = None,
    ) -> Tensor:
        """Return the sum of the losses, each the mean over an image times its strength: loss_B.

        ``mask_B1HW`` is needed with ``masking``; ``prior_BCHW`` is the prediction of the model without its adapter.
        """
        predicted, target = predicted_BCHW.float(), target_BCHW.float()
        prior = None if prior_BCHW is None or masking is None or not masking.prior_weight else prior_BCHW.float()
        dims = tuple(range(1, predicted.ndim))
        terms: list[Tensor] = []
        for strength, loss in self._terms():
            each = loss(predicted, target)
            if masking is not None and masking.multiplies and mask_B1HW is not None:
                each = masking.weighed(each, None if prior is None else loss(predicted, prior), mask_B1HW)
            terms.append(each.mean(dims) * strength)
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        if masking is not None and not masking.multiplies and mask_B1HW is not None:
            total = masking.evened_without_mask(total, mask_B1HW)
        return total

    def _terms(self) -> Iterator[tuple[float, Callable[[Tensor, Tensor], Tensor]]]:
        huber = partial(functional.huber_loss, reduction="none", delta=self.huber_delta)
        for strength, loss in ((self.mse, _mse), (self.mae, _mae), (self.log_cosh, log_cosh), (self.huber, huber)):
            if strength:
                yield strength, loss


def predicts_prior(config: TrainConfig, prior_B: Sequence[bool]) -> bool:
    """Return whether a batch also needs the prediction of the model without its adapter.

    ``prior_B`` are the images of concepts with prior prediction.
    """
    keeps = config.masked_training and config.masked_prior_preservation_weight > 0
    return any(prior_B) or (keeps and config.training_method == "LORA")


def prior_targets(target_BCHW: Tensor, prior_BCHW: Tensor, prior_B: Sequence[bool]) -> Tensor:
    """Return the targets with the prior prediction in place of those of images of concepts with prior prediction."""
    if not any(prior_B):
        return target_BCHW
    rows = torch.tensor(list(prior_B), device=target_BCHW.device).view(-1, *(1,) * (target_BCHW.ndim - 1))
    return torch.where(rows, prior_BCHW.to(target_BCHW.dtype), target_BCHW)


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

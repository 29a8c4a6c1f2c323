"""Losses and their weights by timestep."""

from __future__ import annotations

import math

import pytest
import torch

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.losses import LOSS_WEIGHTS, LossMix, Masking, log_cosh, predicts_prior, prior_targets

PREDICTED = torch.tensor([[[[1.0, -3.0]]], [[[0.5, 0.0]]]])
TARGET = torch.zeros(2, 1, 1, 2)


def test_losses_are_means_per_image_and_add_up():
    """Squared, absolute and Huber errors with their strengths give one number per image."""
    assert LossMix()(PREDICTED, TARGET).tolist() == [5.0, 0.125]
    assert LossMix(mse=0, mae=2)(PREDICTED, TARGET).tolist() == [4.0, 0.5]
    assert LossMix(mse=0, huber=1, huber_delta=1)(PREDICTED, TARGET).tolist() == [1.5, 0.0625]
    assert LossMix(mse=1, mae=2)(PREDICTED, TARGET).tolist() == [9.0, 0.625]


def test_log_cosh_equals_its_definition_and_does_not_overflow():
    """It is log(cosh(x)), also where cosh is infinite."""
    x = torch.tensor([-2.0, 0.0, 0.1, 3.0])
    assert log_cosh(x, torch.zeros(4)).tolist() == pytest.approx([math.log(math.cosh(value)) for value in x.tolist()], abs=1e-6)
    assert log_cosh(torch.tensor([1000.0]), torch.zeros(1)).item() == pytest.approx(1000 - math.log(2))
    assert LossMix(mse=0, log_cosh=1)(PREDICTED, TARGET)[1].item() == pytest.approx(math.log(math.cosh(0.5)) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "v_prediction", "expected"),
    [
        ("CONSTANT", False, [1, 1, 1]),
        ("MIN_SNR_GAMMA", False, [1, 1, 0.05]),
        ("MIN_SNR_GAMMA", True, [0.5 / 1.5, 0.8, 5 / 101]),
        ("DEBIASED_ESTIMATION", False, [2**0.5, 0.5, 0.1]),
        ("DEBIASED_ESTIMATION", True, [1.5**-0.5, 5**-0.5, 101**-0.5]),
        ("P2", False, [1.5**-5, 5.0**-5, 101.0**-5]),
        ("P2", True, [2.5**-5, 6.0**-5, 102.0**-5]),
    ],
)
def test_weights_follow_their_papers(name, v_prediction, expected):
    """Each weight function is tested at three signal-to-noise ratios with gamma 5."""
    snr = torch.tensor([0.5, 4.0, 100.0])
    assert LOSS_WEIGHTS[name](snr, v_prediction, 5.0).tolist() == pytest.approx(expected)
    assert snr.tolist() == [0.5, 4.0, 100.0]


def test_debiased_estimation_is_cut_at_a_thousand():
    """Nearly noiseless timesteps keep a weight."""
    weight = LOSS_WEIGHTS["DEBIASED_ESTIMATION"](torch.tensor([1e6]), False, 5.0)
    assert weight.item() == pytest.approx(1000**-0.5)


@pytest.mark.parametrize(
    ("normalize", "prior_weight", "expected"),
    [
        (False, 0.0, [1.3460071, 1.3751687]),
        (False, 0.5, [1.8174328, 1.8637253]),
        (True, 0.0, [2.4977536, 2.461951]),
        (True, 0.5, [3.5201187, 3.5687065]),
    ],
)
def test_masked_losses_are_those_of_onetrainer(normalize, prior_weight, expected):
    """This covers squared and Huber error of the same tensors, with and without the prior's part and the division by the mask."""
    generator = torch.Generator().manual_seed(3)
    predicted, target, prior = (torch.randn(2, 4, 4, 6, generator=generator) for _ in range(3))
    mask = torch.rand(2, 1, 4, 6, generator=generator)
    masking = Masking(0.1, normalize, prior_weight)
    losses = LossMix(huber=0.5, huber_delta=0.7)(predicted, target, masking, mask, prior)
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)
    if not prior_weight:
        assert torch.equal(losses, LossMix(huber=0.5, huber_delta=0.7)(predicted, target, masking, mask))


def test_latents_with_frames_are_divided_by_the_mask_of_each_column():
    """This is a quirk: the mean omits the last dimension."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        torch.randn(2, 4, 4, 6, generator=generator)
    torch.rand(2, 1, 4, 6, generator=generator)
    predicted, target = (torch.randn(2, 3, 2, 4, 6, generator=generator) for _ in range(2))
    mask = torch.rand(2, 1, 1, 4, 6, generator=generator)
    losses = LossMix()(predicted, target, Masking(0.1, normalize=True), mask)
    assert losses.tolist() == pytest.approx([1.9596601, 2.556674], abs=1e-6)


def test_models_that_are_conditioned_on_an_image_divide_by_the_mask_only():
    """Their loss isn't multiplied by it: half of the area at 0.5 has a mean of 0.75."""
    mask = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2).expand(2, 1, 1, 2)
    plain = LossMix()(PREDICTED, TARGET)
    conditioned = Masking(0.5, normalize=True, prior_weight=1.0, multiplies=False)
    assert LossMix()(PREDICTED, TARGET, conditioned, mask, PREDICTED).tolist() == pytest.approx((plain / 0.75).tolist())
    assert torch.equal(LossMix()(PREDICTED, TARGET, Masking(0.5, multiplies=False), mask), plain)


def test_prior_prediction_is_needed_for_its_concepts_and_to_keep_what_is_not_masked():
    """The latter applies to LoRA only."""
    plain = TrainConfig()
    masked = TrainConfig(masked_training=True, masked_prior_preservation_weight=0.5, training_method="LORA")
    assert not predicts_prior(plain, [False, False])
    assert predicts_prior(plain, [False, True])
    assert predicts_prior(masked, [False])
    assert not predicts_prior(masked.model_copy(update={"training_method": "FINE_TUNE"}), [False])
    assert not predicts_prior(masked.model_copy(update={"masked_training": False}), [False])


def test_prior_prediction_replaces_the_targets_of_its_concepts():
    """The targets keep their dtype; the other rows don't change."""
    prior = torch.full((2, 1, 1, 2), 3.0, dtype=torch.float64)
    replaced = prior_targets(TARGET, prior, [False, True])
    assert replaced.dtype == TARGET.dtype
    assert replaced.flatten().tolist() == [0.0, 0.0, 3.0, 3.0]
    assert prior_targets(TARGET, prior, [False, False]) is TARGET

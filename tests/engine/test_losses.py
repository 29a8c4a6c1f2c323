"""Losses and their weights by timestep."""

from __future__ import annotations

import math

import pytest
import torch

from onetrainer_gradio.engine.losses import LOSS_WEIGHTS, LossMix, log_cosh

PREDICTED = torch.tensor([[[[1.0, -3.0]]], [[[0.5, 0.0]]]])
TARGET = torch.zeros(2, 1, 1, 2)


def test_losses_are_means_per_image_and_add_up():
    """Squared, absolute and Huber errors with their strengths, one number for each picture."""
    assert LossMix()(PREDICTED, TARGET).tolist() == [5.0, 0.125]
    assert LossMix(mse=0, mae=2)(PREDICTED, TARGET).tolist() == [4.0, 0.5]
    assert LossMix(mse=0, huber=1, huber_delta=1)(PREDICTED, TARGET).tolist() == [1.5, 0.0625]
    assert LossMix(mse=1, mae=2)(PREDICTED, TARGET).tolist() == [9.0, 0.625]


def test_log_cosh_equals_its_definition_and_does_not_overflow():
    """log(cosh(x)), also where cosh is infinite."""
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
    """Each weighting at three signal-to-noise ratios with gamma 5."""
    snr = torch.tensor([0.5, 4.0, 100.0])
    assert LOSS_WEIGHTS[name](snr, v_prediction, 5.0).tolist() == pytest.approx(expected)
    assert snr.tolist() == [0.5, 4.0, 100.0]


def test_debiased_estimation_is_cut_at_a_thousand():
    """Nearly noiseless timesteps do not vanish."""
    weight = LOSS_WEIGHTS["DEBIASED_ESTIMATION"](torch.tensor([1e6]), False, 5.0)
    assert weight.item() == pytest.approx(1000**-0.5)

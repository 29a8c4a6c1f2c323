"""Updating during the backward pass gives the same steps as updating afterwards, without keeping gradients."""

from __future__ import annotations

import pytest
import torch

from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.engine import optimizers
from onetrainer_gradio.engine.optimizers.back_pass import FusedBackPass
from tests.engine.optimizers.toy import AVAILABLE, chosen, groups, loss, weights

EARLY = [name for name in AVAILABLE if OPTIMIZERS[name].fused_back_pass]
NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


def trained(name, *, early, limit=None, accumulation=1, steps=4):
    config, parameters = chosen(name, fused=False, fused_back_pass=early), weights()
    optimizer = optimizers.make_optimizer(config, groups(parameters, config.learning_rate))
    optimizers.set_training(optimizer, config)
    back_pass = FusedBackPass(optimizer, limit, NO_SCALER) if early else None
    for step in range(steps * accumulation):
        last = (step + 1) % accumulation == 0
        optimizers.seed_rounding(optimizer, step)
        if back_pass:
            back_pass.armed = last
        loss(parameters, step).backward()
        if back_pass and last:
            assert all(weight.grad is None for weight in parameters)
            assert back_pass.finish()
        if last:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    if back_pass:
        back_pass.close()
    return parameters


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("name", EARLY)
def test_the_weights_are_those_of_a_step_afterwards(name, accumulation):
    """This holds for all optimizers that support it, also with gradients of several micro-batches."""
    early, after = (trained(name, early=early, accumulation=accumulation) for early in (True, False))
    for one, other in zip(early, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_each_gradient_is_clipped_alone():
    """As in OneTrainer; the reported norm is that of all gradients before clipping."""
    config, parameters = chosen("ADAMW", fused=False, fused_back_pass=True), weights()
    optimizer = optimizers.make_optimizer(config, groups(parameters, 0.0))
    seen = []
    optimizer.step_parameter = lambda weight, group, index: seen.append(weight.grad.norm().item())
    back_pass = FusedBackPass(optimizer, 0.5, NO_SCALER)
    back_pass.armed = True
    loss(parameters).backward()
    assert seen == pytest.approx([0.5] * len(parameters))
    expected = torch.cat([(2 * (weight.detach() - 0.5)).flatten() for weight in parameters]).norm()
    assert back_pass.norm().item() == pytest.approx(expected.item())
    assert back_pass.norm() is None


def test_an_overflow_leaves_the_weight_and_lowers_the_loss_scale():
    """Only the weight with a non-finite gradient keeps its value."""
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    config, parameters = chosen("ADAMW", fused=False, fused_back_pass=True), weights()
    before = [weight.detach().clone() for weight in parameters]
    optimizer = optimizers.make_optimizer(config, groups(parameters, 0.1))
    back_pass = FusedBackPass(optimizer, 1.0, scaler)
    back_pass.armed = True
    scaler.scale(loss(parameters) + parameters[0].sum() * float("inf")).backward()
    assert not back_pass.finish()
    assert torch.equal(parameters[0], before[0])
    assert not torch.equal(parameters[1], before[1])
    assert scaler.get_scale() == 2.0

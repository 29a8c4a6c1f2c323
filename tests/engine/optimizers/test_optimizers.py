"""Every optimizer that can be tried on a CPU is created, trains, and resumes bit for bit.

Covers ``engine/optimizers/``, ``config/optimizer_libraries.py``.
"""

from __future__ import annotations

import io

import pytest
import torch

from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.engine import optimizers
from onetrainer_gradio.engine.optimizers.recipes import RECIPES
from tests.engine.optimizers.toy import AVAILABLE, chosen, groups, loss, weights

STEPS, LONG = 4, 25


def stepped(optimizer, parameters, start, end):
    """Train from one step to another, and return the losses."""
    seen = []
    for step in range(start, end):
        optimizers.seed_rounding(optimizer, step)
        value = loss(parameters, step)
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen.append(value.item())
    return seen


def made(config, parameters):
    optimizer = optimizers.make_optimizer(config, groups(parameters, config.learning_rate))
    optimizers.set_training(optimizer, config)
    return optimizer


def reloaded(state):
    """The state as a backup gives it back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def test_there_is_a_recipe_for_each_of_the_43():
    """No name is without a class."""
    assert set(RECIPES) == set(Optimizer)


@pytest.mark.parametrize("name", AVAILABLE)
def test_it_trains(name):
    """The loss falls."""
    config, parameters = chosen(name), weights()
    optimizer = made(config, parameters)
    before = loss(parameters).item()
    stepped(optimizer, parameters, 0, LONG)
    assert loss(parameters).item() < before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", AVAILABLE)
def test_it_resumes_bit_for_bit(name, dtype):
    """After the state was written and read, the weights take the same way as without."""
    config, parameters = chosen(name), weights(dtype)
    optimizer = made(config, parameters)
    stepped(optimizer, parameters, 0, STEPS)
    before = [weight.detach().clone() for weight in parameters]
    state = reloaded(optimizers.saved_state(optimizer, config))
    stepped(optimizer, parameters, STEPS, 2 * STEPS)

    again = weights(dtype)
    with torch.no_grad():
        for weight, value in zip(again, before, strict=True):
            weight.copy_(value)
    other = optimizers.make_optimizer(config, groups(again, config.learning_rate))
    optimizers.load_state(other, state, config)
    optimizers.set_training(other, config)
    stepped(other, again, STEPS, 2 * STEPS)
    for weight, resumed in zip(parameters, again, strict=True):
        assert torch.equal(weight, resumed)

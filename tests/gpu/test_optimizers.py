"""The optimizers that need a GPU train there, and resume bitwise identically."""

from __future__ import annotations

import pytest
import torch

from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizer_libraries import LIBRARIES
from onetrainer_gradio.engine import optimizers
from tests.engine.optimizers.test_optimizers import reloaded, stepped
from tests.engine.optimizers.toy import chosen, groups, loss, weights
from tests.gpu.conftest import no_gpu

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(no_gpu()), reason="no GPU on this machine")]

NAMES = [name for name in Optimizer if LIBRARIES[name].needs_gpu]


@pytest.mark.skipif(not LIBRARIES[Optimizer.ADAMW_8BIT].installed, reason="bitsandbytes isn't installed")
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_resumes(name):
    """Small weights have 32-bit states by default, so the minimum size for 8-bit states is lowered."""
    config = chosen(name, min_8bit_size=1)
    parameters = tuple(torch.nn.Parameter(weight.detach().cuda()) for weight in weights())
    optimizer = optimizers.make_optimizer(config, groups(parameters, config.learning_rate))
    before = loss(parameters).item()
    stepped(optimizer, parameters, 0, 5)
    assert loss(parameters).item() < before
    again = tuple(torch.nn.Parameter(weight.detach().clone()) for weight in parameters)
    state = reloaded(optimizers.saved_state(optimizer, config))
    stepped(optimizer, parameters, 5, 10)
    other = optimizers.make_optimizer(config, groups(again, config.learning_rate))
    optimizers.load_state(other, state, config)
    stepped(other, again, 5, 10)
    assert all(torch.equal(one, two) for one, two in zip(parameters, again, strict=True))

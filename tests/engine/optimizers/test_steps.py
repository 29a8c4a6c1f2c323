"""Optimizers that step one weight at a time give the same steps as OneTrainer's own loops.

The fixture has the weights after six steps of OneTrainer's loops, with stochastic rounding on. Covers
``engine/optimizers/adam.py``, ``engine/optimizers/adafactor.py``, ``engine/optimizers/came.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from onetrainer_gradio.config import TrainConfig, TrainOptimizerConfig
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.engine import optimizers
from onetrainer_gradio.engine.methods.method import ParameterGroup

pytestmark = pytest.mark.slow

FILE = Path(__file__).parents[2] / "fixtures" / "onetrainer_optimizer_steps.safetensors"
SHAPES = ((6, 4), (3, 2, 3, 3), (4, 3, 1, 1), (5,), (40, 20))
STEPS = 6

with safe_open(FILE, "pt") as recorded_steps:
    CASES = json.loads(recorded_steps.metadata()["cases"])
    RECORDED = {name: recorded_steps.get_tensor(name) for name in recorded_steps.keys()}  # noqa: SIM118


@pytest.mark.parametrize("early", [False, True], ids=["after", "during"])
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{CASES[number]['optimizer']}-{number}")
def test_the_weights_are_onetrainers(number, early):
    """In float32 they are equal up to rounding, in bfloat16 with the same
    random numbers; after the backward pass and during it.
    """
    case = CASES[number]
    dtype = getattr(torch, case["dtype"])
    generator = torch.Generator().manual_seed(1)
    weights = [torch.nn.Parameter((torch.randn(shape, generator=generator) * 0.3).to(dtype)) for shape in SHAPES]
    name = Optimizer(case["optimizer"])
    chosen = {**OPTIMIZERS[name].defaults, "optimizer": name, "fused": False, "stochastic_rounding": True}
    settings = TrainOptimizerConfig().model_copy(update={**chosen, "fused_back_pass": early, **case["parameters"]})
    config = TrainConfig().model_copy(update={"optimizer": settings, "learning_rate": 1e-3})
    optimizer = optimizers.make_optimizer(config, [ParameterGroup("unet", "unet", tuple(weights), 1e-3)])
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(100 + step)
        for weight in weights:
            weight.grad = (torch.randn(weight.shape, generator=generator) * 10 ** (step % 3 - 2)).to(dtype)
        optimizers.seed_rounding(optimizer, step)
        if early:
            for index, weight in enumerate(weights):
                optimizer.step_parameter(weight, optimizer.param_groups[0], index)
                weight.grad = None
        optimizer.step()
    for index, weight in enumerate(weights):
        recorded = RECORDED[f"{number}.{index}"]
        assert weight.dtype == recorded.dtype
        if dtype == torch.float32:
            torch.testing.assert_close(weight.detach(), recorded, rtol=0, atol=1e-6)
        else:  # another CPU may round a few of the exact results differently
            assert (weight == recorded).float().mean() > 0.97

"""The lora_forward forward pass computes what peft's own computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onetrainer_gradio.engine.methods.lora_forward import lora_forward


def adapted(module, alpha):
    from peft import LoraConfig, inject_adapter_in_model  # seconds, and only in the process that runs this file

    model = nn.Sequential(module)
    settings = LoraConfig(r=4, lora_alpha=alpha, target_modules=["0"], init_lora_weights=False)
    inject_adapter_in_model(settings, model)
    return model[0]


@pytest.mark.parametrize("alpha", [4, 1])
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(6, 5), (3, 6)),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (2, 3, 9, 9)),
        (nn.Conv2d(3, 8, 1, bias=False), (2, 3, 4, 4)),
    ],
)
def test_outputs_and_gradients_equal_pefts(module, shape, alpha):
    """Linear and Conv2d with stride, padding and without bias, at full and at quarter strength."""
    layer = adapted(module, alpha)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    results = []
    for forward in (layer.forward, lora_forward(layer, "default", 0.0)):
        layer.zero_grad()
        y = forward(x)
        y.square().sum().backward()
        results.append((y, layer.lora_A["default"].weight.grad.clone(), layer.lora_B["default"].weight.grad.clone()))
    for theirs, ours in zip(*results, strict=True):
        assert torch.equal(theirs, ours)


def test_dropout_is_between_the_matrices():
    """Half of the rank is dropped and the rest doubled while training; nothing in evaluation."""
    layer = adapted(nn.Linear(6, 5), 4)
    x = torch.randn(1, 6)
    forward = lora_forward(layer, "default", 0.5)
    torch.manual_seed(0)
    layer.train()
    middle = torch.nn.functional.dropout(layer.lora_A["default"](x), 0.5, training=True)
    torch.manual_seed(0)
    assert torch.equal(forward(x), layer.base_layer(x) + layer.lora_B["default"](middle))
    layer.eval()
    assert torch.equal(forward(x), layer(x))

"""Linears with frozen 8-bit weights, compared with the formulas (engine/quantized_linear.py)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onetrainer_gradio.engine.quantized_linear import FLOAT_8, LINEARS, Float8InputsLinear, Float8Linear, Int8Linear

ROWS, INPUTS, OUTPUTS = 24, 32, 48
DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(INPUTS, OUTPUTS)


def through(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output and input gradient for a fixed output gradient."""
    given = x.clone().requires_grad_(True)
    out = module(given)
    gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out.dtype)
    out.backward(gradient)
    return out.detach(), given.grad


def gradient_of(out: torch.Tensor) -> torch.Tensor:
    return torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_float8_multiplies_in_the_compute_data_type(layer, dtype):
    """The float8 weight is converted, times its scale, to the compute data type."""
    x = torch.randn(2, 12, INPUTS)
    found, gradient = through(Float8Linear(layer, dtype), x)
    scale = layer.weight.abs().max() / 448
    weight = (layer.weight / scale).clamp(-448, 448).to(FLOAT_8).to(dtype) * scale.to(dtype)
    expected = nn.functional.linear(x.to(dtype), weight) + layer.bias.to(dtype)
    assert torch.equal(found, expected)
    assert found.dtype == dtype
    torch.testing.assert_close(gradient, (gradient_of(found) @ weight).float())
    assert gradient.dtype == x.dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_int8_sums_integers(layer, dtype):
    """There is one scale for the weight, and one for each row of input and gradient; the sum of products is exact."""
    x = torch.randn(2, 12, INPUTS)
    module = Int8Linear(layer, dtype)
    found, gradient = through(module, x)
    scale = layer.weight.abs().max() / 127
    weight = (layer.weight / scale).round().clamp(-128, 127)
    assert torch.equal(module.weight.float(), weight)

    def product(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        row_scale = rows.float().abs().amax(-1, keepdim=True) / 127
        whole = (rows.float() * (1 / row_scale)).round().double() @ matrix.double()
        return (whole.float() * scale * row_scale).to(dtype)

    expected = product(x, weight.t()) + layer.bias.to(dtype)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, product(gradient_of(found), weight).float(), rtol=1e-6, atol=1e-6)


def test_float8_inputs_are_rounded_by_row(layer):
    """This works as for integers, in float8."""
    x = torch.randn(ROWS, INPUTS)
    found, gradient = through(Float8InputsLinear(layer, torch.float32), x)
    scale = layer.weight.abs().max() / 448
    weight = (layer.weight / scale).to(FLOAT_8).float()

    def product(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        row_scale = rows.abs().amax(-1, keepdim=True) / 448
        return ((rows * (1 / row_scale)).to(FLOAT_8).float() @ matrix) * scale * row_scale

    torch.testing.assert_close(found, product(x, weight.t()) + layer.bias)
    torch.testing.assert_close(gradient, product(gradient_of(found), weight))


@pytest.mark.parametrize("kind", [Int8Linear, Float8InputsLinear])
@pytest.mark.parametrize(("rows", "inputs"), [(16, 32), (24, 20)])
def test_few_rows_and_odd_sides_are_multiplied_plainly(kind, rows, inputs):
    """The input isn't rounded for 16 rows or fewer, and for sides that no kernel supports."""
    layer = nn.Linear(inputs, OUTPUTS, bias=False)
    x = torch.randn(rows, inputs)
    module = kind(layer, torch.float32)
    found, gradient = through(module, x)
    torch.testing.assert_close(found, x @ module.dequantized().t())
    torch.testing.assert_close(gradient, gradient_of(found) @ module.dequantized())


@pytest.mark.parametrize("kind", LINEARS.values())
def test_the_correction_comes_on_top(layer, kind):
    """With a low-rank part the residual is quantized, and the layer is closer to the original."""
    u, s, v = torch.linalg.svd(layer.weight.detach())
    correction = (u[:, :24] * s[:24], v[:24])
    plain, corrected = kind(layer, torch.float32), kind(layer, torch.float32, correction)
    distance = [(module.dequantized() - layer.weight).abs().mean() for module in (corrected, plain)]
    assert distance[0] < distance[1]
    x = torch.randn(4, INPUTS)
    torch.testing.assert_close(corrected(x), nn.functional.linear(x, corrected.dequantized(), layer.bias), rtol=1e-2, atol=1e-2)
    assert corrected.up.shape == (OUTPUTS, 24)


@pytest.mark.parametrize("kind", LINEARS.values())
def test_a_zero_weight_stays_zero(kind):
    """The smallest scale keeps the division finite."""
    layer = nn.Linear(INPUTS, OUTPUTS)
    nn.init.zeros_(layer.weight)
    module = kind(layer, torch.float32)
    assert module.dequantized().abs().max() == 0
    assert torch.equal(module(torch.zeros(ROWS, INPUTS)), layer.bias.expand(ROWS, -1))


@pytest.mark.parametrize("kind", LINEARS.values())
def test_it_is_a_linear_with_a_frozen_weight(layer, kind):
    """Adapters get a Linear; the weight takes one byte per number."""
    module = kind(layer, torch.bfloat16)
    assert isinstance(module, nn.Linear)
    assert (module.in_features, module.out_features) == (INPUTS, OUTPUTS)
    assert module.weight.element_size() == 1
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert list(module.state_dict()) == ["weight", "bias"]

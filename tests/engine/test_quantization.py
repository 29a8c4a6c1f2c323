"""Which layers are quantized, to what, and what their weight is afterwards.
(engine/quantization.py, engine/bitsandbytes_linear.py)
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import nn
from transformers import T5Config, T5EncoderModel

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine import quantization
from onetrainer_gradio.engine.methods.adapters import ADAPTERS
from onetrainer_gradio.engine.methods.adapters.layer import Layer
from onetrainer_gradio.engine.quantization import Corrections, full_state, is_quantized, quantize, quantized_kind, weight_of

# its import takes seconds, because it compiles: only the process that runs the tests imports it
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes isn't installed"),
]

KINDS = ["FLOAT_8", "INT_W8A8", "FLOAT_W8A8", "NFLOAT_4", "INT_8"]
CLOSE = {"FLOAT_8": 0.02, "INT_W8A8": 0.01, "FLOAT_W8A8": 0.02, "NFLOAT_4": 0.06, "INT_8": 0.01}


@pytest.fixture
def component() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 32))).requires_grad_(False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_linear_is_quantized_and_the_rest_is_cast(component, kind, dtype):
    """The layers stay Linears with their names, and predict about the same."""
    x = torch.randn(40, 64)
    expected, weights = component(x), [component[0].weight.clone(), component[1][1].weight.clone()]
    quantize(component, kind, dtype)
    layers = [component[0], component[1][1]]
    assert all(quantized_kind(layer) and isinstance(layer, nn.Linear) for layer in layers)
    assert component[1][0].weight.dtype == dtype
    given = x.to(dtype).requires_grad_(True)
    found = component(given)
    assert found.dtype == dtype
    assert (found - expected).abs().mean() < (0.2 if kind == "NFLOAT_4" else 0.1) * expected.abs().mean()
    found.sum().backward()
    assert given.grad.abs().sum() > 0
    for layer, weight in zip(layers, weights, strict=True):
        assert weight_of(layer).dtype == torch.float32
        assert (weight_of(layer) - weight).abs().max() < CLOSE[kind]
    state = full_state(component)
    assert set(state) == {"0.weight", "0.bias", "1.0.weight", "1.0.bias", "1.1.weight", "1.1.bias"}
    assert torch.equal(state["0.weight"], weight_of(component[0]))


@pytest.mark.parametrize("kind", ["FLOAT_8", "NFLOAT_4"])
@pytest.mark.parametrize("adapter", ["LORA", "LOHA", "LOKR", "OFT_2"])
def test_adapters_are_trained_on_top(component, kind, adapter):
    """Each adapter type gets a Linear, starts without an effect, and gets gradients; DoRA measures the dequantized weight."""
    quantize(component, kind, torch.float32)
    layer, x = component[0], torch.randn(20, 64)
    expected = layer(x)
    for decompose in (False, True) if adapter == "LORA" else (False,):
        config = TrainConfig.model_validate(
            {"lora_rank": 4, "lora_weight_dtype": "FLOAT_32", "lora_decompose": decompose, "lora_decompose_norm_epsilon": False}
        )
        trained = ADAPTERS[adapter](Layer("0", layer), config)
        trained.initialize(torch.Generator().manual_seed(1))
        out = trained(x)
        torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)
        out.square().sum().backward()
        assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in trained.parameters())


def test_the_filter_selects_and_others_stay_exact(component):
    """It works like the training's layer filter."""
    quantize(component, "FLOAT_8", torch.float32, layer_filter=(r"^1\.", True))
    assert [quantized_kind(component[0]), quantized_kind(component[1][1])] == ["", "eight bits"]


def test_what_its_class_keeps_exact_is_not_quantized():
    """An example is the output projections of T5, as in OneTrainer."""
    model = T5EncoderModel(T5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_heads=2, num_layers=1))
    quantize(model, "FLOAT_8", torch.bfloat16)
    feed = model.encoder.block[0].layer[1].DenseReluDense
    assert quantized_kind(feed.wi)
    assert not quantized_kind(feed.wo)
    assert feed.wo.weight.dtype == torch.bfloat16


def test_corrections_are_decomposed_once(tmp_path, monkeypatch):
    """A later start, also with a smaller rank, reads them from the folder; a damaged file is replaced."""
    config = TrainConfig.model_validate(
        {
            "cache_dir": str(tmp_path),
            "train_device": "cpu",
            "quantization": {"svd_dtype": "BFLOAT_16", "svd_rank": 8},
        }
    )
    corrections = Corrections.of(config)
    weight = torch.randn(24, 20)
    up, down = corrections(weight)
    u, s, v = torch.linalg.svd(weight)
    torch.testing.assert_close(up.float() @ down.float(), (u[:, :8] * s[:8]) @ v[:8], rtol=0.1, atol=0.1)
    assert (up.dtype, up.shape, down.shape) == (torch.bfloat16, (24, 8), (8, 20))
    (file,) = (tmp_path / "quantization").iterdir()
    with monkeypatch.context() as forbidden:
        forbidden.setattr(torch.linalg, "svd", None)
        smaller = Corrections(corrections.folder, 4, torch.float32, torch.device("cpu"))(weight)
        assert torch.equal(smaller[0].bfloat16(), up[:, :4])
    file.write_bytes(b"damaged")
    assert torch.equal(corrections(weight)[0], up)
    assert Corrections.of(config.model_copy(update={"quantization": TrainConfig().quantization})) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_correction_makes_every_kind_better(component, kind):
    """The low-rank part is computed next to the quantized residual."""
    original = component[0].weight.clone()

    def half(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        u, s, v = torch.linalg.svd(weight, full_matrices=False)
        return u[:, :32] * s[:32], v[:32]

    quantize(component, kind, torch.float32, corrections=half)
    layer, x = component[0], torch.randn(40, 64)
    torch.testing.assert_close(layer(x), nn.functional.linear(x, weight_of(layer), layer.bias), rtol=0.05, atol=0.05)
    assert (weight_of(layer) - original).abs().mean() < CLOSE[kind] / 4


def test_the_names_are_those_of_the_settings():
    """Float data types aren't quantized; all others are."""
    assert not any(is_quantized(dtype) for dtype in ("FLOAT_32", "FLOAT_16", "BFLOAT_16"))
    assert all(is_quantized(dtype) for dtype in (*KINDS, "GGUF"))
    assert quantization.weight_of(nn.Conv2d(2, 2, 1)).shape == (2, 2, 1, 1)

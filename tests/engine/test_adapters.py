"""Each adapter type computes the same as OneTrainer's, for a Linear, a Conv2d and fused Linears.

Covers ``engine/methods/adapters/``. The numbers were recorded from OneTrainer 23df3832 in
the data types and on the kind of processor (CPU) that the cases name.
"""

from __future__ import annotations

import json
import math
import struct
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.engine.methods.adapters import ADAPTERS
from onetrainer_gradio.engine.methods.adapters.layer import FusedLayer, Layer
from onetrainer_gradio.engine.methods.adapters.lokr import split
from onetrainer_gradio.engine.methods.adapters.lora import Lora
from onetrainer_gradio.engine.methods.adapters.oft import nearest_divisor
from onetrainer_gradio.errors import UnsupportedError
from tests.engine.conftest import GOLDEN

FILE = GOLDEN / "adapters.safetensors"
FUSED = "unet.blocks.0.attn.qkv"


def recorded_cases():
    with FILE.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(json.loads(file.read(length))["__metadata__"]["cases"])


CASES = recorded_cases()
EACH = pytest.mark.parametrize("case", CASES, ids=[f"{case['name']} over {case['kind']}" for case in CASES])


@pytest.fixture(scope="module")
def numbers():
    return load_file(FILE)


def below(tensors, prefix):
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def settings(**changes):
    return from_document({"training_method": "LORA", **changes})[0]


class Adapted:
    """The recorded layers with an adapter that is not applied yet."""

    def __init__(self, case, numbers):
        kind = case["kind"]
        weights = below(numbers, f"{kind}.model.")
        if kind == "fused":
            self.modules = [nn.Linear(12, size, bias=name != "k") for name, size in (("q", 8), ("k", 4), ("v", 6))]
            for name, module in zip("qkv", self.modules, strict=True):
                module.load_state_dict(below(weights, f"blocks.0.attn.{name}."))
            layer = FusedLayer(FUSED, self.modules)
        else:
            groups = 6 if kind == "depthwise" else 1
            module = {
                "linear": lambda: nn.Linear(12, 18),
                "conv": lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1),
                "depthwise": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=groups),
            }[kind]()
            module.load_state_dict(below(weights, "x."))
            self.modules, layer = [module], Layer("unet.x", module)
        for module in self.modules:
            module.requires_grad_(False)
        self.config = settings(**case["settings"])
        self.adapter = ADAPTERS[self.config.peft_type](layer, self.config)

    def __call__(self, x):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.adapter.dtype == torch.bfloat16):
            return torch.cat([module(x) for module in self.modules], -1)

    def put_in_place(self):
        for module, forward in self.adapter.forwards():
            module.forward = forward


@pytest.mark.slow
@EACH
def test_outputs_and_gradients_equal_onetrainers(case, numbers):
    """In float32 they are equal within 1e-6, including dropout; in bfloat16 within its precision."""
    here = f"{case['name']}.{case['kind']}"
    adapted = Adapted(case, numbers)
    adapter = adapted.adapter
    adapter.load(below(numbers, f"{here}.state.{adapter.layer.name}."))
    adapter.train()
    adapted.put_in_place()
    x = numbers[f"{case['kind']}.x"].clone().requires_grad_()
    torch.manual_seed(13)
    y = adapted(x)
    y.float().square().sum().backward()
    close = {"rtol": 2e-2, "atol": 2e-2} if adapter.dtype == torch.bfloat16 else {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(y, numbers[f"{here}.y"], **close)
    for parameter, name in zip(adapter.parameters(), case["order"], strict=True):
        theirs = numbers[f"{here}.grad.{name}"]
        scale = theirs.float().abs().max().clamp(min=1e-6)
        torch.testing.assert_close(parameter.grad.float() / scale, theirs.float() / scale, **close)
    torch.testing.assert_close(x.grad, numbers[f"{here}.x_grad"], rtol=1e-5, atol=1e-5)


@EACH
def test_tensors_have_onetrainers_names_shapes_and_order(case, numbers):
    """The order of trained tensors determines how the optimizer state of a backup is read."""
    here = f"{case['name']}.{case['kind']}"
    adapter = Adapted(case, numbers).adapter
    theirs = below(numbers, f"{here}.state.{adapter.layer.name}.")
    assert {name: tensor.shape for name, tensor in adapter.tensors().items()} == {name: theirs[name].shape for name in theirs}
    plain = [name.removesuffix(".weight") for name in case["order"]]
    assert [name for name, _ in adapter.named_parameters()] == plain


@pytest.mark.slow
@EACH
def test_a_new_adapter_changes_nothing_yet(case, numbers):
    """Before the first step, the layer's output is unchanged; the magnitudes of DoRA are the norms that OneTrainer computes."""
    adapted = Adapted(case, numbers)
    x = numbers[f"{case['kind']}.x"]
    before = adapted(x)
    adapted.adapter.initialize(torch.Generator().manual_seed(1))
    magnitudes = numbers.get(f"{case['name']}.{case['kind']}.dora_scale")
    if magnitudes is not None:
        torch.testing.assert_close(adapted.adapter.dora_scale.detach(), magnitudes, rtol=1e-6, atol=0)
    adapted.adapter.eval()
    adapted.put_in_place()
    torch.testing.assert_close(adapted(x), before, rtol=1e-6, atol=1e-6)


def test_what_is_read_back_is_what_was_written():
    """This includes every tensor and alpha; a file without alpha means full strength."""
    config = settings(lora_rank=3, lora_alpha=0.5)
    one, other = (ADAPTERS["LORA"](Layer("x", nn.Linear(4, 5)), config) for _ in range(2))
    one.initialize(torch.Generator().manual_seed(1))
    one.set_alpha(2.0)
    other.load(one.tensors())
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())
    other.load({name: tensor for name, tensor in one.tensors().items() if name != "alpha"})
    assert other.alpha == 3
    assert other.full_strength


def test_initial_numbers_are_drawn_in_float32_for_every_data_type():
    """A LoRA in bfloat16 starts from the rounded numbers of the one in float32, and both follow the seed."""
    drawn = []
    for dtype in ("FLOAT_32", "BFLOAT_16"):
        adapter = ADAPTERS["LORA"](Layer("x", nn.Linear(12, 5)), settings(lora_rank=3, lora_weight_dtype=dtype))
        adapter.initialize(torch.Generator().manual_seed(4))
        drawn.append(adapter.lora_down.detach())
    expected = nn.init.kaiming_uniform_(torch.empty(3, 12), a=math.sqrt(5), generator=torch.Generator().manual_seed(4))
    assert torch.equal(drawn[0], expected)
    assert torch.equal(drawn[1], expected.bfloat16())


@pytest.mark.parametrize("peft_type", ADAPTERS)
def test_an_adapter_in_half_precision_computes_in_the_precision_of_its_layer(peft_type):
    """Without autocast, the rounded weights are used in float32."""
    config = settings(peft_type=peft_type, lora_rank=2, lora_weight_dtype="BFLOAT_16", oft_block_size=4)
    module, x = nn.Linear(12, 5), torch.randn(3, 12)
    half, full = (
        ADAPTERS[peft_type](Layer("x", module), one)
        for one in (config, config.model_copy(update={"lora_weight_dtype": "FLOAT_32"}))
    )
    half.initialize(torch.Generator().manual_seed(4))
    for parameter in half.parameters():
        nn.init.normal_(parameter, std=0.1)
    full.load(half.tensors())
    y = half.forward(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, full.forward(x), rtol=3e-2, atol=3e-2 if peft_type != "LORA" else 1e-6)


@pytest.mark.slow
def test_loha_starts_with_onetrainers_spreads():
    """The standard deviation is 0.1 for the first factor, 1 for the factors of the inputs, 0 for the last."""
    adapter = ADAPTERS["LOHA"](Layer("x", nn.Linear(900, 900)), settings(peft_type="LOHA", lora_rank=50))
    adapter.initialize(torch.Generator().manual_seed(1))
    spreads = [float(parameter.detach().std()) for parameter in adapter.parameters()]
    assert spreads == pytest.approx([0.1, 1, 0, 1], rel=0.02)


@pytest.mark.parametrize(
    ("size", "factor", "expected"),
    [(768, -1, (24, 32)), (768, 4, (4, 192)), (768, 5, (4, 192)), (768, 500, (24, 32)), (7, -1, (1, 7)), (12, 6, (2, 6))],
)
def test_sizes_are_split_for_lokr(size, factor, expected):
    """The split is even, by a factor that divides, or with a smaller part up to the factor; the smaller part is always first."""
    assert split(size, factor) == expected


def test_the_block_of_oft_is_the_nearest_divisor():
    """Of two equally near ones it is the smaller; for a layer smaller than the block, the layer's size."""
    assert [nearest_divisor(*given) for given in ((12, 5), (320, 32), (12, 100), (2880, 7))] == [4, 32, 12, 6]


@pytest.mark.parametrize(("peft_type", "change"), [("LOKR", {"groups": 2}), ("OFT_2", {"groups": 2}), ("OFT_2", {"dilation": 2})])
def test_a_convolution_that_the_type_cannot_adapt_is_named(peft_type, change):
    """The error comes before training, with the setting that excludes the layer."""
    with pytest.raises(UnsupportedError, match=r"unet\.odd") as raised:
        ADAPTERS[peft_type](Layer("unet.odd", nn.Conv2d(4, 4, 3, **change)), settings(peft_type=peft_type))
    assert raised.value.path == "layer_filter"


# -- libraries ---------------------------------------------------------------------------------------------------------------


def of_peft(module, alpha):
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds, and only in the process that runs this file

    model = nn.Sequential(module)
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=alpha, target_modules=["0"], init_lora_weights=False), model)
    return model[0]


@contextmanager
def lora_over(layer, alpha, dropout=0.0):
    """Return our LoRA for the layer below peft's, with the same weights."""
    config = settings(lora_rank=4, lora_alpha=alpha, dropout_probability=dropout)
    ours = Lora(Layer("x", layer.base_layer), config)
    ours.load(
        {f"lora_{side}.weight": getattr(layer, f"lora_{key}")["default"].weight for side, key in (("down", "A"), ("up", "B"))}
    )
    ours.set_alpha(alpha)
    yield ours


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [4, 1])
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(6, 5), (3, 6)),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (2, 3, 9, 9)),
        (nn.Conv2d(3, 8, 1, bias=False), (2, 3, 4, 4)),
    ],
)
@pytest.mark.exhaustive
def test_outputs_and_gradients_equal_pefts(module, shape, alpha):
    """This covers Linear, and Conv2d with stride, padding and without bias, at full and at quarter strength."""
    layer = of_peft(module, alpha)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    theirs = layer(x)
    theirs.square().sum().backward()
    with lora_over(layer, alpha) as ours:
        y = ours.forward(x)
        y.square().sum().backward()
    assert torch.equal(y, theirs)
    for parameter, key in zip(ours.parameters(), "AB", strict=True):
        assert torch.equal(parameter.grad, getattr(layer, f"lora_{key}")["default"].weight.grad)


@pytest.mark.slow
@pytest.mark.exhaustive  # in .ci/run, it equals the numbers of OneTrainer above
def test_dropout_is_between_the_matrices():
    """While training, half of the rank is dropped and the rest doubled; in evaluation nothing is."""
    layer = of_peft(nn.Linear(6, 5), 4)
    x = torch.randn(1, 6)
    with lora_over(layer, 4, dropout=0.5) as ours:
        ours.train()
        torch.manual_seed(0)
        middle = torch.nn.functional.dropout(layer.lora_A["default"](x), 0.5, training=True)
        torch.manual_seed(0)
        assert torch.equal(ours.forward(x), layer.base_layer(x) + layer.lora_B["default"](middle))
        ours.eval()
        assert torch.equal(ours.forward(x), layer(x))

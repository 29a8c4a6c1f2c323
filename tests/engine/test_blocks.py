"""Checkpointing, offloading and compiling blocks don't change any result (engine/blocks.py)."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.enums import AttentionMechanism
from onetrainer_gradio.engine import blocks
from onetrainer_gradio.engine.layer_offload import LayerOffload
from onetrainer_gradio.engine.methods.adapters.layer import Layer
from onetrainer_gradio.engine.methods.adapters.lora import Lora

pytestmark = pytest.mark.usefixtures("as_in_runs")

CPU = torch.device("cpu")
META = torch.device("meta")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "kinds", "count"),
    [
        (UNet2DConditionModel, {"BasicTransformerBlock"}, 16),
        (lambda: SD3Transformer2DModel(num_layers=3), {"JointTransformerBlock"}, 3),
        (
            lambda: FluxTransformer2DModel(num_layers=2, num_single_layers=3),
            {"FluxTransformerBlock", "FluxSingleTransformerBlock"},
            5,
        ),
        (lambda: CLIPTextModel(CLIPTextConfig(num_hidden_layers=2)), {"CLIPEncoderLayer"}, 2),
        (lambda: T5EncoderModel(T5Config(num_layers=2)), {"T5Block"}, 2),
    ],
)
def test_each_component_has_its_blocks(make, kinds, count):
    """They are OneTrainer's units of checkpointing, offloading and compilation."""
    with META:
        found = blocks.blocks_of(make())
    assert len(found) == count
    assert {type(block).__name__ for block in found} == kinds


def flux() -> nn.Module:
    torch.manual_seed(0)
    model = FluxTransformer2DModel(
        in_channels=8,
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=8,
        pooled_projection_dim=4,
        guidance_embeds=False,
        axes_dims_rope=(2, 2, 4),
    )
    return model.requires_grad_(False)


def t5() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_heads": 2}
    return T5EncoderModel(T5Config(**sizes, num_layers=4)).requires_grad_(False).eval()


def run(model: nn.Module) -> torch.Tensor:
    if isinstance(model, T5EncoderModel):
        states = model(torch.tensor([[3, 5, 7, 0]]), output_hidden_states=True).hidden_states
        return states[-1] + states[-2]
    generator = torch.Generator().manual_seed(1)
    return model(
        hidden_states=torch.randn((2, 4, 8), generator=generator),
        encoder_hidden_states=torch.randn((2, 3, 8), generator=generator),
        pooled_projections=torch.randn((2, 4), generator=generator),
        timestep=torch.tensor([0.1, 0.7]),
        img_ids=torch.zeros((4, 3)),
        txt_ids=torch.zeros((3, 3)),
        return_dict=False,
    )[0]


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return a few weights of the first and of the last block."""
    found = blocks.blocks_of(model)
    weights = [next(one for one in block.parameters() if one.ndim == 2) for block in (found[0], found[-1])]
    for weight in weights:
        weight.requires_grad_(True)
    return weights


def gradients(model: nn.Module, weights: list[nn.Parameter]) -> list[torch.Tensor]:
    out = run(model)
    out.square().sum().backward()
    with torch.no_grad():  # as for a sample
        again = run(model)
    return [out.detach(), again, *(weight.grad.clone() for weight in weights)]


@pytest.mark.slow
@pytest.mark.parametrize("make", [flux, t5])
@pytest.mark.parametrize("fraction", [0.0, 1.0])
@pytest.mark.parametrize("activations", [False, True])
def test_checkpointing_and_offloading_change_no_number(make, fraction, activations):
    """Results are bitwise identical with and without offloaded activations and layers, also through a frozen text encoder."""
    plain = make()
    expected = gradients(plain, trained(plain))
    model = make()
    weights, own = trained(model), blocks.blocks_of(model)
    offload = LayerOffload(own, fraction, CPU, CPU, ahead=True, adapters=weights) if fraction else None
    runs: list[nn.Module] = []
    for block in own:
        inner = block.ff if hasattr(block, "ff") else block.attn if hasattr(block, "attn") else block.layer[0]
        inner.register_forward_hook(lambda module, args, output: runs.append(module))
    saving = partial(blocks.saving_to, CPU, CPU) if activations else nullcontext
    blocks.set_checkpointing(model, own, saving, offload)
    found = gradients(model, weights)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert len(runs) > 2 * len(own)  # some are recomputed in the backward pass
    assert offload is None or offload.loaded == 1


def test_saved_activations_are_moved_to_the_temp_device():
    """A device other than the CPU proves it: the meta device has no data to return."""
    weight = nn.Parameter(torch.ones(2))
    with blocks.saving_to(META, CPU):
        out = (weight * weight).sum()
    with pytest.raises(NotImplementedError, match="no data"):
        out.backward()


@pytest.mark.slow
def test_blocks_are_compiled_one_by_one(monkeypatch):
    """Each is compiled as a full graph, so that a break is an error."""
    made = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: made.append((self, options)))
    model = flux()
    blocks.compile_blocks(blocks.blocks_of(model))
    assert [block for block, _ in made] == list(blocks.blocks_of(model))
    assert all(options == {"fullgraph": True} for _, options in made)


class Block(nn.Module):
    """The part of a block that a LoRA trains."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(4, 4)

    def forward(self, x):
        return x + self.to_q(x).relu()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_compiled_block_with_an_adapter_computes_the_same():
    """This includes checkpointing; the last bits may differ. A graph break would be an error."""
    model = nn.Module()
    model._repeated_blocks = ["Block"]
    torch.manual_seed(0)
    model.blocks = nn.ModuleList([Block()])
    (block,) = own = blocks.blocks_of(model)
    adapter = Lora(Layer("to_q", block.to_q), TrainConfig.model_validate({"lora_rank": 2, "lora_weight_dtype": "FLOAT_32"}))
    block.to_q.forward = adapter.forward
    x = torch.randn(2, 4)
    expected = torch.autograd.grad(block(x).sum(), adapter.lora_up)[0]
    blocks.set_checkpointing(model, own, nullcontext, None)
    blocks.compile_blocks(own)
    found = torch.autograd.grad(block(x).sum(), adapter.lora_up)[0]
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_every_attention_has_its_backend():
    """diffusers supports each name of the setting."""
    from diffusers.models.attention_dispatch import AttentionBackendName

    assert set(blocks.ATTENTION_BACKENDS) == {str(name) for name in AttentionMechanism}
    assert set(blocks.ATTENTION_BACKENDS.values()) <= {name.value for name in AttentionBackendName}
    model = flux()
    model.set_attention_backend(blocks.ATTENTION_BACKENDS["CUDNN"])
    attentions = [module for module in model.modules() if hasattr(module, "processor")]
    assert {module.processor._attention_backend.value for module in attentions} == {"_native_cudnn"}
    model.set_attention_backend(blocks.ATTENTION_BACKENDS["SDP"])
    assert {module.processor._attention_backend.value for module in attentions} == {"native"}


def test_circular_convolutions_wrap_around():
    """A shifted image gives the shifted output of a layer; its LoRA's output is padded with zeros, as in OneTrainer."""
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, padding=1)
    settings = TrainConfig.model_validate({"lora_rank": 2, "lora_weight_dtype": "FLOAT_32"})
    adapter = Lora(Layer("conv", layer), settings)
    adapter.initialize(torch.Generator().manual_seed(1))
    nn.init.ones_(adapter.lora_up)
    x = torch.randn(1, 2, 6, 6)
    added = adapter(x) - layer(x)
    assert not torch.allclose(layer(x.roll(2, -1)), layer(x).roll(2, -1))
    blocks.set_circular_padding(nn.Sequential(layer))
    torch.testing.assert_close(layer(x.roll(2, -1)), layer(x).roll(2, -1))
    torch.testing.assert_close(adapter(x) - layer(x), added)

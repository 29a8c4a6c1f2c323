"""Adapters of a model are backed up and resumed bitwise, can be disabled temporarily, and may span several layers.

Covers ``engine/methods/lora.py`` and ``engine/methods/initial_adapter.py``.
"""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.engine.families.family import Part
from onetrainer_gradio.engine.methods.fused_group import FusedGroup
from onetrainer_gradio.engine.methods.initial_adapter import BACKUP_FILE
from onetrainer_gradio.engine.methods.lora import Lora
from onetrainer_gradio.errors import BackupMismatchError, ConfigValueError

TYPES = {
    "LoRA": {"lora_rank": 2, "lora_alpha": 3.0},
    "LoRA in bfloat16": {"lora_rank": 2, "lora_weight_dtype": "BFLOAT_16"},
    "DoRA": {"lora_rank": 2, "lora_decompose": True},
    "DoRA by output": {"lora_rank": 2, "lora_decompose": True, "lora_decompose_output_axis": True},
    "LoHa": {"peft_type": "LOHA", "lora_rank": 2},
    "LoKr": {"peft_type": "LOKR", "lokr_dim": 1},
    "LoKr of four": {"peft_type": "LOKR", "lokr_dim": 1, "lokr_decompose_both": True},
    "LoKr, Tucker": {"peft_type": "LOKR", "lokr_dim": 1, "lokr_use_tucker": True},
    "LoKr with magnitudes": {"peft_type": "LOKR", "lokr_dim": 1, "lokr_weight_decompose": True},
    "OFT": {"peft_type": "OFT_2", "oft_block_size": 3},
    "scaled OFT": {"peft_type": "OFT_2", "oft_block_size": 3, "oft_scaled": True, "oft_block_share": True},
}
EACH = pytest.mark.parametrize("settings", TYPES.values(), ids=TYPES.keys())


class Denoiser(nn.Module):
    """A convolution and an attention-like block."""

    def __init__(self):
        super().__init__()
        self.image = nn.Conv2d(6, 8, 3, padding=1)
        self.blocks = nn.ModuleList([nn.ModuleDict({"q": nn.Linear(8, 6), "k": nn.Linear(8, 4, bias=False)}) for _ in range(2)])

    def forward(self, x_BCHW):
        y_BLD = self.image(x_BCHW).flatten(2).mT
        return torch.cat([layer(y_BLD) for block in self.blocks for layer in block.values()], -1)


class Model:
    """The part of a family that a method uses."""

    def __init__(self):
        torch.manual_seed(5)
        self.unet = Denoiser().requires_grad_(False).eval()
        self.text_encoder = nn.Sequential(nn.Linear(3, 3)).requires_grad_(False).eval()

    def parts(self):
        text = Part("text_encoder", self.text_encoder, "lora_te", "text_model.", layer_filter=False)
        return (text, Part("unet", self.unet, "lora_unet"))


X = torch.randn((2, 6, 3, 3), generator=torch.Generator().manual_seed(1))
QK = [FusedGroup(f"blocks.{block}.qk", (f"blocks.{block}.q", f"blocks.{block}.k")) for block in (0, 1)]


def configured(**changes):
    document = {"training_method": "LORA", "dropout_probability": 0.3, "text_encoder": {"train": False}, **changes}
    return from_document(document)[0]


def train(method, model, steps, optimizer):
    """Train some steps toward zero, each with dropout that depends on its number, and return the losses."""
    for module in method.trained_modules():
        module.train()
    half = any(parameter.dtype == torch.bfloat16 for parameter in model.unet.parameters())
    losses = []
    for step in steps:
        torch.manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model.unet(X).float().square().mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return losses


def started(config, backup=None, **options):
    model = Model()
    method = Lora.attach(model, config, 3, backup, **options)
    parameters = [parameter for group in method.groups() for parameter in group.parameters]
    return method, model, torch.optim.AdamW(parameters, lr=0.02)


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("fused", [(), QK], ids=["each layer", "fused layers"])
def test_a_backup_continues_bit_for_bit(settings, fused, tmp_path):
    """Losses and weights after three and three steps equal those after six."""
    config = configured(**settings)
    whole, model, optimizer = started(config, fused=fused)
    losses = train(whole, model, range(3), optimizer)
    whole.back_up(tmp_path, lambda tensors: {})
    state = copy.deepcopy(optimizer.state_dict())
    same(load_file(tmp_path / BACKUP_FILE), whole.adapter())
    again, model_again, optimizer_again = started(config, tmp_path, fused=fused)
    same(again.adapter(), whole.adapter())
    optimizer_again.load_state_dict(state)
    rest = train(again, model_again, range(3, 6), optimizer_again)
    assert rest == train(whole, model, range(3, 6), optimizer)
    assert len({*losses, *rest}) == 6
    same(again.adapter(), whole.adapter())


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("fused", [(), QK], ids=["each layer", "fused layers"])
def test_without_adapter_the_model_computes_what_it_did_before(settings, fused):
    """The output is exact, also after training and if the block fails; afterwards the adapters are active again."""
    before = Model().unet(X)
    method, model, optimizer = started(configured(**settings), fused=fused)
    train(method, model, range(2), optimizer)
    model.unet.eval()
    with torch.autocast("cpu", torch.bfloat16, enabled="lora_weight_dtype" in settings):
        trained = model.unet(X)
        with method.without_adapter(), torch.autocast("cpu", enabled=False):
            assert torch.equal(model.unet(X), before)
        with pytest.raises(KeyError), method.without_adapter():
            raise KeyError
        assert torch.equal(model.unet(X), trained)
    assert (trained - before).abs().max() > 1e-3


@pytest.mark.parametrize("settings", [TYPES["LoRA"], TYPES["OFT"]], ids=["LoRA", "OFT"])
def test_fused_layers_have_one_adapter_and_are_the_first(settings):
    """One adapter spans the outputs of both and is named after the fused layer, in the order of the groups."""
    method, _, _ = started(configured(**settings), fused=QK[::-1])
    names = [adapter.layer.name for adapter in method.adapters["unet"]]
    assert names == ["unet.blocks.1.qk", "unet.blocks.0.qk", "unet.image"]
    if settings is TYPES["LoRA"]:
        assert method.adapter()["unet.blocks.0.qk.lora_up.weight"].shape == (10, 2)


@pytest.mark.slow
def test_a_group_of_which_the_filter_selects_a_part_is_rejected():
    """If no layer of the group is selected, it has no adapter."""
    with pytest.raises(ConfigValueError, match=r"blocks\.0\.k"):
        started(configured(layer_filter="blocks.0.q"), fused=QK)
    method, _, _ = started(configured(layer_filter="image"), fused=QK)
    assert [adapter.layer.name for adapter in method.adapters["unet"]] == ["unet.image"]


def test_adapters_move_and_switch_modes_with_their_component():
    """They are its submodules, in its mode, and only those of trained components are trained."""
    method, model, _ = started(configured(text_encoder={"train": True}, unet={"train": False}))
    assert not any(adapter.training for found in method.adapters.values() for adapter in found)
    model.text_encoder.train()
    assert all(adapter.training for adapter in method.adapters["text_encoder"])
    assert [group.name for group in method.groups()] == ["text_encoder_lora"]
    assert not any(parameter.requires_grad for parameter in model.unet.parameters())
    assert set(method.adapters) == {"text_encoder", "unet"}
    model.unet.to("meta")
    assert all(parameter.is_meta for adapter in method.adapters["unet"] for parameter in adapter.parameters())


def initial(tmp_path, **changes):
    """Return the backup folder of a run with these settings."""
    folder = tmp_path / "initial"
    started(configured(**changes))[0].back_up(folder, lambda tensors: {})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "now", "path", "message"),
    [
        ({"lora_rank": 4}, {"lora_rank": 2}, "lora_rank", "it has rank 4"),
        ({"peft_type": "LOHA"}, {}, "peft_type", "its type is LoHa"),
        ({"peft_type": "LOHA", "lora_rank": 4}, {"peft_type": "LOHA", "lora_rank": 2}, "lora_rank", "it has rank 4"),
        ({"lora_decompose": True}, {}, "lora_decompose", "it has DoRA magnitudes"),
        ({}, {"lora_decompose": True}, "lora_decompose", "it has no DoRA magnitudes"),
        (TYPES["LoKr with magnitudes"], TYPES["LoKr"], "lokr_weight_decompose", "it has DoRA magnitudes"),
        (TYPES["LoKr"], {"peft_type": "LOKR", "lokr_dim": 9}, "lokr_dim", "lokr_w2"),
        ({**TYPES["OFT"], "oft_scaled": True}, TYPES["OFT"], "oft_scaled", "it is scaled"),
        (TYPES["OFT"], {"peft_type": "OFT_2", "oft_block_size": 6}, "oft_block_size", r"\(18, 3\) instead of \(9, 15\)"),
        ({"layer_filter": "image"}, {}, "layer_filter", r"no weights for the layer “unet\.blocks\.0\.q”"),
        (
            {"lora_decompose": True, "lora_decompose_output_axis": True},
            {"lora_decompose": True},
            "lora_rank",
            r"dora_scale” is \(8, 1, 1, 1\) instead of \(1, 6, 1, 1\)",
        ),
    ],
)
def test_a_backup_of_other_settings_is_rejected(tmp_path, then, now, path, message):
    """The error names the setting and the difference."""
    with pytest.raises(BackupMismatchError, match=message) as raised:
        started(configured(**now), initial(tmp_path, **then))
    assert raised.value.path == path


@pytest.mark.slow
def test_layers_without_adapter_keep_their_weights_in_the_file(tmp_path):
    """A narrower filter trains fewer layers of the initial LoRA, and the file still contains the others."""
    folder = initial(tmp_path, lora_rank=2)
    before = load_file(folder / BACKUP_FILE)
    for tensor in before.values():
        tensor += 0.5
    save_file(before, folder / BACKUP_FILE)
    method, model, optimizer = started(configured(lora_rank=2, layer_filter="image"), folder)
    train(method, model, range(2), optimizer)
    after = method.adapter()
    assert after.keys() == before.keys()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"unet.image.lora_down.weight", "unet.image.lora_up.weight"}


@pytest.mark.slow
def test_a_text_encoder_that_the_initial_lora_contains_is_adapted_but_not_trained(tmp_path):
    """Its weights are used, are part of the fingerprint of cached text, and don't change."""
    folder = initial(tmp_path, text_encoder={"train": True})
    method, _, _ = started(configured(), folder)
    assert [group.name for group in method.groups()] == ["unet_lora"]
    assert method.encoding_facts()
    assert not any(parameter.requires_grad for parameter in method.adapters["text_encoder"][0].parameters())
    assert not started(configured())[0].encoding_facts()


@pytest.mark.slow
def test_each_type_starts_from_the_seed():
    """Equal seeds give equal adapters, and no random number comes from the global generator."""
    for settings in TYPES.values():
        one, other = (Lora.attach(Model(), configured(**settings), seed, None).adapter() for seed in (3, 3))
        same(one, other)
    state = torch.get_rng_state()
    model = Model()
    after = torch.get_rng_state()
    Lora.attach(model, configured(), 3, None)
    assert torch.equal(torch.get_rng_state(), after)
    torch.set_rng_state(state)
    one, other = (Lora.attach(Model(), configured(), seed, None).adapter() for seed in (3, 4))
    assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())

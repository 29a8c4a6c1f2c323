"""The names of adapter files."""

from __future__ import annotations

import pytest
import torch

from onetrainer_gradio.config.layers.filter import select
from onetrainer_gradio.engine.adapter_files import LORA_FORMATS, Layout, read_adapter
from onetrainer_gradio.engine.families.family import Part
from onetrainer_gradio.errors import ModelFormatError

LAYOUT = Layout({"unet.a.b": "lora_unet_a_b", "text_encoder.text_model.c": "lora_te_text_model_c"})


def adapter(alpha=2.0):
    torch.manual_seed(0)
    tensors = {}
    for module in LAYOUT.kohya:
        tensors[f"{module}.alpha"] = torch.tensor(alpha)
        tensors[f"{module}.lora_down.weight"] = torch.randn(4, 6)
        tensors[f"{module}.lora_up.weight"] = torch.randn(5, 4)
    return tensors


def change(tensors, module):
    down, up = tensors[f"{module}.lora_down.weight"], tensors[f"{module}.lora_up.weight"]
    return up @ down * (tensors[f"{module}.alpha"] / down.shape[0])


@pytest.mark.parametrize("model_format", LORA_FORMATS)
def test_every_format_can_be_read_again(model_format):
    """What is read is the same change of the weights, whatever became of alpha."""
    written = LORA_FORMATS[model_format](adapter(), LAYOUT)
    read = read_adapter(written, LAYOUT, "file")
    assert read.keys() == adapter().keys()
    for module in LAYOUT.kohya:
        assert torch.allclose(change(read, module), change(adapter(), module), atol=1e-6)


@pytest.mark.slow
def test_a_model_of_the_same_shape_has_onetrainers_counts():
    """353 layers: 1059 tensors for kohya, 706 for diffusers; the filter ``attentions`` leaves 192 of the UNet's.

    (Stable Diffusion 1.5 has one layer more: its third block widens, which takes a shortcut.)
    """
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from onetrainer_gradio.engine.methods.lora import _adaptable

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=32, block_out_channels=(32, 64, 64, 64))
        settings = CLIPTextConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=12, num_attention_heads=4)
        text = CLIPTextModel(settings)
    prefix = "" if hasattr(text, "text_model") else "text_model."
    parts = (Part("text_encoder", text, "lora_te", prefix), Part("unet", unet, "lora_unet"))
    layout = Layout.of(parts, {part.name: _adaptable(part.module) for part in parts})
    assert len(layout.kohya) == 353
    whole = {
        f"{module}.{suffix}": torch.zeros(1)
        for module in layout.kohya
        for suffix in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    kohya, diffusers = (LORA_FORMATS[name](whole, layout) for name in ("KOHYA_LORA", "DIFFUSERS_LORA"))
    assert (len(kohya), len(diffusers)) == (1059, 706)
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight" in kohya
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha" in kohya
    assert len(select(_adaptable(unet), "attentions", regex=False).layers) * 3 == 576


def test_an_incomplete_layer_is_refused():
    """A file with a matrix missing does not fit, and its foreign names are shown."""
    broken = LORA_FORMATS["KOHYA_LORA"](adapter(), LAYOUT)
    broken["lora_unet_zzz.lora_up.weight"] = torch.zeros(1)
    with pytest.raises(ModelFormatError, match="lora_unet_zzz"):
        read_adapter(broken, LAYOUT, "file")

"""The tensor names of adapter files, in every format of every family with tables.

Covers ``engine/keys/lora_files.py``, ``engine/keys/__init__.py``, ``engine/keys/family_keys.py``,
``engine/keys/stable_diffusion.py``, ``engine/keys/stable_diffusion_xl.py``, ``engine/keys/stable_diffusion_3.py`` and
``engine/keys/flux_1.py``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.layers.filter import select
from onetrainer_gradio.engine.keys import keys_of
from onetrainer_gradio.engine.keys.adapters import tensors_of
from onetrainer_gradio.engine.keys.lora_files import (
    FUSED_FORMATS,
    LORA_FORMATS,
    LoraKeys,
    formats_of,
    fused,
    read_adapter,
    unfused,
    unread_by_diffusers,
    write_adapter,
)
from onetrainer_gradio.errors import ModelFormatError, UnsupportedError
from tests.engine.keys.published import TYPES, adapter, paths_of

ONETRAINER = json.loads(Path(__file__).with_name("onetrainer_lora_keys.json").read_text("utf-8"))
"""By type and format: number and SHA-256 of the keys that OneTrainer 23df3832 writes, one per line, sorted.

ORIGINAL has those of the denoiser alone."""

CASES = [(model_type, model_format) for model_type in TYPES for model_format in formats_of(model_type)]
LAYOUT = LoraKeys(keys_of("STABLE_DIFFUSION_15"), {"unet": ["a.b"], "text_encoder": ["text_model.c"]})
MODULES = ("unet.a.b", "text_encoder.text_model.c")
ANY_MODEL = ("KOHYA_LORA", "LEGACY_LORA", "DIFFUSERS_LORA", "INTERNAL")
"""Formats of Stable Diffusion 1.5 that keep diffusers' names, which work with any layers."""


def small(alpha=2.0):
    torch.manual_seed(0)
    tensors = {}
    for module in MODULES:
        tensors[f"{module}.alpha"] = torch.tensor(alpha)
        tensors[f"{module}.lora_down.weight"] = torch.randn(4, 6)
        tensors[f"{module}.lora_up.weight"] = torch.randn(5, 4)
    return tensors


def change(tensors, module):
    down, up = tensors[f"{module}.lora_down.weight"], tensors[f"{module}.lora_up.weight"]
    return up @ down * (tensors[f"{module}.alpha"] / down.shape[0])


@pytest.mark.parametrize("model_format", ANY_MODEL)
def test_every_format_can_be_read_again(model_format):
    """The loaded weights have the same effect, even if alpha was folded in."""
    written = write_adapter(small(), model_format, LAYOUT.keys)
    read = read_adapter(written, LAYOUT, "file")
    assert read.keys() == small().keys()
    for module in MODULES:
        assert torch.allclose(change(read, module), change(small(), module), atol=1e-6)


@pytest.mark.slow
def test_a_model_of_the_same_shape_has_onetrainers_counts():
    """353 layers: 1059 tensors for kohya, 706 for diffusers; the filter ``attentions`` leaves 192 of the UNet's.

    (Stable Diffusion 1.5 has one layer more: its third block widens, which needs a shortcut.)
    """
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import nn
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=32, block_out_channels=(32, 64, 64, 64))
        settings = CLIPTextConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=12, num_attention_heads=4)
        text = CLIPTextModel(settings)
    prefix = "" if hasattr(text, "text_model") else "text_model."
    unet_paths, text_paths = (
        [name for name, child in model.named_modules() if isinstance(child, nn.Linear | nn.Conv2d)] for model in (unet, text)
    )
    modules = [*(f"unet.{path}" for path in unet_paths), *(f"text_encoder.{prefix}{path}" for path in text_paths)]
    assert len(modules) == 353
    whole = {
        f"{module}.{suffix}": torch.zeros(1, 1)
        for module in modules
        for suffix in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    keys = keys_of("STABLE_DIFFUSION_15", unet.config)
    kohya, diffusers = (write_adapter(whole, name, keys) for name in ("KOHYA_LORA", "DIFFUSERS_LORA"))
    assert (len(kohya), len(diffusers)) == (1059, 706)
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight" in kohya
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha" in kohya
    assert len(select(unet_paths, "attentions", regex=False).layers) * 3 == 576


def test_an_incomplete_layer_is_rejected():
    """A file with a missing matrix is rejected, and the error shows unknown names."""
    broken = write_adapter(small(), "KOHYA_LORA", LAYOUT.keys)
    broken["lora_unet_zzz.lora_up.weight"] = torch.zeros(1)
    with pytest.raises(ModelFormatError, match="lora_unet_zzz"):
        read_adapter(broken, LAYOUT, "file")
    del broken["lora_unet_zzz.lora_up.weight"], broken["lora_unet_a_b.lora_up.weight"]
    with pytest.raises(ModelFormatError, match=r"unet\.a\.b.* incomplete"):
        read_adapter(broken, LAYOUT, "file")


def test_every_family_with_tables_has_the_name_of_its_facts():
    """The module is found by that name; an unsupported family's type is rejected by its label."""
    assert keys_of("STABLE_DIFFUSION_20_DEPTH").encoders["text_encoder"].comfy == "clip_h"
    assert keys_of("FLUX_FILL_DEV_1").fusions == MODELS["FLUX_FILL_DEV_1"].fusions
    with pytest.raises(UnsupportedError, match="Hunyuan Video"):
        keys_of("HUNYUAN_VIDEO")


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "model_format"), [case for case in CASES if case[1] != "INTERNAL"])
def test_the_keys_are_those_of_onetrainer(model_type, model_format):
    """A LoRA for every layer of a published model has the keys that OneTrainer writes."""
    components = [keys_of(model_type).denoiser] if model_format == "ORIGINAL_LORA" else []
    written = write_adapter(adapter(model_type, *components), model_format, keys_of(model_type))
    text = "\n".join(sorted(written))
    assert [len(written), hashlib.sha256(text.encode()).hexdigest()] == ONETRAINER[model_type][model_format]


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "model_format"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] != "STABLE_DIFFUSION_15")) for case in CASES],
)
def test_a_file_is_read_as_what_was_written(model_type, model_format):
    """The same tensors are returned, with projections joined if the format joins them; only diffusers' lose their alpha."""
    keys = keys_of(model_type)
    components = [keys.denoiser] if model_format == "ORIGINAL_LORA" else []
    lora = adapter(model_type, *components, dora=True)
    expected = tensors_of(fused(lora, keys)) if model_format in FUSED_FORMATS else lora
    written = write_adapter(lora, model_format, keys)
    exact = LoraKeys(keys, paths_of(model_type))
    for names in (exact, LoraKeys.published(model_type)):
        read = read_adapter(written, names, "file")
        assert read.keys() == expected.keys()
        if model_format == "DIFFUSERS_LORA":
            module = f"{keys.denoiser}.{exact.paths[keys.denoiser][3]}"
            assert torch.allclose(change(read, module), change(expected, module))
        else:
            assert all(torch.equal(read[name], expected[name]) for name in read)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["STABLE_DIFFUSION_3", "FLUX_DEV_1"])
def test_joined_and_split_projections_change_the_weights_alike(model_type):
    """A LoRA that is joined for a native file and split again changes every layer equally, at a higher rank."""
    keys = keys_of(model_type)
    lora = adapter(model_type, keys.denoiser)
    again = tensors_of(unfused(tensors_of(fused(lora, keys)), keys))
    assert again.keys() == lora.keys()
    modules = {name.removesuffix(".alpha") for name in lora if name.endswith(".alpha")}
    assert all(torch.allclose(change(again, module), change(lora, module), atol=1e-6) for module in modules)


@pytest.mark.slow
def test_a_lora_of_three_attention_projections_has_no_effect_on_the_fourth():
    """FLUX.1's single blocks fuse attention and feed-forward: layers without a LoRA get zeros."""
    keys = keys_of("FLUX_DEV_1")
    lora = {name: tensor for name, tensor in adapter("FLUX_DEV_1", "transformer").items() if "proj_mlp" not in name}
    written = write_adapter(lora, "KOHYA_LORA", keys)
    again = read_adapter(written, LoraKeys.published("FLUX_DEV_1"), "file")
    split = tensors_of(unfused(again, keys))
    module = "transformer.single_transformer_blocks.5"
    assert torch.allclose(change(split, f"{module}.attn.to_k"), change(lora, f"{module}.attn.to_k"), atol=1e-6)
    assert not change(split, f"{module}.proj_mlp").any()


@pytest.mark.slow
def test_the_halves_of_the_last_norm_change_places():
    """Native files have the reverse order of shift and scale in the final norm, and in SD3's last context norm."""
    lora = adapter("STABLE_DIFFUSION_3", "transformer", dora=True)
    written = write_adapter(lora, "ORIGINAL_LORA", keys_of("STABLE_DIFFUSION_3"))
    for path, native in (
        ("norm_out.linear", "final_layer.adaLN_modulation.1"),
        ("transformer_blocks.23.norm1_context.linear", "joint_blocks.23.context_block.adaLN_modulation.1"),
    ):
        for suffix, theirs in (("lora_up.weight", "lora_B.weight"), ("dora_scale", "dora_scale")):
            first, second = lora[f"transformer.{path}.{suffix}"].chunk(2)
            assert torch.equal(written[f"{native}.{theirs}"], torch.cat([second, first]))
    same = "transformer_blocks.22.norm1_context.linear"
    up = written["joint_blocks.22.context_block.adaLN_modulation.1.lora_B.weight"]
    assert torch.equal(up, lora[f"transformer.{same}.lora_up.weight"])


@pytest.mark.slow
def test_what_a_format_cant_hold_is_rejected_by_name():
    """ORIGINAL contains only the denoiser: no text encoder and no embeddings."""
    lora = adapter("FLUX_DEV_1")
    with pytest.raises(ModelFormatError, match="text_encoder and text_encoder_2"):
        write_adapter(lora, "ORIGINAL_LORA", keys_of("FLUX_DEV_1"))
    bundled = adapter("FLUX_DEV_1", "transformer") | {"bundle_emb.<a>.t5": torch.zeros(2, 4)}
    with pytest.raises(ModelFormatError, match="embeddings"):
        write_adapter(bundled, "ORIGINAL_LORA", keys_of("FLUX_DEV_1"))


@pytest.mark.slow
@pytest.mark.parametrize("model_format", [name for name in LORA_FORMATS if name != "ORIGINAL_LORA"])
def test_bundled_embeddings_stay_in_the_file(model_format):
    """Their names are the same in every format, whatever the placeholder."""
    bundle = {"bundle_emb.<my.style>.clip_l": torch.ones(2, 4), "bundle_emb.<my.style>.t5_out": torch.zeros(2, 4)}
    written = write_adapter(adapter("FLUX_DEV_1", "transformer") | bundle, model_format, keys_of("FLUX_DEV_1"))
    read = read_adapter(written, LoraKeys.published("FLUX_DEV_1"), "file")
    assert all(torch.equal(read[name], tensor) for name, tensor in bundle.items())


@pytest.mark.parametrize(
    ("key", "internal"),
    [
        ("base_model.model.unet.conv_in.lora_A.default.weight", "unet.conv_in.lora_down.weight"),
        ("unet.conv_in.lora.down.weight", "unet.conv_in.lora_down.weight"),
        ("lycoris_conv_in.lora_down.weight", "unet.conv_in.lora_down.weight"),
        ("diffusion_model.input_blocks.0.0.lora_A.weight", "unet.conv_in.lora_down.weight"),
        ("input_blocks.0.0.lora_A.weight", "unet.conv_in.lora_down.weight"),
        ("lora_unet_input_blocks_0_0.lora_down.weight", "unet.conv_in.lora_down.weight"),
        (
            "text_encoder.encoder.layers.3.mlp.fc1.lora_A.weight",
            "text_encoder.text_model.encoder.layers.3.mlp.fc1.lora_down.weight",
        ),
        (
            "lora_te1_text_model_encoder_layers_3_mlp_fc1.lora_down.weight",
            "text_encoder.text_model.encoder.layers.3.mlp.fc1.lora_down.weight",
        ),
    ],
)
def test_names_of_other_programs_are_read(key, internal):
    """These are kohya, LyCORIS, peft, ComfyUI and older diffusers; a missing alpha means the rank."""
    other = key.replace("lora_A", "lora_B").replace("down", "up")
    read = read_adapter({key: torch.ones(3, 4), other: torch.ones(4, 3)}, LoraKeys.published("STABLE_DIFFUSION_15"), "file")
    assert internal in read
    assert read[internal.replace("lora_down.weight", "alpha")] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "key",
    ["lora_unet_conv_in.hada_t1", "lora_unet_conv_in.diff", "lora_unet_conv_in.oft_blocks", "lora_unet_conv_in.on_input"],
)
def test_unknown_types_of_adapters_are_rejected_by_name(key):
    """No part of a file is skipped silently."""
    lora = write_adapter(adapter("STABLE_DIFFUSION_15", "unet"), "KOHYA_LORA", keys_of("STABLE_DIFFUSION_15"))
    with pytest.raises(ModelFormatError, match=key.replace(".", r"\.")):
        read_adapter(lora | {key: torch.zeros(1)}, LoraKeys.published("STABLE_DIFFUSION_15"), "file")


@pytest.mark.slow
def test_diffusers_reads_lora_and_dora_per_output_alone():
    """Other types are written too, but diffusers can't load them."""
    keys = keys_of("STABLE_DIFFUSION_15")
    lora = adapter("STABLE_DIFFUSION_15", "unet", dora=True)
    assert unread_by_diffusers(lora) == ""
    written = write_adapter(lora, "DIFFUSERS_LORA", keys)
    assert written["unet.time_embedding.linear_1.lora_magnitude_vector.weight"].shape == (4,)
    per_input = {name: torch.ones(1, 4) if name.endswith("dora_scale") else tensor for name, tensor in lora.items()}
    assert "per input" in unread_by_diffusers(per_input)
    assert "unet.time_embedding.linear_1.dora_scale" in write_adapter(per_input, "DIFFUSERS_LORA", keys)
    assert "LoHa" in unread_by_diffusers({"unet.conv_in.hada_w1_a": torch.zeros(1)})


def test_the_groups_of_joined_layers_are_in_onetrainers_order():
    """They are sorted by fusion, then by the block's name as text; blocks without one of the layers are omitted."""
    paths = paths_of("FLUX_DEV_1")
    groups = LoraKeys(keys_of("FLUX_DEV_1"), paths).fused_groups()
    assert len(groups) == 19 + 19 + 38
    assert [name for name, _ in groups[:3]] == [f"transformer_blocks.{block}.attn.qkv" for block in (0, 1, 10)]
    assert groups[-1] == (
        "single_transformer_blocks.9.qkv_mlp",
        tuple(f"single_transformer_blocks.9.{leaf}" for leaf in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")),
    )
    assert LoraKeys(keys_of("STABLE_DIFFUSION_15"), paths_of("STABLE_DIFFUSION_15")).fused_groups() == ()
    few = {**paths, "transformer": [path for path in paths["transformer"] if path != "transformer_blocks.0.attn.to_k"]}
    assert len(LoraKeys(keys_of("FLUX_DEV_1"), few).fused_groups()) == len(groups) - 1

"""The packaged configurations equal those of the published models, and their tokenizers work without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.families.published_configs import published

TYPES = [facts.type for facts in MODELS.values() if published(facts.type)]
SIZES = [(model_type, ()) for model_type in TYPES] + [("STABLE_DIFFUSION_35", ["a.joint_blocks.0.x_block.attn2.qkv.weight"])]
COUNTS = {
    "unet 4 768 4": 859_520_964,
    "unet 9 768 4": 859_535_364,
    "unet 4 1024 4": 865_910_724,
    "unet 9 1024 4": 865_925_124,
    "unet 4 2048 3": 2_567_463_684,
    "unet 9 2048 3": 2_567_478_084,
    "transformer stable_diffusion_3": 2_084_951_104,
    "transformer stable_diffusion_35": 8_146_280_768,
    "transformer stable_diffusion_35_medium": 2_469_663_936,
    "transformer flux_dev_1": 11_901_408_320,
    "transformer flux_fill_dev_1": 11_902_391_360,
    "vae 4": 83_653_863,
    "vae 16": 83_819_683,
    "clip_text_model 768": 123_060_480,
    "clip_text_model 768 projected": 123_650_304,
    "clip_text_model 1024": 340_387_840,
    "clip_text_model 1280 projected": 694_659_840,
    "t5 4096": 4_762_310_656,
}
"""Parameters of the published components, with the position tables of SD3's transformer."""


def described(component: str, config: dict, folder: str) -> str:
    if component == "unet":
        return f"unet {config['in_channels']} {config['cross_attention_dim']} {len(config['block_out_channels'])}"
    if component == "transformer":
        return f"transformer {folder}"
    if component == "vae":
        return f"vae {config['latent_channels']}"
    width = config.get("hidden_size", config.get("d_model"))
    projected = " projected" if "WithProjection" in config["architectures"][0] else ""
    return f"{config['model_type']} {width}{projected}"


def test_every_trained_type_but_the_depth_model_has_its_configurations():
    """A single file of the depth model lacks more than configurations."""
    trained = {facts.type for facts in MODELS.values() if facts.built_in}
    assert trained - set(TYPES) <= {"STABLE_DIFFUSION_20_DEPTH"}
    assert published(ModelType("QWEN")) is None


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "keys"), SIZES)
def test_the_components_have_the_published_sizes(model_type, keys):
    """Every component of every type has as many parameters as its published weights."""
    import diffusers
    import torch
    import transformers

    folder = published(ModelType(model_type), keys).folder
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    assert index["_class_name"].startswith(MODELS[model_type].pipelines)
    for part in MODELS[model_type].parts:
        library, name = index[part]
        config = json.loads((folder / part / "config.json").read_text("utf-8"))
        with torch.device("meta"):
            if library == "diffusers":
                made = getattr(diffusers, name).from_config(config)
            else:
                kind = getattr(transformers, name)
                made = kind(kind.config_class.from_pretrained(folder / part))
        count = sum(parameter.numel() for parameter in made.parameters())
        if part == "transformer" and hasattr(made, "pos_embed") and hasattr(made.pos_embed, "pos_embed"):
            count += made.pos_embed.pos_embed.numel()
        assert count == COUNTS[described(part, config, folder.name)], part
        if part == MODELS[model_type].denoiser and "_medium" not in folder.name:
            assert set(layer_names(ModelType(model_type))) <= {path for path, _ in made.named_modules()}


@pytest.mark.slow
@pytest.mark.parametrize("model_type", TYPES)
def test_the_tokenizers_work_without_a_network(model_type):
    """This checks known tokens of both vocabularies, the prompt length, and the padding."""
    import transformers

    found = published(ModelType(model_type))
    index = json.loads((found.folder / "model_index.json").read_text("utf-8"))
    assert found.tokenizers.keys() == {name for name in index if name.startswith("tokenizer")}
    for name, one in found.tokenizers.items():
        tokenizer = getattr(transformers, index[name][1]).from_pretrained(one.folder, **one.options)
        tokens = tokenizer("a photo of an astronaut", padding="max_length", max_length=12).input_ids
        if index[name][1] == "CLIPTokenizer":
            pad = 0 if one.options else 49407
            assert tokens == [49406, 320, 1125, 539, 550, 18376, 49407, *[pad] * 5]
            assert tokenizer.model_max_length == 77
        else:
            assert tokens == [3, 9, 1202, 13, 46, 30059, 1, 0, 0, 0, 0, 0]
            assert tokenizer.model_max_length == 512


def test_the_files_are_small():
    """They are part of every installation."""
    from onetrainer_gradio.config.families import published_configs

    folder = Path(published_configs.__file__).with_name("published")
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 3_000_000

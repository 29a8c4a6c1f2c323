"""The names are those of the real layers, and the presets match them."""

import pytest

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.layer_names import layer_names
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.layers.filter import select

# Presets that OneTrainer offers although they match no layer of the type.
IDLE = {(ModelType.WUERSTCHEN_2, "down-blocks"), (ModelType.WUERSTCHEN_2, "up-blocks")}


def test_every_type_has_layers_and_every_preset_but_two_takes_some():
    """Each pattern of a preset matches a layer of its type."""
    idle = set()
    for model_type, facts in MODELS.items():
        names = layer_names(model_type)
        assert len(names) == len(set(names)) > 100
        for name, preset in facts.layer_presets.items():
            if select(names, ",".join(preset.patterns), preset.regex).unused:
                idle.add((model_type, name))
    assert idle == IDLE


def test_fused_projections_are_layers():
    """A layer that a format fuses exists in the first block of the type."""
    for model_type, facts in MODELS.items():
        names = set(layer_names(model_type))
        for fusion in facts.fusions:
            taken = [leaf for leaf in fusion.leaves if f"{fusion.block}.0.{leaf}" in names]
            # only some published sizes of SD3.5 have dual attention
            assert taken == list(fusion.leaves) or fusion.leaves[0].startswith("attn2"), (model_type, fusion)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "name", "settings"),
    [
        (ModelType.FLUX_DEV_1, "FluxTransformer2DModel", {"guidance_embeds": True}),
        (ModelType.CHROMA_1, "ChromaTransformer2DModel", {}),
        (ModelType.QWEN, "QwenImageTransformer2DModel", {}),
        (ModelType.SANA, "SanaTransformer2DModel", {}),
        (ModelType.HUNYUAN_VIDEO, "HunyuanVideoTransformer3DModel", {"guidance_embeds": True}),
        (ModelType.ANIMA, "CosmosTransformer3DModel", {"num_attention_heads": 16}),
        (ModelType.KREA_2, "Krea2Transformer2DModel", {}),
        (ModelType.Z_IMAGE, "ZImageTransformer2DModel", {}),
        (ModelType.ERNIE, "ErnieImageTransformer2DModel", {}),
        (ModelType.IDEOGRAM_4, "Ideogram4Transformer2DModel", {}),
        (ModelType.PIXART_ALPHA, "PixArtTransformer2DModel", {"sample_size": 128, "caption_channels": 4096}),
        (ModelType.STABLE_DIFFUSION_15, "UNet2DConditionModel", {"cross_attention_dim": 768, "attention_head_dim": 8}),
    ],
)
def test_the_names_are_those_of_the_library(model_type, name, settings):
    """The model created without weights has exactly these linear and convolution layers."""
    import diffusers
    import torch

    with torch.device("meta"):
        model = getattr(diffusers, name)(**settings)
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    real = [layer for layer, module in model.named_modules() if isinstance(module, kinds)]
    assert sorted(layer_names(model_type)) == sorted(real)

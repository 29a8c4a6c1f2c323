"""The tensor names of full models: diffusers' own converters read what is written, and find every tensor.

Covers ``engine/keys/model_files.py``, ``engine/keys/unet.py`` and ``engine/keys/clip.py``. The models have the published
architectures; their tensors have the published number of rows, which joining and splitting depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import pytest
import torch
from diffusers.loaders import single_file_utils
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from onetrainer_gradio.engine.keys import keys_of
from onetrainer_gradio.engine.keys.clip import clip_tensors, t5_tensors
from onetrainer_gradio.engine.keys.model_files import model_tensors, schedule_buffers
from onetrainer_gradio.errors import ModelFormatError

XL_BLOCKS = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
MODELS: Mapping[str, Callable[[], torch.nn.Module]] = {
    "unet": lambda: UNet2DConditionModel(cross_attention_dim=768),
    "unet2": lambda: UNet2DConditionModel(
        cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
    ),
    "unet_xl": lambda: UNet2DConditionModel(cross_attention_dim=2048, **XL_BLOCKS),
    "vae": lambda: AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    ),
    "clip_l": lambda: CLIPTextModel(CLIPTextConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12)),
    "clip_h": lambda: CLIPTextModel(CLIPTextConfig(hidden_size=1024, num_hidden_layers=23, num_attention_heads=16)),
    "clip_g": lambda: CLIPTextModelWithProjection(
        CLIPTextConfig(hidden_size=1280, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280)
    ),
    "sd3": lambda: SD3Transformer2DModel(
        num_layers=24, num_attention_heads=24, caption_projection_dim=1536, pos_embed_max_size=192
    ),
    "sd35": lambda: SD3Transformer2DModel(
        num_layers=24,
        num_attention_heads=24,
        caption_projection_dim=1536,
        pos_embed_max_size=384,
        qk_norm="rms_norm",
        dual_attention_layers=tuple(range(13)),
    ),
    "flux": lambda: FluxTransformer2DModel(guidance_embeds=True),
}


@cache
def model(name: str) -> torch.nn.Module:
    """Return a published architecture without memory."""
    with torch.device("meta"):
        return MODELS[name]()


@cache
def state(name: str) -> dict[str, Tensor]:
    """Return tensors of a model, each different, with as few columns as the converters allow."""
    tensors = {}
    for number, (key, tensor) in enumerate(model(name).state_dict().items()):
        rows = torch.arange(tensor.shape[0], dtype=torch.float32) / 1e5 + number
        whole = "norm1_context" in key or "text_projection" in key  # their number of columns matters
        columns = tensor.shape[1:] if whole else (1,) * (tensor.ndim - 1)
        tensors[key] = rows.reshape(-1, *(1,) * (tensor.ndim - 1)).expand(-1, *columns)
    return tensors


def same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Assert that the tensors are equal, name by name."""
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name].reshape(expected[name].shape), expected[name])] == []


def in_transformers(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors with the names of this version of transformers."""
    prefix = "" if hasattr(model(name), "text_model") else "text_model."
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "unet", "text"),
    [("STABLE_DIFFUSION_15", "unet", "clip_l"), ("STABLE_DIFFUSION_21", "unet2", "clip_h")],
)
def test_stable_diffusion_is_read_by_diffusers(model_type, unet, text):
    """This covers UNet, VAE and both kinds of text encoders."""
    components = {"unet": state(unet), "vae": state("vae"), "text_encoder": state(text)}
    keys = keys_of(model_type, model(unet).config)
    tensors = model_tensors("ORIGINAL_SINGLE_FILE", components, keys)
    same(single_file_utils.convert_ldm_unet_checkpoint(dict(tensors), dict(model(unet).config)), state(unet))
    same(single_file_utils.convert_ldm_vae_checkpoint(dict(tensors), dict(model("vae").config)), state("vae"))
    if text == "clip_l":
        read = single_file_utils.convert_ldm_clip_checkpoint(dict(tensors))
    else:
        read = single_file_utils.convert_open_clip_checkpoint(model(text), dict(tensors))
        assert not read.keys() - clip_tensors(state(text)).keys() - {"text_projection.weight"}
        read.pop("text_projection.weight", None)  # ones, for an encoder that has none
        assert "cond_stage_model.model.transformer.resblocks.23.ln_1.weight" not in tensors
        assert tensors["cond_stage_model.model.text_projection"].shape == (1024, 1024)
        assert tensors["cond_stage_model.model.logit_scale"] == 1
    same(in_transformers(read, text), state(text))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_stable_diffusion_xl_is_read_by_diffusers():
    """This covers both text encoders; the projection keeps its orientation, as in OneTrainer's files."""
    components = {
        "unet": state("unet_xl"),
        "vae": state("vae"),
        "text_encoder": state("clip_l"),
        "text_encoder_2": state("clip_g"),
    }
    keys = keys_of("STABLE_DIFFUSION_XL_10_BASE", model("unet_xl").config)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    tensors = model_tensors("ORIGINAL_SINGLE_FILE", components, keys, betas, "epsilon")
    read = single_file_utils.convert_ldm_unet_checkpoint(dict(tensors), dict(model("unet_xl").config))
    same(read, state("unet_xl"))
    assert "model.diffusion_model.label_emb.0.2.weight" in tensors
    first = {name: tensor for name, tensor in tensors.items() if name.startswith("conditioner.embedders.0.")}
    same(in_transformers(single_file_utils.convert_ldm_clip_checkpoint(first), "clip_l"), state("clip_l"))
    second = single_file_utils.convert_open_clip_checkpoint(model("clip_g"), dict(tensors), "conditioner.embedders.1.model.")
    second["text_projection.weight"] = second["text_projection.weight"].T
    same(second, state("clip_g"))
    assert torch.equal(tensors["betas"], betas)
    assert "v_pred" not in tensors
    marked = model_tensors("ORIGINAL_SINGLE_FILE", components, keys, betas, "v_prediction")
    assert marked["v_pred"].numel() == 0


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("size", ["sd3", "sd35"])
def test_stable_diffusion_3_is_read_by_diffusers(size):
    """This holds with and without a second attention; the halves of the last norms are swapped and swapped back."""
    t5 = {"shared.weight": torch.ones(3, 2), "encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(2, 2)}
    components = {"transformer": state(size), "vae": state("vae"), "text_encoder_2": state("clip_g"), "text_encoder_3": t5}
    tensors = model_tensors("ORIGINAL_SINGLE_FILE", components, keys_of("STABLE_DIFFUSION_35"))
    denoiser = {name: tensor for name, tensor in tensors.items() if name.startswith("model.diffusion_model.")}
    same(single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers(denoiser), state(size))
    read = single_file_utils.convert_ldm_clip_checkpoint(dict(tensors), "text_encoders.clip_g.transformer.")
    same(read, clip_tensors(state("clip_g")))
    assert "text_encoders.t5xxl.transformer.encoder.embed_tokens.weight" in tensors
    assert not any(name.startswith("text_encoders.clip_l.") for name in tensors)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_flux_is_read_by_diffusers():
    """Both formats contain only the transformer."""
    tensors = model_tensors("ORIGINAL_TRANSFORMER", {"transformer": state("flux"), "vae": {}}, keys_of("FLUX_DEV_1"))
    assert tensors["single_blocks.37.linear1.weight"].shape[0] == 7 * 3072
    legacy = model_tensors("LEGACY_SAFETENSORS", {"transformer": state("flux")}, keys_of("FLUX_DEV_1"))
    assert tensors.keys() == legacy.keys()
    same(single_file_utils.convert_flux_transformer_checkpoint_to_diffusers(tensors), state("flux"))


@pytest.mark.slow
def test_original_names_are_those_of_the_published_checkpoint():
    """Every tensor of a full-size Stable Diffusion 1.5 has the published name and shape."""
    components = {"unet": model("unet").state_dict(), "vae": model("vae").state_dict()}
    tensors = model_tensors("ORIGINAL_SINGLE_FILE", components, keys_of("STABLE_DIFFUSION_15"))
    for name, shape in {
        "model.diffusion_model.input_blocks.8.1.proj_in.weight": (1280, 1280, 1, 1),
        "model.diffusion_model.output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        "model.diffusion_model.output_blocks.5.2.conv.weight": (1280, 1280, 3, 3),
        "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": (1280, 768),
        "model.diffusion_model.out.2.weight": (4, 320, 3, 3),
        "first_stage_model.encoder.down.2.downsample.conv.weight": (512, 512, 3, 3),
        "first_stage_model.decoder.up.3.upsample.conv.weight": (512, 512, 3, 3),
        "first_stage_model.decoder.mid.attn_1.proj_out.weight": (512, 512, 1, 1),
        "first_stage_model.encoder.down.1.block.0.nin_shortcut.weight": (256, 128, 1, 1),
        "first_stage_model.quant_conv.weight": (8, 8, 1, 1),
    }.items():
        assert tuple(tensors[name].shape) == shape, name
    assert sum(name.startswith("model.diffusion_model.") for name in tensors) == 686
    assert sum(name.startswith("first_stage_model.") for name in tensors) == 248


def test_a_tensor_without_a_rule_is_an_error():
    """No tensor of a full model is dropped."""
    with pytest.raises(ModelFormatError, match=r"“down_blocks\.0\.extra\.weight”"):
        model_tensors(
            "ORIGINAL_SINGLE_FILE", {"unet": {"down_blocks.0.extra.weight": torch.ones(1)}}, keys_of("STABLE_DIFFUSION_15")
        )


def test_the_schedule_is_that_of_the_published_checkpoint():
    """Stable Diffusion 1.5 has a beta from 0.00085 to 0.012 and known values derived from it."""
    buffers = schedule_buffers(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)
    assert len(buffers) == 12
    assert all(buffer.shape == (1000,) and buffer.dtype == torch.float32 for buffer in buffers.values())
    assert buffers["alphas_cumprod"][-1].item() == pytest.approx(0.0046600, abs=1e-6)
    assert buffers["alphas_cumprod_prev"][0] == 1
    assert buffers["posterior_log_variance_clipped"][0].item() == pytest.approx(-46.0517, abs=1e-3)
    assert torch.allclose(buffers["sqrt_recip_alphas_cumprod"] ** 2 - 1, buffers["sqrt_recipm1_alphas_cumprod"] ** 2, rtol=1e-4)


def test_t5s_embeddings_are_written_under_both_names():
    """The published file has both, and safetensors can't store one tensor under two names."""
    weight = torch.ones(3, 2)
    tensors = t5_tensors({"shared.weight": weight, "encoder.embed_tokens.weight": weight})
    assert tensors["shared.weight"].data_ptr() != tensors["encoder.embed_tokens.weight"].data_ptr()

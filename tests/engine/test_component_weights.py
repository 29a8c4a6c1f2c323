"""Components are loaded from their folders, from other models and from GGUF files (engine/component_weights.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.component_weights import ComponentWeights, stored_dtype, weights_of
from onetrainer_gradio.engine.families.flux_1 import FLUX_1_DEV
from onetrainer_gradio.engine.hub import Hub
from onetrainer_gradio.engine.quantization import quantized_kind, weight_of
from onetrainer_gradio.errors import ModelFormatError, ModelNotFoundError


def configured(**changes) -> TrainConfig:
    return TrainConfig.model_validate(
        {"model_type": "FLUX_DEV_1", "train_device": "cpu", "train_dtype": "FLOAT_32", "offline_mode": True, **changes}
    )


def weights(name: str, **changes) -> ComponentWeights:
    return weights_of(configured(**changes), FLUX_1_DEV.components)[name]


@pytest.fixture(scope="module")
def transformer() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        in_channels=32,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory, transformer) -> Path:
    """Return the part of a base model that these components need."""
    folder = tmp_path_factory.mktemp("base")
    transformer.to(torch.bfloat16).save_pretrained(folder / "transformer")
    transformer.float()
    AutoencoderKL(block_out_channels=(32,), norm_num_groups=8).save_pretrained(folder / "vae")
    torch.manual_seed(0)
    sizes = {"vocab_size": 8, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 1}
    T5EncoderModel(T5Config(**sizes)).save_pretrained(folder / "text_encoder_2")
    return folder


HUB = Hub(None, True, None)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_component_is_loaded_in_its_data_type(base):
    """Float weights have the configured type; a quantized component has 8-bit layers and the rest in the train data type."""
    half = weights("transformer", transformer={"weight_dtype": "BFLOAT_16"}).from_folder(base / "transformer")
    assert {one.dtype for one in half.parameters()} == {torch.bfloat16}
    small = weights("transformer", transformer={"weight_dtype": "FLOAT_8"}).from_folder(base / "transformer")
    linear, norm = small.transformer_blocks[0].attn.to_q, small.transformer_blocks[0].attn.norm_q
    assert quantized_kind(linear)
    assert norm.weight.dtype == torch.float32
    assert (weight_of(linear) - half.transformer_blocks[0].attn.to_q.weight).abs().max() < 0.02
    chosen = {"transformer": {"weight_dtype": "FLOAT_8"}, "quantization": {"layer_filter": "single_"}}
    partly = weights("transformer", **chosen).from_folder(base / "transformer")
    assert not quantized_kind(partly.transformer_blocks[0].attn.to_q)
    assert quantized_kind(partly.single_transformer_blocks[0].attn.to_q)
    pattern = {"quantization": {"layer_filter": "^single_.*to_[qk]$", "layer_filter_regex": True}}
    fewer = weights("transformer", **chosen | pattern).from_folder(base / "transformer").single_transformer_blocks[0].attn
    assert [bool(quantized_kind(layer)) for layer in (fewer.to_q, fewer.to_k, fewer.to_v)] == [True, True, False]


@pytest.mark.slow
def test_t5_computes_in_the_fallback_data_type(base):
    """With float16 training, this includes its projections that transformers keeps in float32."""
    settings = {"train_dtype": "FLOAT_16", "fallback_train_dtype": "BFLOAT_16"}
    one = weights("text_encoder_2", **settings, text_encoder_2={"weight_dtype": "FLOAT_16"})
    assert one.compute_dtype == torch.bfloat16
    feed = one.from_folder(base / "text_encoder_2").encoder.block[0].layer[1].DenseReluDense
    assert (feed.wi.weight.dtype, feed.wo.weight.dtype) == (torch.float16, torch.bfloat16)
    assert weights("text_encoder_2").compute_dtype == torch.float32


@pytest.mark.slow
def test_the_stored_data_type_is_found(base, tmp_path):
    """Weights to quantize aren't converted to float32; mixed data types are read as float32."""
    assert stored_dtype(base / "transformer") == torch.bfloat16
    assert stored_dtype(base / "vae") == torch.float32
    save_file({"a": torch.ones(1).half(), "b": torch.ones(1)}, tmp_path / "model.safetensors")
    assert stored_dtype(tmp_path) == torch.float32
    (tmp_path / "model.safetensors").unlink()
    assert stored_dtype(tmp_path) == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_vae_comes_from_another_model(base, tmp_path, kind):
    """The source is a repository's folder, or a single file with the configuration of the base model."""
    torch.manual_seed(7)
    other = AutoencoderKL(block_out_channels=(32,), norm_num_groups=8)
    place = tmp_path / "vae"
    if kind == "folder":
        other.save_pretrained(place)
    else:
        place = tmp_path / "vae.safetensors"
        save_file(other.state_dict(), place)
    module, identity = weights("vae", vae={"model_name": str(place)}).replaced(HUB, base / "vae")
    assert torch.equal(module.encoder.conv_in.weight, other.encoder.conv_in.weight)
    assert any(str(place.resolve()) in path for path, _, _ in identity)


@pytest.mark.slow
def test_a_replacement_that_is_none_is_named(base, tmp_path):
    """The error names the component's setting, not the base model's."""
    with pytest.raises(ModelNotFoundError) as missing:
        weights("vae", vae={"model_name": str(tmp_path / "missing.safetensors")}).replaced(HUB, base / "vae")
    assert missing.value.path == "vae.model_name"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelNotFoundError, match="no weights"):
        weights("vae", vae={"model_name": str(empty)}).replaced(HUB, base / "vae")
    wrong = tmp_path / "wrong.safetensors"
    save_file({"something": torch.ones(2)}, wrong)
    with pytest.raises(ModelFormatError) as unusable:
        weights("vae", vae={"model_name": str(wrong)}).replaced(HUB, base / "vae")
    assert unusable.value.path == "vae.model_name"


def test_only_what_can_be_replaced_is(base):
    """CLIP can't be replaced, and nothing can when a run resumes: its backup contains all components."""
    name = {"model_name": "another"}
    assert weights("text_encoder", text_encoder=name).replacement == ""
    assert weights("vae", vae=name).replacement == "another"
    assert weights_of(configured(vae=name), FLUX_1_DEV.components, replaceable=False)["vae"].replacement == ""


@pytest.mark.slow
def test_a_transformer_comes_from_a_single_file(base, tmp_path, transformer):
    """diffusers converts original names only at the published size, so this file has diffusers names."""
    file = tmp_path / "flux.safetensors"
    save_file(transformer.state_dict(), file)
    one = weights("transformer", transformer={"model_name": str(file), "weight_dtype": "FLOAT_32"})
    module, _ = one.replaced(HUB, base / "transformer")
    state = transformer.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


@pytest.mark.slow
def test_a_gguf_file_stays_quantized(base, tmp_path, transformer):
    """It computes in bfloat16; its layers are Linears with a readable weight."""
    gguf = pytest.importorskip("gguf", reason="gguf isn't installed")
    file = tmp_path / "flux.gguf"
    writer = gguf.GGUFWriter(str(file), "flux")
    for name, tensor in transformer.state_dict().items():
        array = tensor.float().numpy()
        kind = gguf.GGMLQuantizationType.Q8_0 if array.ndim == 2 and array.shape[1] % 32 == 0 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    settings = {"train_dtype": "BFLOAT_16", "transformer": {"model_name": str(file), "weight_dtype": "GGUF"}}
    module, _ = weights("transformer", **settings).replaced(HUB, base / "transformer")
    linear = module.single_transformer_blocks[0].proj_mlp
    assert quantized_kind(linear) == "gguf"
    expected = transformer.single_transformer_blocks[0].proj_mlp
    assert weight_of(linear).shape == expected.weight.shape
    assert (weight_of(linear) - expected.weight).abs().max() < 0.01
    x = torch.randn(3, 32, dtype=torch.bfloat16)
    torch.testing.assert_close(linear(x).float(), expected(x.float()), rtol=0.1, atol=0.05)
    assert module.single_transformer_blocks[0].attn.norm_q.weight.dtype == torch.bfloat16

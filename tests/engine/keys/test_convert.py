"""LoRA files are converted between all formats and recognized."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from onetrainer_gradio.cli import LORA_FORMATS as WORDS
from onetrainer_gradio.engine.keys import keys_of
from onetrainer_gradio.engine.keys.adapters import DOWN, UP
from onetrainer_gradio.engine.keys.convert import convert_lora
from onetrainer_gradio.engine.keys.lora_files import LORA_FORMATS, write_adapter
from onetrainer_gradio.errors import ModelFormatError, OutputExistsError, UnsupportedError
from onetrainer_gradio.server import main
from tests.engine.keys.published import adapter


def file_of(folder: Path, model_type: str, *components: str) -> Path:
    """Return a file in the format KOHYA with a header."""
    source = folder / "lora.safetensors"
    tensors = write_adapter(adapter(model_type, *components), "KOHYA_LORA", keys_of(model_type))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, source, {"modelspec.title": "mine"})
    return source


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "component"),
    [
        ("STABLE_DIFFUSION_15", "unet"),
        pytest.param("STABLE_DIFFUSION_XL_10_BASE", "unet", marks=pytest.mark.slow),
        pytest.param("FLUX_DEV_1", "transformer", marks=pytest.mark.slow),
    ],
)
def test_every_format_leads_back_to_the_first(model_type, component, tmp_path):
    """The type is recognized, the header is kept, and the final tensors are the same."""
    source = file_of(tmp_path, model_type, component)
    for model_format in ("ORIGINAL_LORA", "COMFY_LORA", "LEGACY_LORA", "INTERNAL", "KOHYA_LORA"):
        target = tmp_path / f"{model_format}.safetensors"
        done = convert_lora(source, target, model_format)
        assert done.model_type == model_type
        assert done.warning == ""
        source = target
    first, last = load_file(tmp_path / "lora.safetensors"), load_file(source)
    assert first.keys() == last.keys()
    assert all(torch.equal(first[name], last[name]) for name in first)
    with safe_open(source, "pt") as opened:
        header = opened.metadata()
    assert header["modelspec.title"] == "mine"
    assert header["modelspec.hash_sha256"].startswith("0x")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "model_type"), [(768, "STABLE_DIFFUSION_15"), (1024, "STABLE_DIFFUSION_20")])
def test_the_width_of_the_text_encoder_shows_the_version(width, model_type, tmp_path):
    """The layers of SD1 and SD2 have the same names, but ComfyUI uses different names for their text encoders."""
    module = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    save_file({f"{module}.{DOWN}": torch.ones(2, width), f"{module}.{UP}": torch.ones(width, 2)}, tmp_path / "a.safetensors")
    done = convert_lora(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "COMFY_LORA")
    assert done.model_type == model_type
    name = "clip_l" if width == 768 else "clip_h"
    assert f"text_encoders.{name}.transformer.text_model.encoder.layers.0.self_attn.q_proj.alpha" in load_file(
        tmp_path / "b.safetensors"
    )


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_backup_is_converted(tmp_path):
    """Its LoRA is in a folder."""
    (tmp_path / "backup" / "lora").mkdir(parents=True)
    save_file(adapter("FLUX_DEV_1", "transformer"), tmp_path / "backup" / "lora" / "lora.safetensors")
    assert convert_lora(tmp_path / "backup", tmp_path / "b.safetensors", "DIFFUSERS_LORA").tensors == 504 * 2


@pytest.mark.slow
def test_what_isnt_possible_is_an_error(tmp_path):
    """Nothing is replaced or guessed."""
    source = file_of(tmp_path, "STABLE_DIFFUSION_15", "unet")
    with pytest.raises(OutputExistsError):
        convert_lora(source, source, "COMFY_LORA")
    with pytest.raises(UnsupportedError, match="Qwen"):
        convert_lora(source, tmp_path / "b.safetensors", "COMFY_LORA", "QWEN")
    with pytest.raises(ModelFormatError, match="doesn't fit"):
        convert_lora(source, tmp_path / "b.safetensors", "COMFY_LORA", "FLUX_DEV_1")
    save_file({"lora_unet_somewhere.lora_down.weight": torch.ones(1, 1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelFormatError, match="no model type"):
        convert_lora(tmp_path / "other.safetensors", tmp_path / "b.safetensors", "COMFY_LORA")
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.slow
def test_the_command_converts_and_prints_what_it_was(tmp_path, capsys):
    """``onetrainer-gradio convert``."""
    source, target = file_of(tmp_path, "FLUX_DEV_1", "transformer"), tmp_path / "b.safetensors"
    assert main(["convert", str(source), str(target), "--format", "comfy"]) == 0
    assert "a LoRA for Flux Dev.1, 942 tensors" in capsys.readouterr().out
    assert "diffusion_model.img_in.lora_A.weight" in load_file(target)
    assert main(["convert", str(source), str(target), "--format", "kohya"]) == 1
    assert "already exists" in capsys.readouterr().err
    assert main(["convert", str(source), str(target), "--format", "kohya", "--overwrite"]) == 0
    assert load_file(target).keys() == load_file(source).keys()


def test_the_command_has_a_word_for_every_format():
    """The command line has the formats without importing them."""
    assert sorted(WORDS) == sorted(name.value.removesuffix("_LORA").lower() for name in LORA_FORMATS)


@pytest.mark.slow
def test_a_data_type_is_applied_to_every_tensor(tmp_path):
    """It works as for a run's result, whatever a backup's data type."""
    source = file_of(tmp_path, "STABLE_DIFFUSION_15", "unet")
    convert_lora(source, tmp_path / "b.safetensors", "COMFY_LORA", dtype="BFLOAT_16")
    assert {tensor.dtype for tensor in load_file(tmp_path / "b.safetensors").values()} == {torch.bfloat16}

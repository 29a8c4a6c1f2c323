"""LoRA: which layers are adapted, what the files contain, and that they give the same image as during training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest

from onetrainer_gradio.errors import BackupMismatchError, ConfigValueError, ModelFormatError, ModelNotFoundError
from onetrainer_gradio.events import SampleGenerated
from tests.engine.conftest import GOLDEN

pytestmark = pytest.mark.slow

SAMPLE = {"prompt": "a red cross", "width": 64, "height": 64, "seed": 3, "diffusion_steps": 4, "noise_scheduler": "DDIM"}


def tensors(path):
    from safetensors.torch import load_file

    return load_file(path)


def header(path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.parametrize(
    ("model_format", "per_layer", "examples"),
    [
        (
            "KOHYA_LORA",
            3,
            {
                "lora_unet_conv_in.lora_down.weight": (4, 4, 3, 3),
                "lora_unet_conv_in.lora_up.weight": (32, 4, 1, 1),
                "lora_unet_conv_in.alpha": (),
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight": (4, 32),
                "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": (128, 4),
            },
        ),
        (
            "DIFFUSERS_LORA",
            2,
            {
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight": (4, 32),
                "unet.conv_in.lora_B.weight": (32, 4, 1, 1),
                "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_B.weight": (128, 4),
            },
        ),
    ],
)
def test_files_have_onetrainers_names_and_shapes(configured, train, recorded_tensors, model_format, per_layer, examples):
    """Every Linear and Conv2d of UNet and text encoder is included; LEGACY_LORA equals KOHYA_LORA."""
    config = configured(layer_filter="", text_encoder__train=True, output_model_format=model_format)
    train(config, max_steps=1)
    saved = tensors(config.output_model_destination)
    # 83 layers of the UNet, 12 of the text encoder
    assert len(saved) == (83 + 12) * per_layer
    for name, shape in examples.items():
        assert tuple(saved[name].shape) == shape
    if model_format == "KOHYA_LORA":
        legacy = config.model_copy(update={"output_model_format": "LEGACY_LORA"})
        train(legacy, max_steps=1)
        assert tensors(legacy.output_model_destination).keys() == saved.keys()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("filter_", "regex", "count"), [("attentions", False, 48), ("attn1, ff.net", False, 24), ("attn[12].to_[qk]$", True, 16)]
)
def test_the_layer_filter_chooses_layers(configured, train, filter_, regex, count):
    """It consists of parts of names, or regular expressions, separated by commas."""
    config = configured(layer_filter=filter_, layer_filter_regex=regex)
    train(config, max_steps=1)
    assert len(tensors(config.output_model_destination)) == count * 3


@pytest.mark.parametrize(
    ("filter_", "regex", "message"), [("attn,nonsense", False, "nonsense"), ("(", True, "regular expression")]
)
def test_a_filter_that_matches_nothing_is_rejected(configured, train, filter_, regex, message):
    """A misspelled pattern is an error instead of training less than intended."""
    with pytest.raises(ConfigValueError, match=message):
        train(configured(layer_filter=filter_, layer_filter_regex=regex))


@pytest.mark.exhaustive
@pytest.mark.parametrize("model_format", ["KOHYA_LORA", "DIFFUSERS_LORA"])
def test_the_file_gives_the_image_that_the_training_showed(configured, train, tmp_path, model_format):
    """diffusers' own pipeline with ``load_lora_weights`` generates the run's last sample."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from PIL import Image

    from onetrainer_gradio.commands import SampleCustom
    from tests.engine.recording import FakeControl, Recorder, after_step

    config = configured(
        layer_filter="",
        text_encoder__train=True,
        lora_alpha=2.0,
        learning_rate=0.05,
        sample_image_format="PNG",
        output_model_format=model_format,
    )
    recorder, control = Recorder(), FakeControl()
    before = SampleCustom(params=SAMPLE)
    control.give(before)
    after_step(recorder, control, 6, SampleCustom(params=SAMPLE))
    train(config, recorder, control)
    untrained, shown = (numpy.asarray(Image.open(made.path)).astype(int) for made in recorder.of(SampleGenerated))
    assert abs(shown - untrained).max() > 30

    pipeline = StableDiffusionPipeline.from_pretrained(GOLDEN / "model", safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False, set_alpha_to_one=False)
    path = Path(config.output_model_destination)
    pipeline.load_lora_weights(path.parent, weight_name=path.name)

    def generate():
        generator = torch.Generator().manual_seed(3)
        latents = torch.randn((1, 4, 8, 8), generator=generator)
        return pipeline("a red cross", negative_prompt="", num_inference_steps=4, guidance_scale=7.0, latents=latents).images[0]

    again = numpy.asarray(generate()).astype(int)
    assert abs(again - shown).max() <= 2


@pytest.mark.exhaustive
def test_the_header_shows_what_the_file_is(configured, train):
    """It has the model specification, the hash, and the settings if requested; the file's mode follows the umask."""
    config = configured(include_train_config="ALL")
    train(config, max_steps=1)
    metadata = header(config.output_model_destination)
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert metadata["modelspec.title"] == "Stable Diffusion 1.5 LoRA"
    assert metadata["modelspec.hash_sha256"].startswith("0x")
    assert json.loads(metadata["ot_config"])["concepts"][0]["name"] == "tiny"
    record = json.loads(metadata["onetrainer_gradio_training"])
    assert (record["model_type"], record["global_step"], record["images"]) == ("STABLE_DIFFUSION_15", 1, 6)
    assert record["smooth_loss"] > 0
    assert "torch" in record["versions"]
    assert "/" not in record["base_model"]
    assert Path(config.output_model_destination).stat().st_mode & 0o044
    train(config.model_copy(update={"include_train_config": "NONE"}), max_steps=1)
    assert "ot_config" not in header(config.output_model_destination)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("dtype", "name"), [("FLOAT_16", "float16"), ("BFLOAT_16", "bfloat16"), ("FLOAT_32", "float32")])
def test_the_file_has_the_output_precision(configured, train, dtype, name):
    """``output_dtype`` applies to every tensor."""
    config = configured(output_dtype=dtype)
    train(config, max_steps=1)
    assert {str(tensor.dtype) for tensor in tensors(config.output_model_destination).values()} == {f"torch.{name}"}


@pytest.mark.exhaustive
@pytest.mark.parametrize("model_format", ["KOHYA_LORA", "DIFFUSERS_LORA"])
def test_training_continues_from_a_file(configured, train, plain, tmp_path, model_format):
    """``lora_model_name`` accepts any of the formats: the run starts with the trained adapter."""
    config = configured(output_model_format=model_format, learning_rate=0.01, lora_alpha=2.0)
    train(config)
    start = {"lora_model_name": config.output_model_destination, "output_model_destination": str(tmp_path / "again.safetensors")}
    _, again = train(config.model_copy(update={**start, "learning_rate": 1e-12}), max_steps=3)
    assert again.losses[0] != plain.losses[0]  # a new adapter has no effect yet
    one, other = tensors(config.output_model_destination), tensors(tmp_path / "again.safetensors")
    assert all(numpy.allclose(one[name], other[name], atol=1e-6) for name in one)


@pytest.mark.exhaustive
def test_a_file_that_does_not_fit_is_rejected(configured, train, tmp_path):
    """Each of a missing file, another model's file, and one with another rank is named."""
    import torch
    from safetensors.torch import save_file

    with pytest.raises(ModelNotFoundError, match="nowhere"):
        train(configured(lora_model_name=str(tmp_path / "nowhere.safetensors")))
    foreign = tmp_path / "foreign.safetensors"
    save_file({"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": torch.zeros(4, 8)}, foreign)
    with pytest.raises(ModelFormatError, match="input_blocks_4_1"):
        train(configured(lora_model_name=str(foreign)))
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    with pytest.raises(ModelFormatError, match="is a text file, not a model"):
        train(configured(lora_model_name=str(text)))
    config = configured()
    train(config, max_steps=1)
    with pytest.raises(BackupMismatchError, match="rank 4"):
        train(configured(lora_model_name=config.output_model_destination, lora_rank=8))


@pytest.mark.exhaustive
def test_adapter_dropout_depends_on_the_step_alone(configured, train):
    """Dropout changes the losses, in the same way each time."""
    config = configured(dropout_probability=0.5, learning_rate=0.01)
    _, one = train(config)
    _, two = train(config)
    _, without = train(config.model_copy(update={"dropout_probability": 0.0}))
    assert one.losses == two.losses
    assert one.losses != without.losses

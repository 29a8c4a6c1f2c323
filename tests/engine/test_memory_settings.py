"""Complete runs with the settings for memory and precision."""

from __future__ import annotations

import shutil

import pytest

from onetrainer_gradio.events import SampleGenerated
from tests.engine.conftest import GOLDEN

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


@pytest.mark.parametrize("dtype", ["FLOAT_8", "NFLOAT_4"])
def test_a_lora_is_trained_over_quantized_weights(configured, train, plain, dtype):
    """The losses are close to those of full-precision weights."""
    if dtype == "NFLOAT_4":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes isn't installed")
    outcome, recorder = train(configured(unet__weight_dtype=dtype, text_encoder__weight_dtype=dtype))
    assert outcome == "completed"
    assert recorder.losses != plain.losses
    assert recorder.losses == pytest.approx(plain.losses, rel=0.1)


def test_a_vae_from_another_folder_is_used(configured, train, plain, tmp_path):
    """The same weights in another folder give the same losses."""
    shutil.copytree(GOLDEN / "model" / "vae", tmp_path / "vae")
    _, recorder = train(configured(vae__model_name=str(tmp_path / "vae")))
    assert recorder.losses == plain.losses


def test_gradient_checkpointing_changes_no_loss(configured, train, plain):
    """This covers the UNet and the trained text encoder."""
    both = {"text_encoder__train": True, "text_encoder__learning_rate": 1e-4}
    _, expected = train(configured(**both, unet__gradient_checkpointing=False, text_encoder__gradient_checkpointing=False))
    _, recorder = train(configured(**both, unet__gradient_checkpointing=True, text_encoder__gradient_checkpointing=True))
    assert recorder.losses == expected.losses


def test_everything_in_bfloat16_is_trained_without_autocast(configured, train, plain, tmp_path):
    """Weights, computation and text encoder have one data type."""
    half = {f"{part}__weight_dtype": "BFLOAT_16" for part in ("unet", "text_encoder", "vae")}
    config = configured(
        training_method="FINE_TUNE",
        train_dtype="BFLOAT_16",
        output_model_format="DIFFUSERS",
        output_model_destination=str(tmp_path / "model"),
        optimizer__stochastic_rounding=False,
        layer_filter="attn2",
        samples=[{"prompt": "x", "width": 32, "height": 32, "diffusion_steps": 2, "noise_scheduler": "DDIM"}],
        sample_after=1,
        sample_after_unit="EPOCH",
        **half,
    )
    outcome, recorder = train(config)
    assert outcome == "completed"
    assert recorder.of(SampleGenerated)
    assert recorder.losses[0] == pytest.approx(plain.losses[0], rel=0.05)


def test_circular_padding_changes_the_losses(configured, train, plain):
    """The images are encoded again, because the VAE wraps around, too."""
    _, recorder = train(configured(force_circular_padding=True))
    assert recorder.losses[0] != plain.losses[0]
    assert recorder.losses == pytest.approx(plain.losses, rel=0.5)

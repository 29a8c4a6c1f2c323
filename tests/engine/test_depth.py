"""The depth model has an additional channel with the image's depth, in training and in samples (engine/depth.py)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from onetrainer_gradio.engine import depth
from onetrainer_gradio.events import SampleGenerated
from tests.engine.conftest import GOLDEN

SAMPLE = {"prompt": "a red cross", "width": 64, "height": 64, "diffusion_steps": 2, "noise_scheduler": "DDIM", "seed": 3}


def test_depth_is_scaled_to_both_ends():
    """The smallest value becomes -1, the largest 1; a constant depth has no range."""
    found = depth.scaled(torch.tensor([1.0, 2.0, 3.0, 2.0]).view(1, 1, 2, 2))
    assert found.flatten().tolist() == [-1.0, 0.0, 1.0, 0.0]
    assert depth.scaled(torch.full((1, 1, 2, 2), 5.0)).abs().max() == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The tiny model with one more channel, and a tiny depth estimator."""
    from diffusers import UNet2DConditionModel
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    folder = tmp_path_factory.mktemp("depth") / "model"
    shutil.copytree(GOLDEN / "model", folder)
    folder.chmod(0o755)
    settings = json.loads((folder / "unet" / "config.json").read_text())
    torch.manual_seed(1)
    shutil.rmtree(folder / "unet")
    UNet2DConditionModel.from_config({**settings, "in_channels": 5}).save_pretrained(folder / "unet")
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        is_hybrid=False,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        reassemble_factors=[4, 2, 1, 0.5],
        use_auxiliary_head=False,
    )
    DPTForDepthEstimation(config).save_pretrained(folder / "depth_estimator")
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "feature_extractor")
    return folder


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_depth_model_trains_samples_and_loads_again(configured, train, model, tmp_path):
    """Its result is a folder that can be trained further; the images' depth was cached with their latents."""
    config = configured(
        base_model_name=str(model),
        model_type="STABLE_DIFFUSION_20_DEPTH",
        training_method="FINE_TUNE",
        output_model_format="DIFFUSERS",
        output_model_destination=str(tmp_path / "trained"),
        samples=[SAMPLE],
        sample_after=1,
        sample_after_unit="EPOCH",
        epochs=1,
    )
    outcome, recorder = train(config)
    assert outcome == "completed"
    assert len(recorder.losses) == 3
    assert recorder.of(SampleGenerated)
    again = config.model_copy(
        update={"base_model_name": str(tmp_path / "trained"), "output_model_destination": str(tmp_path / "b")}
    )
    _, further = train(again)
    assert further.losses[0] != recorder.losses[0]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_vae_of_a_depth_model_is_trained_without_depth(configured, train, model, tmp_path):
    """Only the decoder changes; a sample is a training image."""
    config = configured(
        base_model_name=str(model),
        model_type="STABLE_DIFFUSION_20_DEPTH",
        training_method="FINE_TUNE_VAE",
        output_model_format="DIFFUSERS",
        output_model_destination=str(tmp_path / "trained"),
        samples=[SAMPLE],
        sample_after=1,
        sample_after_unit="EPOCH",
        epochs=1,
    )
    _, recorder = train(config)
    assert recorder.of(SampleGenerated)
    for file in model.glob("*/*.safetensors"):
        before, after = load_file(file), load_file(tmp_path / "trained" / file.parent.name / file.name)
        changed = {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
        assert changed == ({"decoder"} if file.parent.name == "vae" else set()), file

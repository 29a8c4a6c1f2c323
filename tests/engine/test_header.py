"""The header of a saved file names the model type and describes the training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.engine.data.images import TrainingImage
from onetrainer_gradio.engine.header import RECORD_KEY, header_of, training_record
from onetrainer_gradio.engine.keys import keys_of
from onetrainer_gradio.engine.state import TrainState

pytestmark = pytest.mark.slow

SPECIFICATIONS = {
    "STABLE_DIFFUSION_15": ("stable-diffusion-v1", "Stable Diffusion 1.5", "CompVis/stable-diffusion"),
    "STABLE_DIFFUSION_15_INPAINTING": (
        "stable-diffusion-v1-inpainting",
        "Stable Diffusion 1.5 Inpainting",
        "CompVis/stable-diffusion",
    ),
    "STABLE_DIFFUSION_20_BASE": ("stable-diffusion-v2", "Stable Diffusion 2.0", "Stability-AI/StableDiffusion"),
    "STABLE_DIFFUSION_20_DEPTH": ("stable-diffusion-v2-depth", "Stable Diffusion 2.0 Depth", "Stability-AI/StableDiffusion"),
    "STABLE_DIFFUSION_21": ("stable-diffusion-v2", "Stable Diffusion 2.1", "Stability-AI/StableDiffusion"),
    "STABLE_DIFFUSION_XL_10_BASE": (
        "stable-diffusion-xl-v1-base",
        "Stable Diffusion XL 1.0 Base",
        "Stability-AI/generative-models",
    ),
    "STABLE_DIFFUSION_3": ("stable-diffusion-v3-medium", "Stable Diffusion 3 Medium", "huggingface/diffusers"),
    "STABLE_DIFFUSION_35": ("stable-diffusion-v3.5", "Stable Diffusion 3.5", "huggingface/diffusers"),
    "FLUX_DEV_1": ("Flux.1-dev", "FluxDev 1.0", "huggingface/diffusers"),
}
"""OneTrainer's entries of the model specification: architecture, title, implementation."""

IMAGES = [TrainingImage(n, 0, Path(f"/home/me/{n}.png"), (8, 8), ("", 0, 0), (f"image {n}",)) for n in range(3)]


def header(model_type: str, method: str, **settings) -> dict[str, str]:
    config = from_document({"model_type": model_type, "training_method": method, **settings})[0]
    record = training_record(config, TrainState(global_step=7, epoch=1, smooth_loss=0.25), IMAGES)
    return header_of(config, keys_of(model_type), record)({"a": torch.ones(2)})


@pytest.mark.parametrize("model_type", SPECIFICATIONS)
def test_a_model_is_called_what_onetrainer_calls_it(model_type):
    """Full models have the name of their original program, adapters and embeddings
    an added suffix: the specification's for embeddings.
    """
    architecture, title, implementation = SPECIFICATIONS[model_type]
    for method, end, word in (
        ("FINE_TUNE", "", ""),
        ("LORA", "/lora", " LoRA"),
        ("EMBEDDING", "/textual-inversion", " Embedding"),
    ):
        found = header(model_type, method)
        assert found["modelspec.architecture"] == architecture + end
        assert found["modelspec.title"] == title + word
        program = "huggingface/diffusers" if end else implementation
        assert found["modelspec.implementation"].endswith(program)


def test_web_interfaces_recognize_the_version():
    """A1111 reads kohya's entries."""
    assert header("STABLE_DIFFUSION_XL_10_BASE", "LORA")["ss_base_model_version"] == "sdxl_"
    assert header("STABLE_DIFFUSION_21", "LORA")["ss_v2"] == "True"
    assert not any(key.startswith("ss_") for key in header("STABLE_DIFFUSION_15", "LORA"))


def test_the_record_reports_how_it_was_trained_without_private_names():
    """It contains steps, loss, versions and hashes; of a path, only its last part."""
    found = header("FLUX_DEV_1", "LORA", base_model_name="/home/me/models/mine.safetensors")
    record = json.loads(found[RECORD_KEY])
    assert (record["global_step"], record["epoch"], record["smooth_loss"], record["images"]) == (7, 1, 0.25, 3)
    assert record["base_model"] == "mine.safetensors"
    assert "/home/me" not in found[RECORD_KEY]
    assert "image 1" not in found[RECORD_KEY]
    assert json.loads(header("FLUX_DEV_1", "LORA", base_model_name="owner/name")[RECORD_KEY])["base_model"] == "owner/name"


def test_the_hash_of_the_data_follows_captions_but_not_folders():
    """The same images elsewhere are the same data."""
    config, state = from_document({})[0], TrainState()

    def data(images):
        return training_record(config, state, images)()["data_sha256"]

    moved = [replace(image, path=Path("/elsewhere") / image.path.name) for image in reversed(IMAGES)]
    assert data(moved) == data(IMAGES)
    assert data([*IMAGES[1:], replace(IMAGES[0], captions=("another",))]) != data(IMAGES)

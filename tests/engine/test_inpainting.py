"""Inpainting models have the mask and the surrounding image as additional channels (engine/inpainting.py)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from onetrainer_gradio.config import RunOptions, SampleConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.engine import inpainting
from onetrainer_gradio.engine.families import flux_1
from onetrainer_gradio.events import SampleGenerated
from tests.engine.recording import FakeControl, Recorder
from tests.golden.cases import Case, write_data

MODEL = SimpleNamespace(device=torch.device("cpu"), dtype=torch.float32, normalized=lambda latents: latents * 2)


def test_the_channels_are_noise_mask_and_image():
    """The order is as named; the image's latents are normalized, the mask is not."""
    batch = {"mask": torch.full((1, 1, 2, 2), 0.5), "conditioning_latents": torch.full((1, 4, 2, 2), 3.0)}
    inputs = inpainting.with_channels(torch.zeros(1, 4, 2, 2), inpainting.channels(MODEL, batch))
    assert inputs[0, :, 0, 0].tolist() == [0, 0, 0, 0, 0.5, 6, 6, 6, 6]


def test_other_models_get_the_noised_latents_only():
    """Nothing is added without a conditioning image."""
    noised = torch.zeros(1, 4, 2, 2)
    assert inpainting.with_channels(noised, inpainting.channels(MODEL, {"mask": torch.ones(1, 1, 2, 2)})) is noised


def test_without_an_image_a_sample_starts_from_an_empty_canvas():
    """The whole image is generated, on gray."""
    canvas = inpainting.Canvas.of(SampleConfig(width=16, height=8))
    assert canvas.image.shape == (1, 3, 8, 16)
    assert canvas.mask.min() == 1
    assert canvas.around().abs().max() == 0


def test_the_image_around_the_mask_stays(tmp_path):
    """The masked area is gray in the conditioning image, slightly smaller than the mask at its edge; the rest is the image."""
    Image.new("RGB", (16, 16), (255, 255, 255)).save(tmp_path / "base.png")
    mask = Image.new("L", (16, 16), 0)
    mask.paste(255, (8, 0, 16, 16))
    mask.save(tmp_path / "mask.png")
    paths = {"base_image_path": str(tmp_path / "base.png"), "mask_image_path": str(tmp_path / "mask.png")}
    canvas = inpainting.Canvas.of(SampleConfig(width=16, height=16, sample_inpainting=True, **paths))
    assert canvas.mask[0, 0, 0].tolist() == [0.0] * 8 + [1.0] * 8
    around = canvas.around()[0, 0, 8]
    assert around[:8].tolist() == [1.0] * 8
    assert around[10:].abs().max() == 0


def test_the_pixels_of_a_mask_are_channels_of_flux_fill():
    """Channel 8 · row + column is the pixel of this row and column in each square of 8 x 8 pixels."""
    mask = torch.arange(16.0 * 24).view(1, 1, 16, 24)
    channels = flux_1.mask_channels(mask)
    assert channels.shape == (1, 64, 2, 3)
    for row, column, down, right in [(0, 0, 0, 0), (3, 5, 1, 2), (7, 7, 0, 1), (1, 0, 1, 0)]:
        assert channels[0, 8 * row + column, down, right] == mask[0, 0, 8 * down + row, 8 * right + column]


def test_the_further_channels_of_flux_fill_are_image_and_mask():
    """This order is unlike that of Stable Diffusion."""
    batch = {"mask": torch.full((1, 1, 16, 16), 0.5), "conditioning_latents": torch.full((1, 16, 2, 2), 3.0)}
    found = flux_1.fill_channels(MODEL, batch)[inpainting.CHANNELS][0, :, 0, 0]
    assert found.tolist() == [6.0] * 16 + [0.5] * 64
    assert flux_1.fill_channels(MODEL, {"tokens": torch.zeros(1)}) == {}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_flux_fill_generates_samples_and_opens_in_diffusers(tmp_path):
    """Samples use a base image with a mask, or an empty canvas; the saved model is an inpainting pipeline."""
    from diffusers import DiffusionPipeline

    from onetrainer_gradio import engine
    from tests.models.tiny import write_model

    images = write_data(tmp_path / "images")
    model = write_model("FLUX_FILL_DEV_1", tmp_path / "model")
    sample = {"enabled": True, "prompt": "red", "height": 64, "width": 128, "diffusion_steps": 1}
    paths = {"base_image_path": str(images / "first" / "00.png"), "mask_image_path": str(images / "first" / "00-masklabel.png")}
    full = {"training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS", "transformer.train": True}
    wanted = {"sample_after": 1, "sample_after_unit": "EPOCH", "samples": [sample, sample | paths | {"sample_inpainting": True}]}
    document = Case("FLUX_FILL_DEV_1", "samples", full | wanted).document(model, images, tmp_path)
    recorder = Recorder()
    assert engine.run(from_document(document)[0], recorder, FakeControl(), RunOptions(max_steps=1)) == "completed"
    empty, painted = (Image.open(made.path) for made in recorder.of(SampleGenerated))
    assert empty.size == painted.size == (128, 64)
    assert empty.tobytes() != painted.tobytes()
    assert type(DiffusionPipeline.from_pretrained(document["output_model_destination"])).__name__ == "FluxFillPipeline"

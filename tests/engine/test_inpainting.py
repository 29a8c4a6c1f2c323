"""Inpainting models: the mask and the image around it as further channels (engine/inpainting.py)."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from PIL import Image

from onetrainer_gradio.config import SampleConfig
from onetrainer_gradio.engine import inpainting

MODEL = SimpleNamespace(device=torch.device("cpu"), dtype=torch.float32, normalized=lambda latents: latents * 2)


def test_the_channels_are_noise_mask_and_image():
    """In this order; the latents of the image are normalized, the mask is not."""
    batch = {"mask": torch.full((1, 1, 2, 2), 0.5), "conditioning_latents": torch.full((1, 4, 2, 2), 3.0)}
    inputs = inpainting.with_channels(torch.zeros(1, 4, 2, 2), inpainting.channels(MODEL, batch))
    assert inputs[0, :, 0, 0].tolist() == [0, 0, 0, 0, 0.5, 6, 6, 6, 6]


def test_other_models_get_the_noised_latents_only():
    """Nothing is added where there is no conditioning image."""
    noised = torch.zeros(1, 4, 2, 2)
    assert inpainting.with_channels(noised, inpainting.channels(MODEL, {"mask": torch.ones(1, 1, 2, 2)})) is noised


def test_without_an_image_a_sample_starts_from_an_empty_canvas():
    """All of it is painted, on gray."""
    canvas = inpainting.Canvas.of(SampleConfig(width=16, height=8))
    assert canvas.image.shape == (1, 3, 8, 16)
    assert canvas.mask.min() == 1
    assert canvas.around().abs().max() == 0


def test_the_image_around_the_mask_stays(tmp_path):
    """What is masked is gray in the conditioning image, a little less than the mask at its edge; all else is the image."""
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

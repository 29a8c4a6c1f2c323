"""Masks, conditioning images and prior prediction in the data of a run."""

from __future__ import annotations

import os

import pytest
import torch
from PIL import Image

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.engine.data.dataset import Collection, Dataset, Reports
from onetrainer_gradio.engine.data.seeds import Loader, StageSeeds
from tests.engine.data.test_dataset import Averages

pytestmark = pytest.mark.slow

INPAINTING = {"mask_input": True, "conditioning_input": True}


@pytest.fixture
def folder(tmp_path):
    """Create four images whose left half is masked; the last one has no mask, the first two have a conditioning image."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(4):
        image = Image.new("RGB", (48, 32), (0, 0, 60 * number))
        image.paste((255, 0, 0), (0, 0, 24, 32))
        image.save(images / f"{number}.png")
        (images / f"{number}.txt").write_text(f"caption {number}")
        if number < 3:
            mask = Image.new("L", (48, 32), 0)
            mask.paste(255, (0, 0, 24, 32))
            mask.save(images / f"{number}-masklabel.png")
        if number < 2:
            Image.new("RGB", (48, 32), (0, 255, 0)).save(images / f"{number}-condlabel.png")
    return images


def opened(folder, encoder=None, *, concepts=None, warnings=None, **changes):
    config = TrainConfig.model_validate(
        {
            "cache_dir": str(folder.parent / "cache"),
            "resolution": "48x32",
            "batch_size": 1,
            "concepts": concepts or [{"path": str(folder)}],
            **changes,
        }
    )
    encoder = encoder or Averages()
    facts = {"masked_training": config.masked_training, "custom_conditioning": config.custom_conditioning_image}
    encoder.takes = {**encoder.takes, **facts, "latent_caching": config.latent_caching}
    reports = Reports((warnings if warnings is not None else []).append, lambda done, total: None, lambda: None)
    collection = Collection.of(config, reports, validation=False)
    data = Dataset.open(config, encoder, reports, collection=collection, text_fixed=True, dtype=torch.float32, facts={})
    data.prepare(0)
    return data


def by_name(data, epoch=0):
    return {batch.images[0].stem: batch for batch in data.batches(epoch)}


def test_masks_have_the_size_of_the_latents(folder):
    """The masked half is 1, the other 0, with a smooth edge; an image without a mask is fully masked."""
    found = by_name(opened(folder, masked_training=True))
    assert found["0"].tensors["mask"].shape == (1, 1, 4, 6)
    assert found["0"].tensors["mask"][0, 0, 0].tolist() == pytest.approx([1, 1, 0.875, 0.125, 0, 0])
    assert found["3"].tensors["mask"].min() == 1
    assert "mask" not in by_name(opened(folder))["0"].tensors


def test_masks_are_flipped_with_their_images_but_not_recolored(folder):
    """After a flip, the masked half is on the right, where the image is red, regardless of brightness."""
    image = {"enable_fixed_flip": True, "enable_fixed_brightness": True, "random_brightness_max_strength": -0.5}
    batch = by_name(opened(folder, masked_training=True, concepts=[{"path": str(folder), "image": image}]))["0"]
    assert batch.tensors["mask"][0, 0, 0].tolist() == pytest.approx([0, 0, 0.125, 0.875, 1, 1])
    assert batch.tensors["latents"][0, 0, 0, 0].item() == 0
    assert batch.tensors["latents"][0, 0, 0, -1].item() == pytest.approx(0.5)


def test_a_changed_mask_encodes_its_image_again(folder):
    """A new mask counts too; without masked training, masks don't matter."""
    opened(folder, masked_training=True)
    Image.new("L", (48, 32), 255).save(folder / "0-masklabel.png")
    os.utime(folder / "0-masklabel.png", (1, 1))
    Image.new("L", (48, 32), 255).save(folder / "3-masklabel.png")
    encoder = Averages()
    opened(folder, encoder, masked_training=True)
    assert len(encoder.images) == 2
    opened(folder, Averages())
    (folder / "1-masklabel.png").unlink()
    encoder = Averages()
    opened(folder, encoder)
    assert not encoder.images


def test_an_image_whose_mask_is_broken_is_skipped(folder):
    """The warning names the mask; this holds with and without a cache."""
    (folder / "1-masklabel.png").write_bytes(b"broken")
    for cached in (True, False):
        warnings = []
        data = opened(folder, masked_training=True, warnings=warnings, latent_caching=cached)
        assert sorted(by_name(data)) == ["0", "2", "3"]
        assert "1-masklabel.png" in warnings[0].message


def test_inpainting_models_get_the_image_without_what_is_masked(folder):
    """The masked half is replaced by gray, or by the folder's conditioning image."""
    encoder = Averages(takes=INPAINTING)
    found = by_name(opened(folder, encoder, masked_training=True, unmasked_probability=0.0))
    assert found["2"].tensors["conditioning_latents"][0, :, 0, 0].tolist() == [0.5, 0.5, 0.5]
    assert found["2"].tensors["conditioning_latents"][0, :, 0, -1].tolist() == pytest.approx([0, 0, 120 / 255])
    custom = {"custom_conditioning_image": True, "unmasked_probability": 0.0}
    found = by_name(opened(folder, Averages(takes=INPAINTING), masked_training=True, **custom))
    assert found["1"].tensors["conditioning_latents"][0, :, 0, 0].tolist() == [0, 1, 0]
    assert found["2"].tensors["conditioning_latents"][0, :, 0, 0].tolist() == [0.5, 0.5, 0.5]


def test_the_mask_of_inpainting_models_is_removed_with_its_probability(folder):
    """In that case, the mask is full and the conditioning image gray, depending on the image's index in its epoch."""
    takes = {**INPAINTING, "masked_training": True}
    data = opened(folder, Averages(takes=INPAINTING), masked_training=True, unmasked_probability=0.5)
    seeds, removed = StageSeeds.of(Loader(**takes)), []
    for epoch in range(6):
        data.prepare(epoch)
        encoded = len(data.encoder.images)
        for batch in data.batches(epoch):
            number = int(batch.images[0].stem)
            expected = seeds.random("remove_mask", epoch, number).random() < 0.5
            conditioning = batch.tensors["conditioning_latents"][0]
            assert (conditioning.min() == conditioning.max() == 0.5) == (expected or number == 3)
            assert batch.tensors["mask"].min().item() == (expected or number == 3)
            removed.append(expected)
        assert len(data.encoder.images) == encoded
    assert 5 < sum(removed) < 20


def test_an_image_is_cropped_around_its_mask(folder):
    """The crop is smaller than the image; the size passed to the model is that of
    the crop, and a second start reads no mask for it.
    """
    concepts = [{"path": str(folder), "image": {"enable_random_mask_rotate_crop": True, "enable_crop_jitter": False}}]
    data = opened(folder, masked_training=True, resolution="16", concepts=concepts, aspect_ratio_bucketing=False)
    sizes = {name: tuple(batch.tensors["original_size"][0].tolist()) for name, batch in by_name(data).items()}
    assert sizes["3"] == (32, 48)
    assert all(height <= 32 and width < 48 for name, (height, width) in sizes.items() if name != "3")
    encoder = Averages()
    again = opened(folder, encoder, masked_training=True, resolution="16", concepts=concepts, aspect_ratio_bucketing=False)
    assert not encoder.images
    assert {name: tuple(batch.tensors["original_size"][0].tolist()) for name, batch in by_name(again).items()} == sizes


def test_a_circle_covers_a_part_of_the_mask(folder):
    """It is never larger than the mask; another variation has another circle."""
    concepts = [{"path": str(folder), "image": {"enable_random_circular_mask_shrink": True}, "image_variations": 3}]
    data = opened(folder, masked_training=True, concepts=concepts)
    covered = set()
    for epoch in range(3):
        data.prepare(epoch)
        mask = by_name(data, epoch)["0"].tensors["mask"]
        assert mask[..., 4:].max() == 0
        covered.add(mask.sum().item())
    assert len(covered) == 3
    assert max(covered) < 12


def test_batches_say_which_images_keep_the_models_output(folder):
    """These are the images of concepts with prior prediction."""
    (folder / "in").mkdir()
    Image.new("RGB", (48, 32)).save(folder / "in" / "9.png")
    concepts = [{"path": str(folder)}, {"path": str(folder / "in"), "type": "PRIOR_PREDICTION", "loss_weight": 0.5}]
    found = by_name(opened(folder, concepts=concepts))
    assert {name: batch.prior for name, batch in found.items() if batch.prior[0]} == {"9": (True,)}
    assert found["9"].loss_weight_B.tolist() == [0.5]

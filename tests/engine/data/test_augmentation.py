"""Augmented images, masks and conditioning images equal those of OneTrainer's loader.

``augmentation.safetensors`` was recorded by running its modules (3a6994a) on one image and mask:
float32 for image 3 in variation 1, bfloat16 for image 7 in variation 2.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from onetrainer_gradio.config.dataset.buckets import parse_resolution
from onetrainer_gradio.config.dataset.image_augmentation import ImageAugmentation, sample_image_augmentation
from onetrainer_gradio.config.declarations.concept import ConceptImageConfig
from onetrainer_gradio.engine.data import augmentation as ours
from onetrainer_gradio.engine.data.seeds import Loader, StageSeeds

RECORDED = Path(__file__).parent.parent.parent / "fixtures" / "augmentation.safetensors"
STRENGTHS = {
    "rotate_max_angle": 25,
    "brightness_max_strength": 0.3,
    "contrast_max_strength": 0.4,
    "saturation_max_strength": 0.5,
    "hue_max_strength": 0.6,
}
KINDS = ("rotate", "brightness", "contrast", "saturation", "hue")
SEEDS = StageSeeds.of(Loader())
MASKED = StageSeeds.of(Loader(masked_training=True))
ITEMS = [("f32", torch.float32, 1, 3), ("bf16", torch.bfloat16, 2, 7)]


@pytest.fixture(scope="module")
def recorded():
    return load_file(RECORDED)


def drawn(variation, index):
    image = ConceptImageConfig(
        enable_random_flip=True,
        **{f"enable_random_{kind}": True for kind in KINDS},
        **{f"random_{name}": value for name, value in STRENGTHS.items()},
    )
    resolution = parse_resolution("16, 24")
    return sample_image_augmentation((24, 32), image, resolution, 8, SEEDS.of_item(variation, index), bucketing=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype", "variation", "index"), ITEMS)
def test_an_image_and_its_mask_are_changed_as_recorded(recorded, name, dtype, variation, index):
    """This covers size, crop, flip, rotation and colors; the mask changes too, at the latents' resolution."""
    key, image, mask = f"{name}.{variation}.{index}.", recorded["image"].to(dtype) / 255, recorded["mask"].to(dtype) / 255
    augmentation = drawn(variation, index)
    moved, moved_mask = ours.moved(image, augmentation), ours.moved(mask, augmentation)
    torch.testing.assert_close(moved, recorded[key + "rotate.image"], rtol=0, atol=1e-6)
    torch.testing.assert_close(moved_mask, recorded[key + "mask"], rtol=0, atol=1e-6)
    colored = ours.recolored(moved, augmentation)
    torch.testing.assert_close(colored, recorded[key + "hue.image"], rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.scaled_mask(moved_mask, 0.125), recorded[key + "latent_mask"], rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.masked_out(colored, moved_mask), recorded[key + "conditioning"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "dtype", "variation", "index"), ITEMS)
def test_masks_are_shrunk_and_cropped_around_as_recorded(recorded, name, dtype, variation, index):
    """This covers a circle in the mask, a crop around it, a small enlarged one, and a missing mask."""
    key, image, mask = f"{name}.{variation}.{index}.", recorded["image"].to(dtype) / 255, recorded["mask"].to(dtype) / 255
    shrunk = ours.shrunk_to_circle(mask, ours.sample_circle(MASKED.random("shrink_mask", variation, index)))
    torch.testing.assert_close(shrunk, recorded[key + "shrunk"], rtol=0, atol=0)
    crop = ours.sample_mask_crop(shrunk, MASKED.random("rotate_crop", variation, index), 8)
    torch.testing.assert_close(ours.cropped(image, crop), recorded[key + "rotated.image"], rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.cropped(shrunk, crop), recorded[key + "rotated.mask"], rtol=0, atol=1e-6)
    crop = ours.sample_mask_crop(mask, MASKED.random("rotate_crop", variation, index), 19)
    torch.testing.assert_close(ours.cropped(image, crop), recorded[key + "large.image"], rtol=0, atol=1e-6)
    crop = ours.sample_mask_crop(torch.zeros_like(mask), MASKED.random("rotate_crop", variation, index), 8)
    torch.testing.assert_close(ours.cropped(image, crop), recorded[key + "nothing.image"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "strength"), [("rotate", 30.0), ("brightness", 0.3), ("contrast", -0.4), ("saturation", 0.5), ("hue", -0.6)]
)
def test_a_fixed_change_is_as_recorded(recorded, kind, strength):
    """It works in either direction, without a random number."""
    most = "angle" if kind == "rotate" else "strength"
    image = ConceptImageConfig(
        **{"enable_crop_jitter": False, f"enable_fixed_{kind}": True, f"random_{kind}_max_{most}": strength}
    )
    augmentation = sample_image_augmentation((24, 32), image, parse_resolution("32x24"), 8, SEEDS.of_item(0, 0), bucketing=True)
    changed = ours.recolored(ours.moved(recorded["image"].float() / 255, augmentation), augmentation)
    torch.testing.assert_close(changed, recorded[f"fixed.{kind}"], rtol=0, atol=1e-6)


def test_what_is_off_changes_nothing():
    """An image of the target's size is returned bitwise unchanged."""
    image = torch.rand(3, 8, 16, generator=torch.Generator().manual_seed(1))
    same = ImageAugmentation((8, 16), (8, 16), (0, 0))
    assert torch.equal(ours.recolored(ours.moved(image, same), same), image)


def test_a_mask_of_one_pixel_leaves_the_whole_image():
    """There, OneTrainer divides by the size of the masked area."""
    mask = torch.zeros(1, 16, 12)
    mask[0, 8, 6] = 1
    crop = ours.sample_mask_crop(mask, Random(0), 8)
    assert (crop.offset_px, crop.size_px) == ((0, 0), (16, 12))

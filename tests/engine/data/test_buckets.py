"""Aspect ratio buckets: the size that an image is scaled and cropped to."""

from __future__ import annotations

from random import Random

import pytest

from onetrainer_gradio.config.dataset.buckets import Resolution
from onetrainer_gradio.config.dataset.image_augmentation import sample_image_augmentation
from onetrainer_gradio.config.declarations.concept import ConceptImageConfig
from onetrainer_gradio.engine.data.buckets import parse
from onetrainer_gradio.errors import ConfigValueError


def target(size_px, resolution, random, *, bucketing, jitter=False):
    """Return the sizes that an image is scaled and cropped to, and the crop offset."""
    image = ConceptImageConfig(enable_crop_jitter=jitter)
    drawn = sample_image_augmentation(size_px, image, resolution, 8, lambda step: random, bucketing=bucketing)
    return drawn.scaled, drawn.size, drawn.offset


def test_an_image_is_scaled_to_cover_its_bucket():
    """One side fits exactly, the other is cropped."""
    goal = target((300, 400), Resolution((512,)), Random(0), bucketing=True)
    assert goal[:2] == ((456, 608), (456, 576))
    goal = target((300, 400), Resolution((512,)), Random(0), bucketing=False)
    assert goal[:2] == ((512, 683), (512, 512))


def test_a_fixed_size_is_width_by_height():
    """``768x512`` is landscape, rounded to what the model supports."""
    fixed = parse("770x512")
    assert fixed.fixed == (512, 770)
    assert target((100, 100), fixed, Random(0), bucketing=True)[1] == (512, 768)


def test_one_of_several_resolutions_is_drawn():
    """Each edge length of a list is used equally often."""
    several = parse("256, 512")
    drawn = [target((9, 9), several, Random(i), bucketing=True)[1] for i in range(40)]
    assert set(drawn) == {(256, 256), (512, 512)}


@pytest.mark.parametrize("text", ["", "big", "512x", "0", "12x-4", "512,,"])
def test_nonsense_is_rejected(text):
    """The error has the setting's name and the expected value."""
    with pytest.raises(ConfigValueError, match="resolution") as caught:
        parse(text)
    assert caught.value.path == "resolution"


def test_the_crop_is_in_the_middle_or_jittered():
    """Jitter stays inside the scaled image and depends only on its generator."""
    size, square = (300, 400), Resolution((512,))
    assert target(size, square, Random(1), bucketing=False)[2] == (0, 85)
    found = {target(size, square, Random(i), bucketing=False, jitter=True)[2] for i in range(50)}
    assert len(found) > 20
    assert all(y == 0 and 0 <= x <= 171 for y, x in found)

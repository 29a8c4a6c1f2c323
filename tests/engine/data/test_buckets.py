"""Aspect buckets."""

from __future__ import annotations

from random import Random

import pytest

from onetrainer_gradio.engine.data.buckets import Resolution, Target, buckets, crop_offset, nearest_bucket, target
from onetrainer_gradio.errors import ConfigValueError


def test_buckets_have_the_same_area_and_fit_the_model():
    """Seventeen shapes up to 4:1, sides multiples of eight, areas within six percent of the square."""
    found = buckets(512, 8)
    assert len(found) == len(set(found)) == 17
    assert (512, 512) in found
    assert (256, 1024) in found
    assert (1024, 256) in found
    assert all(height % 8 == width % 8 == 0 for height, width in found)
    assert all(abs(height * width / 512**2 - 1) < 0.06 for height, width in found)


@pytest.mark.parametrize(("size", "bucket"), [((100, 100), (512, 512)), ((3000, 2000), (624, 416)), ((10, 1000), (256, 1024))])
def test_a_picture_goes_to_the_nearest_shape(size, bucket):
    """By its aspect ratio, whatever its size."""
    assert nearest_bucket(size, 512, 8) == bucket


def test_a_picture_is_scaled_to_cover_its_bucket():
    """One side fits exactly, the other is cropped."""
    goal = target((300, 400), Resolution((512,)), Random(0), bucketing=True, quantum_px=8)
    assert goal == Target((456, 608), (456, 576))
    goal = target((300, 400), Resolution((512,)), Random(0), bucketing=False, quantum_px=8)
    assert goal == Target((512, 683), (512, 512))


def test_a_fixed_size_is_width_by_height():
    """``768x512`` is a lying picture, rounded to what the model can take."""
    fixed = Resolution.parse("770x512")
    assert fixed.fixed_px == (512, 770)
    assert target((100, 100), fixed, Random(0), bucketing=True, quantum_px=8).crop_px == (512, 768)


def test_one_of_several_resolutions_is_drawn():
    """A list of edge lengths is used evenly."""
    several = Resolution.parse("256, 512")
    drawn = [target((9, 9), several, Random(i), bucketing=True, quantum_px=8).crop_px for i in range(40)]
    assert set(drawn) == {(256, 256), (512, 512)}


@pytest.mark.parametrize("text", ["", "big", "512x", "0", "12x-4", "512,,"])
def test_nonsense_is_refused(text):
    """With the setting's name and what is expected."""
    with pytest.raises(ConfigValueError, match="resolution") as caught:
        Resolution.parse(text)
    assert caught.value.path == "resolution"


def test_the_crop_is_in_the_middle_or_jittered():
    """Jitter stays inside the scaled picture and is decided by its generator."""
    goal = Target((512, 683), (512, 512))
    assert crop_offset(goal, Random(1), jitter=False) == (0, 85)
    found = {crop_offset(goal, Random(i), jitter=True) for i in range(50)}
    assert len(found) > 20
    assert all(y == 0 and 0 <= x <= 171 for y, x in found)

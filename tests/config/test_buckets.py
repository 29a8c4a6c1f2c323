"""Pictures go into the shapes that OneTrainer puts them into."""

import pytest

from onetrainer_gradio.config.buckets import Resolution, bucket_of, filled, parse_resolution, shapes, target


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("512", Resolution(edges=(512,))),
        (" 512, 768 ", Resolution(edges=(512, 768))),
        ("768x512", Resolution(fixed=(512, 768))),
        ("512,", None),
        ("512x", None),
        ("big", None),
        ("", None),
        ("-512", None),
    ],
)
def test_a_resolution_is_read_as_onetrainer_reads_it(text, meant):
    """Numbers, several numbers, or width x height."""
    assert parse_resolution(text) == meant


@pytest.mark.parametrize("multiple", [8, 16, 32, 64, 128])
def test_shapes_have_about_the_pixels_of_the_square(multiple):
    """Sides are multiples, each shape exists upright and lying, and the area stays near the square's."""
    found = shapes(1024, multiple)
    assert (1024, 1024) in found
    assert {(width, height) for height, width in found} == set(found)
    assert all(height % multiple == 0 and width % multiple == 0 for height, width in found)
    assert all(abs(height * width / 1024**2 - 1) < 0.3 for height, width in found)


def test_known_shapes():
    """Worked out by hand for SDXL: 1024 / sqrt(1.5) = 836 -> 832, 1024 * sqrt(1.5) = 1254 -> 1280."""
    assert bucket_of((2000, 3000), 1024, 64) == (832, 1280)
    assert bucket_of((3000, 2000), 1024, 64) == (1280, 832)
    assert bucket_of((10, 10000), 1024, 64) == (512, 2048)


def test_without_buckets_all_are_square_and_a_fixed_size_is_one_for_all():
    """The two ways to have one shape."""
    sizes = [(100, 200), (200, 100)]
    assert filled(sizes, Resolution(edges=(512,)), 64, bucketing=False) == {(512, 512): 2}
    assert filled(sizes, Resolution(fixed=(512, 770)), 64, bucketing=True) == {(512, 768): 2}


def test_a_small_number_is_still_a_shape():
    """Nothing is rounded to nothing."""
    assert target((10, 10), Resolution(edges=(8,)), 64, bucketing=True) == (64, 64)

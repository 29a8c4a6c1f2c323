"""Images are assigned to the same buckets as in OneTrainer."""

import math

import pytest

from onetrainer_gradio.config.dataset.buckets import Resolution, bucket_of, filled, parse_resolution, shapes, target


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
    """Sides are multiples, each bucket exists in portrait and landscape, and its area is close to the square's."""
    found = shapes(1024, multiple)
    assert (1024, 1024) in found
    assert {(width, height) for height, width in found} == set(found)
    assert all(height % multiple == 0 and width % multiple == 0 for height, width in found)
    assert all(abs(height * width / 1024**2 - 1) < 0.3 for height, width in found)


def test_known_shapes():
    """Calculated manually for SDXL: 1024 / sqrt(1.5) = 836 -> 832, 1024 * sqrt(1.5) = 1254 -> 1280."""
    assert bucket_of((2000, 3000), 1024, 64) == (832, 1280)
    assert bucket_of((3000, 2000), 1024, 64) == (1280, 832)
    assert bucket_of((10, 10000), 1024, 64) == (512, 2048)


def test_without_buckets_all_are_square_and_a_fixed_size_is_one_for_all():
    """These are the two ways to have a single bucket."""
    sizes = [(100, 200), (200, 100)]
    assert filled(sizes, Resolution(edges=(512,)), 64, bucketing=False) == {(512, 512): 2}
    assert filled(sizes, Resolution(fixed=(512, 770)), 64, bucketing=True) == {(512, 768): 2}


def test_a_small_number_is_still_a_shape():
    """No side is rounded to 0."""
    assert target((10, 10), Resolution(edges=(8,)), 64, bucketing=True) == (64, 64)


def test_buckets_have_the_same_area_and_fit_the_model():
    """There are seventeen buckets up to 4:1, with sides in multiples of eight and areas within six percent of the square's."""
    found = shapes(512, 8)
    assert len(found) == len(set(found)) == 17
    assert (512, 512) in found
    assert (256, 1024) in found
    assert (1024, 256) in found
    assert all(height % 8 == width % 8 == 0 for height, width in found)
    assert all(abs(height * width / 512**2 - 1) < 0.06 for height, width in found)


@pytest.mark.parametrize(("size", "bucket"), [((100, 100), (512, 512)), ((3000, 2000), (624, 416)), ((10, 1000), (256, 1024))])
def test_an_image_goes_to_the_nearest_shape(size, bucket):
    """The aspect ratio decides, whatever the size."""
    assert bucket_of(size, 512, 8) == bucket


def onetrainer_bucket(height, width, edge, multiple):
    """Return OneTrainer's bucket from the facts about its rounding: order of operations, round half to even, a set."""
    sides = []
    for aspect in (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0):
        short, long = 1.0 / math.sqrt(1.0 * aspect) * edge, aspect / math.sqrt(1.0 * aspect) * edge
        sides.append((short, long))
    every = {tuple(round(side / multiple) * multiple for side in pair) for pair in [*sides, *[pair[::-1] for pair in sides]]}
    return min(every, key=lambda bucket: abs(bucket[0] / bucket[1] - height / width))


@pytest.mark.slow
@pytest.mark.parametrize(("edge", "multiple"), [(512, 8), (768, 8), (1024, 64), (1024, 32), (500, 8), (1000, 64), (520, 16)])
def test_every_size_goes_into_the_bucket_that_onetrainer_chooses(edge, multiple):
    """This includes ties between two buckets, and sides halfway between two multiples."""
    sides = [*range(64, 2049, 64), 333, 500, 750, 801, 1001, 1280, 1365, 1920, 1999, 3000, 4032]
    for height in sides:
        for width in sides:
            assert bucket_of((height, width), edge, multiple) == onetrainer_bucket(height, width, edge, multiple)


def test_without_buckets_an_edge_length_is_used_as_it_is():
    """500 stays 500 although it isn't a multiple of 8, as in OneTrainer."""
    assert target((600, 900), Resolution(edges=(500,)), 8, bucketing=False) == (500, 500)

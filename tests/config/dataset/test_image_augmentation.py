"""Image augmentation."""

from random import Random

import pytest

from onetrainer_gradio.config.dataset.buckets import Resolution
from onetrainer_gradio.config.dataset.image_augmentation import covering, sample_image_augmentation
from onetrainer_gradio.config.declarations.concept import ConceptImageConfig


def drawn(count=200, size=(600, 900), edges=(512,), bucketing=True, **settings):
    image = ConceptImageConfig(**settings)
    randoms = map(Random, range(count))
    return [
        sample_image_augmentation(size, image, Resolution(edges=edges), 64, lambda step, r=random: r, bucketing=bucketing)
        for random in randoms
    ]


def test_an_image_covers_its_bucket_exactly_on_one_side():
    """The image isn't stretched; the other side is cropped."""
    assert covering((600, 900), (512, 512)) == (512, 768)
    assert covering((900, 600), (512, 512)) == (768, 512)
    (draw,) = drawn(1, bucketing=False, enable_crop_jitter=False)
    assert (draw.scaled, draw.size, draw.offset) == ((512, 768), (512, 512), (0, 128))
    assert draw.words() == ["cropped"]


@pytest.mark.slow
def test_jitter_moves_the_crop_over_all_there_is():
    """The crop reaches both ends, and nothing outside."""
    found = {draw.offset for draw in drawn(3000, bucketing=False)}
    assert {y for y, _ in found} == {0}
    assert (min(x for _, x in found), max(x for _, x in found)) == (0, 256)


def test_nothing_changes_unless_it_is_switched_on():
    """Strengths alone have no effect."""
    (draw,) = {
        (draw.flipped, draw.angle, draw.brightness, draw.contrast, draw.saturation, draw.hue)
        for draw in drawn(random_rotate_max_angle=30, random_brightness_max_strength=0.5, random_hue_max_strength=1)
    }
    assert draw == (False, 0.0, 1.0, 1.0, 1.0, 0.0)


def test_random_changes_stay_within_their_strength():
    """Hue reaches half a turn with a strength of 1, and factors never fall below 0."""
    found = drawn(
        enable_random_flip=True,
        enable_random_rotate=True,
        random_rotate_max_angle=10,
        enable_random_brightness=True,
        random_brightness_max_strength=2.0,
        enable_random_hue=True,
        random_hue_max_strength=1.0,
    )
    assert {draw.flipped for draw in found} == {True, False}
    assert max(abs(draw.angle) for draw in found) == pytest.approx(10, abs=0.5)
    assert min(draw.brightness for draw in found) == 0.0
    assert max(draw.brightness for draw in found) == pytest.approx(3, abs=0.1)
    assert max(abs(draw.hue) for draw in found) == pytest.approx(0.5, abs=0.02)


def test_fixed_changes_are_always_the_same_and_random_ones_come_first():
    """As in OneTrainer, the random switch wins if both are on."""
    (fixed,) = {draw.contrast for draw in drawn(enable_fixed_contrast=True, random_contrast_max_strength=0.2)}
    assert fixed == pytest.approx(1.2)
    both = {draw.flipped for draw in drawn(enable_fixed_flip=True, enable_random_flip=True)}
    assert both == {True, False}
    assert "contrast +20%" in drawn(1, enable_fixed_contrast=True, random_contrast_max_strength=0.2)[0].words()


def test_with_several_resolutions_one_is_drawn():
    """Over time, each image is trained at all of them."""
    assert {draw.size for draw in drawn(size=(500, 500), edges=(256, 512))} == {(256, 256), (512, 512)}

"""The order of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.engine.data.images import TrainingImage
from onetrainer_gradio.engine.data.order import Group, batches, inline_batches, samples_per_epoch
from onetrainer_gradio.engine.data.seeds import Loader, StageSeeds


def images(count, size=(64, 64), first=0):
    return tuple(TrainingImage(first + i, 0, Path(f"{first + i}.png"), size, (1, 1), ("",)) for i in range(count))


def names(items):
    return [item.image.index for item in items]


SEEDS = StageSeeds.of(Loader())


def test_places_are_those_of_the_recorded_run():
    """The batch shuffle is at stage 33; with a trained text encoder, or without a cache, at 31."""
    assert SEEDS.place["batches"] == 33
    assert StageSeeds.of(Loader(precomputed=0)).place["batches"] == 31
    assert StageSeeds.of(Loader(latent_caching=False)).place["batches"] == 31
    assert (SEEDS.place["choose_caption"], SEEDS.place["bucket"], SEEDS.place["crop"], SEEDS.place["flip"]) == (
        11,
        13,
        14,
        15,
    )


def test_the_order_is_that_of_the_recorded_run(recorded):
    """For 24 images, three epochs and batches of four, the order equals OneTrainer's, image by image."""
    files = sorted({name for step in recorded["steps"] for name in step["image_path"]})
    group = Group(images(24), 24, 1, 1)
    ours = [
        [files[index] for index in names(batch)]
        for epoch in range(3)
        for batch in batches(group.items(epoch), lambda item: item.image.size_px, 4, epoch, SEEDS)
    ]
    assert ours == [step["image_path"] for step in recorded["steps"]]


def test_batches_hold_one_size_and_the_rest_is_left_out():
    """Seven portrait and five landscape images in batches of two give three
    and two batches; two images wait for another epoch.
    """
    items = Group(images(7) + images(5, (32, 96), 7), 12, 1, 1).items(0)
    made = batches(items, lambda item: item.image.size_px, 2, 0, SEEDS)
    assert len(made) == 5
    assert all(len({item.image.size_px for item in batch}) == 1 for batch in made)
    again = batches(items, lambda item: item.image.size_px, 2, 0, SEEDS)
    other = batches(items, lambda item: item.image.size_px, 2, 1, SEEDS)
    assert [names(batch) for batch in again] == [names(batch) for batch in made]
    assert [names(batch) for batch in other] != [names(batch) for batch in made]


@pytest.mark.parametrize(
    ("strategy", "balancing", "expected"), [("REPEATS", 1, 10), ("REPEATS", 2.5, 25), ("REPEATS", 0.25, 2), ("SAMPLES", 3, 3)]
)
def test_balancing_sets_the_size_of_an_epoch(strategy, balancing, expected):
    """It is a multiple of the number of images, rounded down, or a given number."""
    assert samples_per_epoch(strategy, balancing, 10) == expected


def test_an_epoch_continues_where_the_last_one_ended():
    """With four of six images per epoch, the second epoch begins with the fifth."""
    group = Group(images(6), 4, 1, 1)
    assert [names(group.items(epoch)) for epoch in range(3)] == [[0, 1, 2, 3], [4, 5, 0, 1], [2, 3, 4, 5]]


def test_variations_change_from_round_to_round():
    """Two image and three caption variations change with each round; without a cache, every epoch has new ones."""
    group = Group(images(2), 2, 2, 3)
    turns = [(group.items(e)[0].image_variation, group.items(e)[0].text_variation) for e in range(4)]
    assert turns == [(0, 0), (1, 1), (0, 2), (1, 0)]
    uncached = [group.items(e, image_cached=False, text_cached=False)[0] for e in range(4)]
    assert [(item.image_variation, item.text_variation) for item in uncached] == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_repeats_of_less_than_a_round_give_each_image_twice():
    """With two repeats, every image comes twice per epoch, in two variations."""
    items = Group(images(3), 6, 2, 1).items(0)
    assert [(item.image.index, item.image_variation) for item in items] == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]


def test_without_a_cache_batches_come_as_buckets_fill():
    """All batches are full and have one size, and nothing comes twice."""
    seeds = StageSeeds.of(Loader(latent_caching=False))
    items = Group(images(7) + images(5, (32, 96), 7), 12, 1, 1).items(0)
    made = inline_batches(items, lambda item: item.image.size_px, 2, 0, seeds)
    assert len(made) == 5
    assert all(len({item.image.size_px for item in batch}) == 1 for batch in made)
    assert len({index for batch in made for index in names(batch)}) == 10

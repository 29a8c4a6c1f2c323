"""Order the images: epochs, variations, batches. Equal to OneTrainer's order for the same data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onetrainer_gradio.config.dataset.buckets import Size
from onetrainer_gradio.engine.data.images import TrainingImage
from onetrainer_gradio.engine.data.seeds import StageSeeds


@dataclass(frozen=True, slots=True)
class Item:
    """An image in an epoch: the variation of its transform and of its caption, and its place before shuffling."""

    image: TrainingImage
    image_variation: int
    text_variation: int
    epoch: int = 0
    place: int = 0


@dataclass(frozen=True)
class Group:
    """The images of one concept, the number per epoch, and the number of cached variations."""

    images: tuple[TrainingImage, ...]
    samples: int
    image_variations: int
    text_variations: int

    def items(self, epoch: int, first: int = 0, *, image_cached: bool = True, text_cached: bool = True) -> list[Item]:
        """Return the items of an epoch: cyclically through the images, with the next variation in each round.

        Uncached images get a new variation in every epoch. ``first`` is the place of the first item.
        """
        size = len(self.images)
        taken = []
        for position in range(self.samples):
            round_, at = divmod(epoch * self.samples + position, size)
            image = round_ % self.image_variations if image_cached else epoch
            text = round_ % self.text_variations if text_cached else epoch
            taken.append(Item(self.images[at], image, text, epoch, first + position))
        return taken


def samples_per_epoch(strategy: str, balancing: float, images: int) -> int:
    """Return the images per epoch: with REPEATS a multiple of the images, with SAMPLES a number."""
    return math.floor(images * balancing) if strategy == "REPEATS" else int(balancing)


def batches(
    items: Sequence[Item], size_of: Callable[[Item], Size], batch_size: int, epoch: int, seeds: StageSeeds
) -> list[list[Item]]:
    """Return shuffled batches of one size each; the rest of a bucket that doesn't fill a batch is dropped from this epoch."""
    buckets: dict[Size, list[Item]] = {}
    for item in items:
        buckets.setdefault(size_of(item), []).append(item)
    random = seeds.random("batches", epoch)
    order = [(size, number) for size, bucket in buckets.items() for number in range(len(bucket) // batch_size)]
    random.shuffle(order)
    for bucket in buckets.values():
        random.shuffle(bucket)
    return [buckets[size][number * batch_size : (number + 1) * batch_size] for size, number in order]


def inline_batches(
    items: Sequence[Item], size_of: Callable[[Item], Size], batch_size: int, epoch: int, seeds: StageSeeds
) -> list[list[Item]]:
    """Return the order without a latent cache: images are shuffled, and a batch is complete when a bucket is full."""
    order = list(items)
    seeds.random("batches", epoch).shuffle(order)
    buckets: dict[Size, list[Item]] = {}
    full = []
    for item in order:
        bucket = buckets.setdefault(size_of(item), [])
        bucket.append(item)
        if len(bucket) == batch_size:
            full.append(buckets.pop(size_of(item)))
    return full

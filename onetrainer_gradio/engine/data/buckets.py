"""Aspect buckets: to which size a picture is scaled and cropped. All sizes are (height, width) in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from onetrainer_gradio.errors import ConfigValueError

Size = tuple[int, int]

ASPECTS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Long side divided by short side of the buckets; each exists upright and lying."""


@dataclass(frozen=True)
class Target:
    """Where a picture goes: scaled to cover ``crop_px``, which leaves ``scale_px``, then cropped."""

    scale_px: Size
    crop_px: Size


def _quantized(size: tuple[float, float], quantum_px: int) -> Size:
    return round(size[0] / quantum_px) * quantum_px, round(size[1] / quantum_px) * quantum_px


@lru_cache(maxsize=64)
def buckets(resolution_px: int, quantum_px: int) -> tuple[Size, ...]:
    """All buckets with about ``resolution_px`` squared pixels, sides multiples of ``quantum_px``."""
    upright = [
        (1.0 / math.sqrt(1.0 * aspect) * resolution_px, aspect / math.sqrt(1.0 * aspect) * resolution_px) for aspect in ASPECTS
    ]
    sizes = [_quantized(size, quantum_px) for size in upright + [(width, height) for (height, width) in upright]]
    # equally near buckets exist; OneTrainer takes the first in the order of a set, which is the same for the same numbers
    return tuple(set(sizes))


def nearest_bucket(size_px: Size, resolution_px: int, quantum_px: int) -> Size:
    """The bucket whose aspect ratio is nearest to that of ``size_px``."""
    aspect = size_px[0] / size_px[1]
    return min(buckets(resolution_px, quantum_px), key=lambda bucket: abs(bucket[0] / bucket[1] - aspect))


@dataclass(frozen=True)
class Resolution:
    """The setting ``resolution``: one or several edge lengths, or one fixed size."""

    edges_px: tuple[int, ...] = ()
    fixed_px: Size | None = None

    @classmethod
    def parse(cls, text: str) -> Resolution:
        """``512``, ``512, 768`` or ``768x512`` (width x height).

        :raises ConfigValueError: for anything else.
        """
        try:
            if "x" in text and "," not in text:
                width, height = (int(part) for part in text.strip().split("x"))
                numbers: tuple[int, ...] = (width, height)
                found = cls(fixed_px=(height, width))
            else:
                numbers = tuple(int(part.strip()) for part in text.split(","))
                found = cls(edges_px=numbers)
        except ValueError:
            numbers = ()
            found = cls()
        if not numbers or min(numbers) < 8:
            raise ConfigValueError(
                f"The resolution {text!r} is no size.",
                path="resolution",
                value=text,
                expected="one edge length (512), several (512,768), or width x height (768x512), each at least 8",
                change="resolution",
            )
        return found


def target(size_px: Size, resolution: Resolution, random: Random, *, bucketing: bool, quantum_px: int) -> Target:
    """Where a picture of ``size_px`` goes; with several edge lengths ``random`` picks one."""
    if resolution.fixed_px is not None:
        crop = _quantized(resolution.fixed_px, quantum_px)
    else:
        edge = random.choice(resolution.edges_px)
        crop = nearest_bucket(size_px, edge, quantum_px) if bucketing else (edge, edge)
    height, width = size_px
    if height / width > crop[0] / crop[1]:
        scale = (round(height * (crop[1] / width)), crop[1])
    else:
        scale = (crop[0], round(width * (crop[0] / height)))
    return Target(scale, crop)


def crop_offset(goal: Target, random: Random, *, jitter: bool) -> Size:
    """Top left corner (y, x) of the crop: in the middle, or anywhere with ``jitter``."""
    spare = goal.scale_px[0] - goal.crop_px[0], goal.scale_px[1] - goal.crop_px[1]
    if not jitter:
        return spare[0] // 2, spare[1] // 2
    y = random.randint(0, spare[0])
    return y, random.randint(0, spare[1])


def counted(sizes: Sequence[Size]) -> dict[Size, int]:
    """How many pictures go into each bucket, in the order in which the buckets appear."""
    counts: dict[Size, int] = {}
    for size in sizes:
        counts[size] = counts.get(size, 0) + 1
    return counts

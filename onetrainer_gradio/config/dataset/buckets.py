"""Choose the bucket of an image: the size that it is scaled and cropped to. Sizes are (height, width) in pixels."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

Size = tuple[int, int]

ASPECTS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Long side divided by short side of the buckets; each exists in portrait and landscape."""

_NUMBERS = re.compile(r"^\s*[0-9]{1,6}\s*(,\s*[0-9]{1,6}\s*)*$")
_FIXED = re.compile(r"^\s*([0-9]{1,6})\s*x\s*([0-9]{1,6})\s*$")


@dataclass(frozen=True)
class Resolution:
    """The setting ``resolution``: one or several edge lengths, or one fixed size."""

    edges: tuple[int, ...] = ()
    fixed: Size | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return all its numbers in their written order (width before height)."""
        return self.edges if self.fixed is None else (self.fixed[1], self.fixed[0])


def parse_resolution(text: str) -> Resolution | None:
    """Parse ``512``, ``512,768`` or ``768x512`` (width x height); return None for anything else."""
    if fixed := _FIXED.match(text):
        return Resolution(fixed=(int(fixed[2]), int(fixed[1])))
    if _NUMBERS.match(text):
        return Resolution(edges=tuple(int(number) for number in text.split(",")))
    return None


def rounded(value: float, multiple: int) -> int:
    """Return the nearest multiple, at least one; ties go to the even one, as in OneTrainer."""
    return max(round(value / multiple), 1) * multiple


def empty_side(resolution: Resolution, multiple: int, *, bucketing: bool) -> int | None:
    """Return the number of a resolution that leads to images with a side of 0 pixels, or None.

    Sides are rounded to ``multiple``, and of the buckets of one edge length the narrowest has half of it as its short side.
    OneTrainer divides by that side. Without buckets edge lengths are not rounded.
    """
    if resolution.fixed is None and not bucketing:
        return None
    narrowest = 1.0 if resolution.fixed is not None else math.sqrt(max(ASPECTS))
    return next((number for number in resolution.numbers if round(number / narrowest / multiple) == 0), None)


def smallest_edge(multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is a valid edge length with buckets."""
    return next(
        edge
        for edge in range(multiple, 9 * multiple, multiple)
        if empty_side(Resolution((edge,)), multiple, bucketing=True) is None
    )


@lru_cache(maxsize=64)
def shapes(edge: int, multiple: int) -> tuple[Size, ...]:
    """Return the buckets with about ``edge`` squared pixels, whose sides are multiples of ``multiple``."""
    # the order of these operations decides how a half is rounded: it is OneTrainer's
    upright = [(1.0 / math.sqrt(1.0 * aspect) * edge, aspect / math.sqrt(1.0 * aspect) * edge) for aspect in ASPECTS]
    both = upright + [(width, height) for height, width in upright]
    # equally near buckets exist; OneTrainer takes the first in the order of a set, which is the same for the same numbers
    return tuple({(rounded(height, multiple), rounded(width, multiple)) for height, width in both})


def bucket_of(size: Size, edge: int, multiple: int) -> Size:
    """Return the bucket whose aspect ratio is nearest to that of an image."""
    aspect = size[0] / size[1]
    return min(shapes(edge, multiple), key=lambda bucket: abs(bucket[0] / bucket[1] - aspect))


def target(size: Size, resolution: Resolution, multiple: int, *, bucketing: bool) -> Size:
    """Return the training size of an image; with several edge lengths, that of the first.

    Without bucketing, an edge length is used unchanged, even if it isn't a multiple, as in OneTrainer.
    """
    if resolution.fixed is not None:
        return rounded(resolution.fixed[0], multiple), rounded(resolution.fixed[1], multiple)
    edge = resolution.edges[0]
    return bucket_of(size, edge, multiple) if bucketing else (edge, edge)


def covering(size: Size, goal: Size) -> Size:
    """Return the smallest size of a scaled image that covers ``goal``."""
    height, width = size
    if height / width > goal[0] / goal[1]:
        return max(goal[0], round(height * (goal[1] / width))), goal[1]
    return goal[0], max(goal[1], round(width * (goal[0] / height)))


def filled(sizes: Iterable[Size], resolution: Resolution, multiple: int, *, bucketing: bool) -> Counter[Size]:
    """Return the number of images in each bucket."""
    by_size = Counter(sizes)
    counts: Counter[Size] = Counter()
    for size, number in by_size.items():
        counts[target(size, resolution, multiple, bucketing=bucketing)] += number
    return counts

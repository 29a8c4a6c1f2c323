"""Choose the size that an image is scaled and cropped to: the buckets of ``config``, with the random choices of a step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from onetrainer_gradio.config.dataset import buckets
from onetrainer_gradio.config.dataset.buckets import Resolution, Size
from onetrainer_gradio.errors import ConfigValueError

SMALLEST = 8


@dataclass(frozen=True)
class Target:
    """The target of an image: scaled to ``scale_px``, which covers ``crop_px``, then cropped."""

    scale_px: Size
    crop_px: Size


def parse(text: str) -> Resolution:
    """Parse ``512``, ``512, 768`` or ``768x512`` (width x height).

    :raises ConfigValueError: for anything else.
    """
    found = buckets.parse_resolution(text)
    if found is None or min(found.numbers) < SMALLEST:
        raise ConfigValueError(
            f"The resolution “{text}” isn't valid.",
            path="resolution",
            value=text,
            expected="one edge length (512), several (512,768), or width x height (768x512), each at least 8",
            suggestion="Enter Resolution as 512, as 512,768 or as 768x512.",
        )
    return found


def target(size_px: Size, resolution: Resolution, random: Random, *, bucketing: bool, size_multiple_px: int) -> Target:
    """Return the target of an image of ``size_px``; with several edge lengths, ``random`` selects one."""
    if resolution.edges:
        resolution = replace(resolution, edges=(random.choice(resolution.edges),))
    crop = buckets.target(size_px, resolution, size_multiple_px, bucketing=bucketing)
    return Target(buckets.covering(size_px, crop), crop)


def crop_offset(goal: Target, random: Random, *, jitter: bool) -> Size:
    """Return the top left corner (y, x) of the crop: centered, or random with ``jitter``."""
    slack = goal.scale_px[0] - goal.crop_px[0], goal.scale_px[1] - goal.crop_px[1]
    if not jitter:
        return slack[0] // 2, slack[1] // 2
    y = random.randint(0, slack[0])
    return y, random.randint(0, slack[1])

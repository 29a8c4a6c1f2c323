"""Show what each image becomes at a resolution: its bucket, how it is scaled, and what is cropped away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onetrainer_gradio.config.dataset.buckets import Resolution, covering, parse_resolution, target
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.families.models import MODELS, UNFAMILIAR
from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.service.datasets.image_index import Row
from onetrainer_gradio.service.datasets.inspection import Bucketing

_MAX_IMAGES = 500


def bucket_view(
    rows: Sequence[Row], bucketing: Bucketing, bucket: tuple[int, int] | None, offset: int, limit: int
) -> dict[str, Any]:
    """Return the buckets at each edge length, and a page of the images at the first one.

    ``bucket`` (width, height) selects the images of one bucket. Training uses the same functions.
    """
    readable = [(row, row.size) for row in rows if isinstance(row.size, tuple)]
    resolution = bucketing.resolution
    each = [Resolution(edges=(edge,)) for edge in resolution.edges] or [resolution]
    tables = []
    for one in each:
        counts: dict[tuple[int, int], int] = {}
        for _, size in readable:
            goal = target(size, one, bucketing.multiple, bucketing=bucketing.buckets)
            counts[goal] = counts.get(goal, 0) + 1
        listed = sorted(counts.items(), key=lambda item: -item[1])
        name = str(one.edges[0]) if one.edges else "x".join(map(str, one.numbers))
        tables.append({"resolution": name, "buckets": [{"width": w, "height": h, "images": count} for (h, w), count in listed]})
    shown = []
    for row, size in readable:
        goal = target(size, each[0], bucketing.multiple, bucketing=bucketing.buckets)
        if bucket is None or (goal[1], goal[0]) == bucket:
            shown.append((row, size, goal))
    return {
        "resolutions": tables,
        "unreadable": len(rows) - len(readable),
        "matches": len(shown),
        "images": [_image(*entry) for entry in shown[offset : offset + min(limit, _MAX_IMAGES)]],
    }


def _image(row: Row, size: tuple[int, int], goal: tuple[int, int]) -> dict[str, Any]:
    """Return an image with the centered crop; crop jitter moves it at random."""
    scaled = covering(size, goal)
    return {
        "path": row.path,
        "width": size[1],
        "height": size[0],
        "bucket": [goal[1], goal[0]],
        "scaled": [scaled[1], scaled[0]],
        "cropped": round(1 - goal[0] * goal[1] / (scaled[0] * scaled[1]), 4),
        "scale": round(scaled[0] / size[0], 4),
    }


def bucketing_of(config: TrainConfig, resolution: str = "") -> Bucketing:
    """Return how a configuration makes training sizes, with another ``resolution`` if one is given.

    :raises ConfigValueError: if the resolution can't be read.
    """
    parsed = parse_resolution(resolution or config.resolution)
    if parsed is None or not all(parsed.numbers):
        raise ConfigValueError(
            "The resolution isn't valid",
            path="resolution",
            value=(resolution or config.resolution)[:100],
            expected="512, or 512,768, or 768x512",
        )
    facts = MODELS.get(config.model_type, UNFAMILIAR)
    return Bucketing(parsed, facts.pixel_multiple, config.aspect_ratio_bucketing)

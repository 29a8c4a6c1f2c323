"""Recognize the content of images of the toy dataset: object, color, place and background.

The result depends only on pixels. Only numpy and Pillow are needed.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onetrainer_gradio.demo import toy_dataset
from onetrainer_gradio.demo.toy_dataset import Field, Pixels, Point

Mask = NDArray[np.bool_]

WORK_SIZE = 64
"""Images are compared with templates at this edge length in pixels."""
RADII = (0.13, 0.15, 0.165, 0.18, 0.195, 0.21, 0.23, 0.25, 0.27)
DIFFERENT = 45.0
"""Distance in 0..255 color units above which a pixel belongs to the object and not to the background."""
NEAR_COLOR = 75.0
NEAR_BACKGROUND = 40.0
NEAR_PLACE = 0.13
GOOD_FIT = 0.72
"""Smallest overlap (intersection over union) with the best template."""
NEW_SECTORS = 24


@dataclass(frozen=True)
class Reading:
    """The content of an image; a word is empty if nothing matches well enough.

    ``fit`` is the overlap of the object with its best template (0..1), ``center`` its position in units of the edge.
    """

    shape: str
    color: str
    place: str
    background: str
    fit: float
    center: Point


@dataclass(frozen=True)
class NewReading:
    """How much of the new concept an image shows; every number is a fraction in 0..1.

    ``sectors``: directions in which the ring is found; ``hole``: of the space between ring and dot that is not ring;
    ``dot``: of the dot's disc that has the dot's color; ``outliers``: of the image that has the dot's or the ring's
    color elsewhere.
    """

    center: Point
    radius: float
    sectors: float
    hole: float
    dot: float
    outliers: float

    @property
    def shown(self) -> bool:
        return (
            0.1 <= self.radius <= 0.32 and self.sectors >= 0.85 and self.hole >= 0.5 and self.dot >= 0.5 and self.outliers <= 0.04
        )


def open_image(path: Path) -> Pixels:
    """Return the image as (H, W, 3) in 0..255."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _work_image(pixels: Pixels) -> Field:
    image = Image.fromarray(pixels).resize((WORK_SIZE, WORK_SIZE), Image.Resampling.BOX)
    return np.asarray(image, np.float32)


@functools.cache
def _backdrops() -> dict[str, Field]:
    return {name: toy_dataset.backdrop(*colors, WORK_SIZE) for name, colors in toy_dataset.BACKGROUNDS.items()}


@functools.cache
def _templates() -> tuple[tuple[str, float, NDArray[np.complexfloating]], ...]:
    """Return shape, covered area in pixels and conjugate spectrum of each template around the image center."""
    return tuple(
        (shape, float(covered.sum()), np.conj(np.fft.rfft2(covered)))
        for shape in toy_dataset.SHAPES
        for radius in RADII
        for covered in [toy_dataset.cover(shape, (0.5, 0.5), radius, WORK_SIZE)]
    )


def _edge(field: Field, width: int = 3) -> Field:
    """Return the border pixels, (N, 3): left and right columns, then top and bottom rows."""
    sides = [field[:, :width], field[:, -width:], field[:width], field[-width:]]
    return np.concatenate([side.reshape(-1, field.shape[-1]) for side in sides])


def _nearest(color: Field, table: dict[str, toy_dataset.Color], limit: float) -> str:
    distances = {name: float(np.linalg.norm(color - np.asarray(rgb, np.float32))) for name, rgb in table.items()}
    name = min(distances, key=distances.__getitem__)
    return name if distances[name] <= limit else ""


def read_background(pixels: Pixels) -> str:
    """Return the word of the background, from the image border; empty if none is near."""
    field = _work_image(pixels)
    distances = {
        name: float(np.median(np.linalg.norm(_edge(field) - _edge(drop), axis=-1))) for name, drop in _backdrops().items()
    }
    name = min(distances, key=distances.__getitem__)
    return name if distances[name] <= NEAR_BACKGROUND else ""


def nearest_place(center: Point) -> str:
    """Return the words of the place, empty if none is near."""
    distances = {name: float(np.hypot(center[0] - x, center[1] - y)) for name, (x, y) in toy_dataset.PLACES.items()}
    name = min(distances, key=distances.__getitem__)
    return name if distances[name] <= NEAR_PLACE else ""


def read(pixels: Pixels) -> Reading:
    """Recognize one image (H, W, 3) of any size."""
    field = _work_image(pixels)
    background = read_background(pixels)
    # each row's own backdrop: the median of its two ends, which also follows a gradient of unknown colors
    ends = np.concatenate([field[:, :3], field[:, -3:]], axis=1)
    distance = np.linalg.norm(field - np.median(ends, axis=1, keepdims=True), axis=-1)
    mask = (distance > DIFFERENT).astype(np.float32)
    if not 0.01 <= float(mask.mean()) <= 0.5:
        return Reading("", "", "", background, 0.0, (0.5, 0.5))
    spectrum = np.fft.rfft2(mask)
    total = float(mask.sum())
    fit, shape, center = 0.0, "", (0.5, 0.5)
    for name, area, conjugate in _templates():
        shared = np.fft.irfft2(spectrum * conjugate, s=mask.shape)
        row, column = np.unravel_index(int(shared.argmax()), shared.shape)
        overlap = float(shared[row, column]) / (total + area - float(shared[row, column]))
        if overlap > fit:
            fit, shape = overlap, name
            center = (0.5 + column / WORK_SIZE) % 1.0, (0.5 + row / WORK_SIZE) % 1.0
    core = mask.astype(bool) & (distance > 0.75 * np.quantile(distance[mask.astype(bool)], 0.8))
    color = np.median(field[core], axis=0)
    return Reading(
        shape if fit >= GOOD_FIT else "",
        _nearest(color, toy_dataset.COLORS, NEAR_COLOR),
        nearest_place(center),
        background,
        fit,
        center,
    )


def _ring_colored(field: Field) -> Mask:
    red, green, blue = field[..., 0], field[..., 1], field[..., 2]
    mask: Mask = (red > 170) & (red - green > 70) & (blue - green > 35) & (red - blue > 15)
    return mask


def _dot_colored(field: Field) -> Mask:
    red, green, blue = field[..., 0], field[..., 1], field[..., 2]
    # hues from 150 to 195 degrees: the dataset's green is at 136, its blues begin at 210
    mask: Mask = (red < 120) & (green - red > 80) & (blue - red > 0.5 * (green - red)) & (blue - green < 0.25 * (blue - red))
    return mask


def read_new(pixels: Pixels) -> NewReading:
    """Measure the new concept in one image (H, W, 3) of any size."""
    field = _work_image(pixels)
    ring, dot = _ring_colored(field), _dot_colored(field)
    if float(ring.mean()) < 0.01 or float(dot.mean()) < 0.001:
        return NewReading((0.5, 0.5), 0.0, 0.0, 0.0, 0.0, 0.0)
    x, y = toy_dataset.grid(WORK_SIZE)
    # middle of the ring's extent: unlike the center of mass, it does not shift toward a thicker side
    spans = [np.quantile(axis[ring], [0.02, 0.98]) for axis in (x, y)]
    cx, cy = (float(span.mean()) for span in spans)
    outer = float(np.mean([np.ptp(span) for span in spans])) / 2 + 0.25 / WORK_SIZE
    away = np.hypot(x - cx, y - cy) / max(outer, 1e-6)
    sector = ((np.arctan2(y - cy, x - cx) / (2 * np.pi) + 0.5) * NEW_SECTORS).astype(int) % NEW_SECTORS
    band = ring & (away > 0.55) & (away < 1.2)
    met = np.bincount(sector[band], minlength=NEW_SECTORS) > 0
    inside = away < 0.5
    disc = away < 0.8 * toy_dataset.NEW_DOT_OUTER
    outliers = (ring & (away > 1.3)) | (dot & (away > 0.75))
    return NewReading(
        (cx, cy),
        outer,
        float(met.mean()),
        float(1 - ring[inside].mean()) if inside.any() else 0.0,
        float(dot[disc].mean()) if disc.any() else 0.0,
        float(outliers.mean()),
    )


def shows_new(pixels: Pixels) -> bool:
    """Return whether the image shows the new concept: a pink ring around a turquoise dot."""
    return read_new(pixels).shown


def shows_scene(pixels: Pixels, scene: toy_dataset.Scene) -> bool:
    """Return whether the image matches the scene's caption: object, color, place and background."""
    if scene.thing == toy_dataset.TRIGGER_WORD:
        new = read_new(pixels)
        return (
            new.shown
            and (not scene.names_place or nearest_place(new.center) == scene.place)
            and (not scene.names_background or read_background(pixels) == scene.background)
        )
    seen = read(pixels)
    return (
        (seen.shape, seen.color) == (scene.thing, scene.color)
        and (not scene.names_place or seen.place == scene.place)
        and (not scene.names_background or seen.background == scene.background)
    )

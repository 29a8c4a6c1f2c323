"""Render the toy dataset of the demo model: one object at one place on one background.

Every image is rendered from signed distances, so edges are anti-aliased at any size and the same scene
results in the same image on every machine. The zorble is the only object that the model has never seen.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]
Color = tuple[int, int, int]
Point = tuple[float, float]

SIZE = 128
"""Edge length of an image in pixels."""

TRIGGER_WORD = "zorble"
"""The word for the new concept: a pink ring around a turquoise dot."""

COLORS: dict[str, Color] = {
    "red": (222, 40, 40),
    "orange": (245, 140, 25),
    "yellow": (250, 215, 30),
    "green": (35, 150, 65),
    "blue": (40, 90, 225),
    "purple": (130, 55, 190),
}

# Top and bottom color; a background with two different ones is a vertical gradient.
BACKGROUNDS: dict[str, tuple[Color, Color]] = {
    "white": ((248, 248, 248), (248, 248, 248)),
    "gray": ((150, 150, 152), (150, 150, 152)),
    "black": ((22, 22, 24), (22, 22, 24)),
    "sky": ((118, 182, 240), (226, 240, 250)),
    "night": ((12, 14, 46), (66, 62, 124)),
    "sand": ((240, 222, 184), (208, 176, 128)),
    "meadow": ((214, 236, 196), (146, 200, 124)),
}

# Center of the object in units of the image's edge, x to the right, y down.
PLACES: dict[str, Point] = {
    "at the left": (0.27, 0.50),
    "at the right": (0.73, 0.50),
    "at the top": (0.50, 0.27),
    "at the bottom": (0.50, 0.73),
    "in the middle": (0.50, 0.50),
}

NEW_RING: Color = (255, 70, 180)
NEW_DOT: Color = (0, 205, 195)
NEW_RING_INNER = 0.62
NEW_DOT_OUTER = 0.36
"""Radii of the zorble's hole and dot, in units of its outer radius."""


def _regular(corners: int, *, inner: float = 1.0, turn: float = -90.0) -> tuple[Point, ...]:
    """Return the corners of a regular polygon, or of a star if ``inner`` is below 1."""
    if inner < 1.0:
        corners *= 2
    points = []
    for corner in range(corners):
        angle = math.radians(turn + 360.0 * corner / corners)
        radius = inner if inner < 1.0 and corner % 2 else 1.0
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return tuple(points)


def _cross(arm: float) -> tuple[Point, ...]:
    quarter = ((arm, -1.0), (arm, -arm), (1.0, -arm))
    points: list[Point] = []
    for x, y in quarter:
        points.append((x, y))
    for _ in range(3):
        points.extend((-y, x) for x, y in points[-3:])
    return tuple(points)


def _heart(steps: int = 48) -> tuple[Point, ...]:
    points = []
    for step in range(steps):
        t = 2.0 * math.pi * step / steps
        x = 16.0 * math.sin(t) ** 3
        y = 13.0 * math.cos(t) - 5.0 * math.cos(2 * t) - 2.0 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16.0, -(y + 2.5) / 16.0))
    return tuple(points)


def _scaled(points: tuple[Point, ...], factor: float, down: float = 0.0) -> tuple[Point, ...]:
    return tuple((x * factor, y * factor + down) for x, y in points)


# Outlines in a box of about -1..1; the circle alone is no polygon. Scales make the areas look alike.
OUTLINES: dict[str, tuple[Point, ...] | None] = {
    "circle": None,
    "square": _scaled(_regular(4, turn=-45.0), 1.25),
    "triangle": _scaled(_regular(3), 1.28, 0.22),
    "cross": _cross(0.36),
    "star": _scaled(_regular(5, inner=0.42), 1.22, 0.08),
    "heart": _scaled(_heart(), 1.05),
}
SHAPES: tuple[str, ...] = tuple(OUTLINES)


@dataclass(frozen=True)
class Scene:
    """One image of the toy dataset: its object, place and background, with small random variations.

    ``thing`` is a shape or ``TRIGGER_WORD`` (which has its own colors, so ``color`` is empty then). ``radius``,
    ``dx`` and ``dy`` are in units of the image edge. ``names_place`` and ``names_background`` are whether
    the caption mentions them.
    """

    thing: str
    color: str
    place: str
    background: str
    radius: float = 0.18
    dx: float = 0.0
    dy: float = 0.0
    names_place: bool = True
    names_background: bool = True

    @property
    def center(self) -> Point:
        x, y = PLACES[self.place]
        return x + self.dx, y + self.dy

    @property
    def caption(self) -> str:
        words = ["a", *([self.color] if self.color else []), self.thing]
        if self.names_place:
            words.append(self.place)
        if self.names_background:
            words.append(f"on a {self.background} background")
        return " ".join(words)


def grid(size: int) -> tuple[Field, Field]:
    """Return x and y of the pixel centers in units of the image edge, each (size, size)."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(axis, axis)
    return x.astype(np.float32), y.astype(np.float32)


def distance_to_polygon(x: Field, y: Field, corners: tuple[Point, ...]) -> Field:
    """Return the signed distance of every point to a closed polygon, negative inside.

    Source: I. Quilez, "2D distance functions" (exact polygon distance with winding test).
    """
    squared = np.full_like(x, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        ex, ey = bx - ax, by - ay
        px, py = x - ax, y - ay
        along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        squared = np.minimum(squared, (px - ex * along) ** 2 + (py - ey * along) ** 2)
        if ay != by:
            crosses = (y >= min(ay, by)) & (y < max(ay, by)) & (x < ax + (y - ay) / (by - ay) * ex)
            inside ^= crosses
    distance: Field = np.where(inside, -1.0, 1.0).astype(np.float32) * np.sqrt(squared).astype(np.float32)
    return distance


def cover(shape: str, center: Point, radius: float, size: int = SIZE) -> Field:
    """Return how much of each pixel a shape covers, (size, size) in 0..1."""
    x, y = grid(size)
    x, y = x - np.float32(center[0]), y - np.float32(center[1])
    outline = OUTLINES[shape]
    if outline is None:
        distance = np.sqrt(x * x + y * y) - np.float32(radius)
    else:
        distance = distance_to_polygon(x, y, _scaled(outline, radius))
    covered: Field = np.clip(0.5 - distance * size, 0.0, 1.0).astype(np.float32)
    return covered


def backdrop(top: Color, bottom: Color, size: int = SIZE) -> Field:
    """Return a vertical gradient, (size, size, 3) in 0..255."""
    mix = np.linspace(0.0, 1.0, size, dtype=np.float32)[:, None, None]
    rows = np.asarray(top, np.float32) * (1 - mix) + np.asarray(bottom, np.float32) * mix
    return np.broadcast_to(rows, (size, size, 3)).astype(np.float32)


def fill(canvas: Field, covered: Field, color: Color) -> Field:
    """Blend one color over the canvas where it is covered."""
    alpha = covered[..., None]
    result: Field = canvas * (1 - alpha) + np.asarray(color, np.float32) * alpha
    return result


def fill_rings(canvas: Field, center: Point, radius: float, ring: Color, dot: Color) -> Field:
    """Blend a ring around a dot over the canvas; the canvas is visible between them."""
    size = canvas.shape[0]
    outer = cover("circle", center, radius, size)
    hole = cover("circle", center, radius * NEW_RING_INNER, size)
    inner = cover("circle", center, radius * NEW_DOT_OUTER, size)
    return fill(fill(canvas, outer * (1 - hole), ring), inner, dot)


def render(scene: Scene, size: int = SIZE) -> Pixels:
    """Return the image of a scene, (size, size, 3)."""
    canvas = backdrop(*BACKGROUNDS[scene.background], size)
    if scene.thing == TRIGGER_WORD:
        canvas = fill_rings(canvas, scene.center, scene.radius * 1.15, NEW_RING, NEW_DOT)
    else:
        canvas = fill(canvas, cover(scene.thing, scene.center, scene.radius, size), COLORS[scene.color])
    return to_pixels(canvas)


def to_pixels(canvas: Field) -> Pixels:
    """Round a canvas to integer color values."""
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def is_held_out(scene: Scene) -> bool:
    """Return whether this combination of shape, color, place and background is excluded from the base model's training.

    This is one combination in eleven; each single word stays common in the training.
    """
    number = (
        SHAPES.index(scene.thing)
        + 2 * list(COLORS).index(scene.color)
        + 3 * list(PLACES).index(scene.place)
        + 5 * list(BACKGROUNDS).index(scene.background)
    )
    return number % 11 == 0


def all_scenes() -> list[Scene]:
    """Return every combination of the known words, without variations, in a fixed order."""
    return [Scene(*words) for words in itertools.product(SHAPES, COLORS, PLACES, BACKGROUNDS)]


def _disturbed(rng: random.Random, scene: Scene) -> Scene:
    return Scene(
        scene.thing,
        scene.color,
        scene.place,
        scene.background,
        radius=rng.uniform(0.165, 0.2),
        dx=rng.uniform(-0.03, 0.03),
        dy=rng.uniform(-0.03, 0.03),
    )


def random_scene(rng: random.Random) -> Scene:
    """Return a scene for training the base model; some captions omit the place or the background."""
    while True:
        scene = Scene(
            rng.choice(SHAPES),
            rng.choice(list(COLORS)),
            rng.choice(list(PLACES)),
            rng.choice(list(BACKGROUNDS)),
        )
        if not is_held_out(scene):
            break
    scene = _disturbed(rng, scene)
    names_place, names_background = rng.choices([(1, 1), (0, 1), (1, 0), (0, 0)], [88, 5, 5, 2])[0]
    return Scene(
        scene.thing,
        scene.color,
        scene.place,
        scene.background,
        scene.radius,
        scene.dx,
        scene.dy,
        bool(names_place),
        bool(names_background),
    )


def known_scenes(count: int, seed: int) -> list[Scene]:
    """Return different random scenes of known words with complete captions; half of them are excluded from training."""
    rng = random.Random(seed)
    scenes = all_scenes()
    fresh = [scene for scene in scenes if is_held_out(scene)]
    seen = [scene for scene in scenes if not is_held_out(scene)]
    return rng.sample(fresh, count // 2) + rng.sample(seen, count - count // 2)


def new_scenes(count: int, seed: int) -> list[Scene]:
    """Return scenes of the trigger word with all places and backgrounds."""
    rng = random.Random(seed)
    pairs = list(itertools.product(PLACES, BACKGROUNDS))
    rng.shuffle(pairs)
    return [_disturbed(rng, Scene(TRIGGER_WORD, "", *pairs[number % len(pairs)])) for number in range(count)]


def regularization_scenes(count: int, seed: int) -> list[Scene]:
    """Return scenes of known words for regularization: every shape in every color in turn.

    None of them is a combination that is excluded from the base model's training.
    """
    rng = random.Random(seed)
    kinds = list(itertools.product(SHAPES, COLORS))
    scenes = []
    for number in range(count):
        thing, color = kinds[number % len(kinds)]
        while True:
            scene = _disturbed(rng, Scene(thing, color, rng.choice(list(PLACES)), rng.choice(list(BACKGROUNDS))))
            if not is_held_out(scene):
                break
        scenes.append(scene)
    return scenes

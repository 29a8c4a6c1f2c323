"""Write small images with captions and masks; their pixels are equal on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLORS = {"red": (210, 40, 50), "green": (40, 180, 70), "blue": (50, 60, 200), "bright": (250, 240, 120)}
SHAPES = ("circle", "square")


def pixels(number: int, width: int, height: int) -> np.ndarray:
    """Return an image of a shape on a gradient, (height, width, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([(x * 3 + number * 17) % 256, (y * 2 + number * 29) % 256, (x + y + number * 5) % 256], -1)
    color = list(COLORS.values())[number % len(COLORS)]
    across, down = width // 3 + number % 5, height // 3 + number % 7
    if number % len(SHAPES) == 0:
        inside = (x - across) ** 2 + (y - down) ** 2 < (min(width, height) // 4) ** 2
    else:
        inside = (abs(x - across) < width // 5) & (abs(y - down) < height // 5)
    base[inside] = color
    return base.astype(np.uint8)


def mask(number: int, width: int, height: int) -> np.ndarray:
    """Return a mask (height, width) uint8: white in the middle, gray to the right, black around."""
    y, x = np.mgrid[0:height, 0:width]
    inner = (x > width // 6) & (x < width * 3 // 4) & (y > height // (5 + number % 3)) & (y < height * 4 // 5)
    right = inner & (x > width // 2)
    return np.where(right, 128, np.where(inner, 255, 0)).astype(np.uint8)


def caption(number: int) -> str:
    """Return the caption of an image, with commas between its tags."""
    color, shape = list(COLORS)[number % len(COLORS)], SHAPES[number % len(SHAPES)]
    return f"a photo of a {color} {shape}, small background {number}, {'bright, ' * (number % 3)}photo"


def write_images(
    folder: Path, sizes: list[tuple[int, int]], *, first: int = 0, masks: bool = False, conditioning: bool = False
) -> Path:
    """Write one image per size (width, height) with its caption, and on request its mask and its conditioning image."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (width, height) in enumerate(sizes, first):
        path = folder / f"{number:02d}.png"
        Image.fromarray(pixels(number, width, height)).save(path)
        path.with_suffix(".txt").write_text(caption(number) + "\n", encoding="utf-8")
        if masks:
            Image.fromarray(mask(number, width, height)).save(path.with_name(f"{path.stem}-masklabel.png"))
        if conditioning:
            Image.fromarray(pixels(number + 50, width, height)).save(path.with_name(f"{path.stem}-condlabel.png"))
    return folder

"""Images made small for the page: as they are, and as one draw of the settings makes them. Runs in a process with limits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onetrainer_gradio.config.dataset.image_augmentation import ImageAugmentation
from onetrainer_gradio.config.dataset.images import decode_small

if TYPE_CHECKING:  # without previews, the panel does not import Pillow
    from PIL import Image

_WEBP_QUALITY = 80


def thumbnail(path: Path, width_px: int, height_px: int) -> bytes:
    """A small WebP of an image, upright, at most this wide and high.

    :raises BrokenImageError: when the file is no readable image, or too large.
    """
    image = decode_small(path, width_px)
    image.thumbnail((width_px, height_px))
    return _webp(image)


def preview(path: Path, augmentations: Sequence[ImageAugmentation], longest_px: int) -> list[bytes]:
    """A small WebP of an image as it is, then one of each draw, its longer side at most ``longest_px``.

    :raises BrokenImageError: when the file is no readable image, or too large.
    """
    opened = decode_small(path, max([longest_px, *(max(_scaled(augmentation, longest_px)[0]) for augmentation in augmentations)]))
    original = opened.copy()
    original.thumbnail((longest_px, 2 * longest_px))
    return [_webp(original), *(_webp(_augmented(opened, augmentation, longest_px)) for augmentation in augmentations)]


def _scaled(augmentation: ImageAugmentation, longest_px: int) -> tuple[tuple[int, int], tuple[int, int], float]:
    """Sizes (height, width) to which the image is scaled and cropped for the page, and the factor between them and the run's."""
    scale = min(1.0, longest_px / max(augmentation.size))
    height, width = (max(1, round(side * scale)) for side in augmentation.size)
    return (
        (max(height, round(augmentation.scaled[0] * scale)), max(width, round(augmentation.scaled[1] * scale))),
        (height, width),
        scale,
    )


def _augmented(opened: Image.Image, augmentation: ImageAugmentation, longest_px: int) -> Image.Image:
    from PIL import Image, ImageEnhance, ImageOps

    scaled, (height, width), scale = _scaled(augmentation, longest_px)
    top, left = round(augmentation.offset[0] * scale), round(augmentation.offset[1] * scale)
    image: Image.Image = opened.resize((scaled[1], scaled[0]), Image.Resampling.BILINEAR, reducing_gap=3.0)
    image = image.crop((left, top, left + width, top + height))
    if augmentation.flipped:
        image = ImageOps.mirror(image)
    if augmentation.angle:
        image = image.rotate(augmentation.angle, Image.Resampling.BILINEAR)
    for enhance, factor in (
        (ImageEnhance.Brightness, augmentation.brightness),
        (ImageEnhance.Contrast, augmentation.contrast),
        (ImageEnhance.Color, augmentation.saturation),
    ):
        if factor != 1.0:
            image = enhance(image).enhance(factor)
    if augmentation.hue:
        image = _other_hue(image, augmentation.hue)
    return image


def _other_hue(image: Image.Image, part: float) -> Image.Image:
    from PIL import Image

    hue, saturation, value = image.convert("HSV").split()
    moved = hue.point([(at + round(part * 255)) % 256 for at in range(256)])
    return Image.merge("HSV", (moved, saturation, value)).convert("RGB")


def _webp(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=_WEBP_QUALITY, method=2)
    return out.getvalue()

"""Pictures of concepts made small for the page: as they are, and as one draw of the settings makes them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onetrainer_gradio.config.augmentation import PictureDraw
from onetrainer_gradio.errors import DatasetError

if TYPE_CHECKING:  # a panel that shows no pictures does without Pillow
    from PIL import Image

_WEBP_QUALITY = 80


def thumbnail(path: Path, width_px: int) -> bytes:
    """A small WebP of a picture, upright, at most ``width_px`` wide and twice as high.

    :raises DatasetError: when the file is no readable picture.
    """
    with _opened(path, width_px) as picture:
        picture.thumbnail((width_px, 2 * width_px))
        return _webp(picture)


def drawn(path: Path, draw: PictureDraw, longest_px: int) -> bytes:
    """A picture as one draw makes it, as WebP, its longer side at most ``longest_px``.

    :raises DatasetError: when the file is no readable picture.
    """
    from PIL import Image, ImageEnhance, ImageOps

    scale = min(1.0, longest_px / max(draw.size))
    height, width = (max(1, round(side * scale)) for side in draw.size)
    scaled = max(height, round(draw.scaled[0] * scale)), max(width, round(draw.scaled[1] * scale))
    top, left = round(draw.offset[0] * scale), round(draw.offset[1] * scale)
    with _opened(path, max(scaled)) as opened:
        picture: Image.Image = opened.resize((scaled[1], scaled[0]), Image.Resampling.BILINEAR, reducing_gap=3.0)
    picture = picture.crop((left, top, left + width, top + height))
    if draw.mirrored:
        picture = ImageOps.mirror(picture)
    if draw.angle:
        picture = picture.rotate(draw.angle, Image.Resampling.BILINEAR)
    for enhance, factor in (
        (ImageEnhance.Brightness, draw.brightness),
        (ImageEnhance.Contrast, draw.contrast),
        (ImageEnhance.Color, draw.saturation),
    ):
        if factor != 1.0:
            picture = enhance(picture).enhance(factor)
    if draw.hue:
        picture = _other_hue(picture, draw.hue)
    return _webp(picture)


def _other_hue(picture: Image.Image, part: float) -> Image.Image:
    from PIL import Image

    hue, saturation, value = picture.convert("HSV").split()
    moved = hue.point([(at + round(part * 255)) % 256 for at in range(256)])
    return Image.merge("HSV", (moved, saturation, value)).convert("RGB")


@contextmanager
def _opened(path: Path, least_px: int) -> Iterator[Image.Image]:
    """The upright picture in RGB; a JPEG is decoded no larger than needed for ``least_px``."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")
            picture.draft("RGB", (least_px, least_px))
            yield ImageOps.exif_transpose(picture).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"{path.name} is no picture that can be shown: {error}",
            value=str(path),
            expected="a readable picture",
            change="remove the file, or put a whole one in its place",
        ) from error


def _webp(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=_WEBP_QUALITY, method=2)
    return out.getvalue()

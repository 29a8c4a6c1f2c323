"""Write changed images and masks, and compute image hashes. Runs in a process with limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.dataset.images import decode_small, decode_upright, is_rotated

_HASH_SIDE = 8
_HASHED_PX = 64
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


def write_edited(path: Path, to: Path, rotate: int, crop: Sequence[float] | None) -> None:
    """Write an upright image, cropped and then rotated clockwise by a multiple of 90 degrees, as PNG.

    ``crop`` is left, top, width and height as fractions of the upright image.

    :raises BrokenImageError: when it can't be read.
    :raises OSError: when it can't be written.
    """
    from PIL import Image

    image = decode_upright(path)
    profile = image.info.get("icc_profile")
    if crop:
        left, top = round(crop[0] * image.width), round(crop[1] * image.height)
        width, height = max(1, round(crop[2] * image.width)), max(1, round(crop[3] * image.height))
        image = image.crop((left, top, min(image.width, left + width), min(image.height, top + height)))
    turns = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
    if rotate:
        image = image.transpose(turns[rotate])
    if image.mode not in _PNG_MODES:
        image, profile = image.convert("RGB"), None if image.mode == "CMYK" else profile
    _write(image, to, profile)


def write_mask(path: Path, to: Path, size: tuple[int, int]) -> None:
    """Write an image as a grayscale PNG of a size (height, width); transparent pixels are black.

    :raises BrokenImageError: when it can't be read.
    :raises OSError: when it can't be written.
    """
    from PIL import Image

    image = decode_upright(path)
    if image.mode in ("RGBA", "LA", "PA", "P"):
        image = image.convert("RGBA")
        image = Image.composite(image.convert("L"), Image.new("L", image.size), image.getchannel("A"))
    image = image.convert("L")
    if image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    _write(image, to, None)


def fingerprint(path: Path) -> dict[str, Any]:
    """Return the difference ``hash`` of an image (hexadecimal; empty without ImageHash), and whether it is ``rotated``.

    :raises BrokenImageError: when it can't be read.
    """
    try:
        import imagehash
    except ImportError:
        return {"hash": "", "rotated": is_rotated(path)}
    return {"hash": str(imagehash.dhash(decode_small(path, _HASHED_PX), _HASH_SIDE)), "rotated": is_rotated(path)}


def _write(image: Any, to: Path, profile: bytes | None) -> None:
    with open(to, "xb") as file:
        image.save(file, "PNG", compress_level=4, icc_profile=profile)
        file.flush()
        os.fsync(file.fileno())

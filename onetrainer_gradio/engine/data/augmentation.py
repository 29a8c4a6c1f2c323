"""Apply augmentations to images, masks and conditioning images as tensors; the numbers are OneTrainer's.

Images and conditioning images are (3, H, W), masks (1, H, W), all with values 0 to 1. What moves pixels applies to all of them,
what changes colors to images and conditioning images only. ``config.dataset.image_augmentation`` draws the values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from onetrainer_gradio.config.dataset.buckets import Size
from onetrainer_gradio.config.dataset.image_augmentation import ImageAugmentation

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel."""
SMALLEST_CIRCLE = 0.2
"""The least radius of a circular mask, as a part of the largest."""
LARGEST_TURN = 20.0
"""The largest angle at which an image is rotated around its mask, in degrees."""
PADDING = (0.1, 0.3)
"""How much of the crop around a mask isn't masked, at least and at most, in each direction."""


def resized(image_CHW: Tensor, size_px: Size) -> Tensor:
    """Return the image scaled to ``size_px`` (bilinear, antialiased, computed in float32)."""
    if tuple(image_CHW.shape[1:]) == size_px:
        return image_CHW
    scaled = functional.interpolate(image_CHW[None].float(), size=size_px, mode="bilinear", align_corners=False, antialias=True)
    return scaled[0].to(image_CHW.dtype)


def moved(image_CHW: Tensor, augmentation: ImageAugmentation) -> Tensor:
    """Return the image scaled, cropped, flipped and rotated."""
    (y, x), (height, width) = augmentation.offset, augmentation.size
    image_CHW = resized(image_CHW, augmentation.scaled)[:, y : y + height, x : x + width]
    if augmentation.flipped:
        image_CHW = image_CHW.flip(2)
    return rotated(image_CHW, augmentation.angle) if augmentation.angle else image_CHW


def recolored(image_CHW: Tensor, augmentation: ImageAugmentation) -> Tensor:
    """Return the image with another brightness, contrast, saturation and hue, in this order."""
    if augmentation.brightness != 1.0:
        image_CHW = _mixed(image_CHW, torch.zeros_like(image_CHW), augmentation.brightness)
    if augmentation.contrast != 1.0:
        image_CHW = _mixed(image_CHW, _gray(image_CHW).mean(dim=(0, 1, 2), keepdim=True), augmentation.contrast)
    if augmentation.saturation != 1.0:
        image_CHW = _mixed(image_CHW, _gray(image_CHW), augmentation.saturation)
    return _other_hue(image_CHW, augmentation.hue) if augmentation.hue else image_CHW


def rotated(image_CHW: Tensor, angle: float, center_px: tuple[float, float] | None = None) -> Tensor:
    """Return the image rotated counter-clockwise by ``angle`` degrees around ``center_px`` (y, x), its middle by default.

    What comes from outside is black.
    """
    height, width = image_CHW.shape[1:]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    y, x = (0.0, 0.0) if center_px is None else (center_px[0] - height * 0.5, center_px[1] - width * 0.5)
    # where each pixel of the result comes from, relative to the middle of the image
    source = torch.tensor([[cos, sin], [-sin, cos], [x - cos * x + sin * y, y - sin * x - cos * y]])
    source = source / torch.tensor([0.5 * width, 0.5 * height])
    rows = torch.linspace(0.5 - height * 0.5, height * 0.5 - 0.5, steps=height)
    columns = torch.linspace(0.5 - width * 0.5, width * 0.5 - 0.5, steps=width)
    places = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width), torch.ones(height, width)], dim=-1)
    grid_HW2 = (places.reshape(-1, 3) @ source).reshape(height, width, 2)
    turned = functional.grid_sample(
        image_CHW[None].float(), grid_HW2[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return turned[0].to(image_CHW.dtype)


def _mixed(image_CHW: Tensor, other: Tensor, factor: float) -> Tensor:
    """Return ``other`` with a factor of 0, the image with 1, and beyond it with more."""
    return torch.clamp(factor * image_CHW + (1.0 - factor) * other, 0, 1)


def _gray(image_CHW: Tensor) -> Tensor:
    red, green, blue = image_CHW.unbind()
    gray: Tensor = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return gray[None]


def _other_hue(image_CHW: Tensor, part: float) -> Tensor:
    """Return the image with every color moved on by ``part`` of the color wheel; saturation and value stay (HSV).

    Computed in float32.
    """
    dtype, image_CHW = image_CHW.dtype, image_CHW.float()
    red, green, _ = image_CHW
    value, least = image_CHW.amax(0), image_CHW.amin(0)
    gray = value == least
    spread = value - least
    saturation = spread / torch.where(gray, torch.ones_like(value), value)
    to_red, to_green, to_blue = (value - image_CHW) / torch.where(gray, torch.ones_like(value), spread)
    sector = torch.where(
        value == red, to_blue - to_green, torch.where(value == green, 2.0 + to_red - to_blue, 4.0 + to_green - to_red)
    )
    hue = (torch.fmod(sector / 6.0 + 1.0, 1.0) + part) % 1.0
    whole = torch.floor(hue * 6.0)
    rest = hue * 6.0 - whole
    low = (value * (1.0 - saturation)).clamp(0, 1)
    falling = (value * (1.0 - saturation * rest)).clamp(0, 1)
    rising = (value * (1.0 - saturation * (1.0 - rest))).clamp(0, 1)
    levels = torch.stack([value, falling, low, low, rising, value])  # red in the six sectors of the wheel
    at = whole.to(torch.long)
    return torch.stack([levels.gather(0, ((at + turn) % 6)[None])[0] for turn in (0, 4, 2)]).to(dtype)


# -- masks --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MaskCrop:
    """An image is rotated by ``angle`` degrees around ``center_px`` (y, x), then cropped to ``size_px`` at ``offset_px``."""

    angle: float
    center_px: tuple[float, float]
    offset_px: Size
    size_px: Size

    def to_tensor(self) -> Tensor:
        """Return its numbers."""
        return torch.tensor([self.angle, *self.center_px, *self.offset_px, *self.size_px], dtype=torch.float64)

    @classmethod
    def from_tensor(cls, numbers: Tensor) -> MaskCrop:
        """Return the crop with these numbers."""
        angle, y, x, *places = numbers.tolist()
        top, left, height, width = map(int, places)
        return cls(angle, (y, x), (top, left), (height, width))


@dataclass(frozen=True, slots=True)
class Circle:
    """A circle within a mask: its center is sampled with ``seed``, its radius is ``part`` of the largest."""

    seed: int
    part: float


def sample_circle(random: Random) -> Circle:
    """Return a random circle within a mask."""
    return Circle(random.randint(0, 1 << 30), random.uniform(SMALLEST_CIRCLE, 1.0))


def shrunk_to_circle(mask_1HW: Tensor, circle: Circle) -> Tensor:
    """Return the mask limited to a circle around one of its pixels."""
    height, width = mask_1HW.shape[1:]
    noise = torch.rand(mask_1HW.shape, generator=torch.Generator().manual_seed(circle.seed))
    y, x = divmod(int(torch.argmax((noise * mask_1HW).flatten())), width)
    rows, columns = torch.arange(height) - float(y), torch.arange(width) - float(x)
    distance_1HW = torch.sqrt((rows * rows)[:, None] + columns * columns)[None].to(mask_1HW.dtype)
    radius = circle.part * (mask_1HW * distance_1HW).max().item()
    return mask_1HW * (distance_1HW <= radius).to(mask_1HW.dtype)


def sample_mask_crop(mask_1HW: Tensor, random: Random, smallest_px: int) -> MaskCrop:
    """Return a random rotation around the masked area, and a random crop around what becomes of it.

    A crop with less than ``smallest_px`` squared pixels is enlarged. Without a mask the image is only rotated.
    """
    height, width = mask_1HW.shape[1:]
    top, bottom, left, right = _masked_area(mask_1HW)
    center = (bottom + top) / 2, (right + left) / 2
    angle = random.uniform(-LARGEST_TURN, LARGEST_TURN)
    top, bottom, left, right = _masked_area(rotated(mask_1HW, angle, center))
    least, most = (tuple((side / (1 - part) - side) / 2 for side in (bottom - top, right - left)) for part in PADDING)
    top -= random.uniform(least[0], most[0])
    bottom += random.uniform(least[0], most[0])
    left -= random.uniform(least[1], most[1])
    right += random.uniform(least[1], most[1])
    if (area := (bottom - top) * (right - left)) <= 0:
        top, bottom, left, right = 0.0, float(height), 0.0, float(width)
    elif area < smallest_px * smallest_px:
        more = math.sqrt(smallest_px * smallest_px / area) - 1
        tall, wide = more * (bottom - top), more * (right - left)
        top, bottom, left, right = top - tall, bottom + tall, left - wide, right + wide
    (top, bottom), (left, right) = _inside(top, bottom, height), _inside(left, right, width)
    y, x = int(top), int(left)
    return MaskCrop(angle, center, (y, x), (int(bottom) - y, int(right) - x))


def cropped(image_CHW: Tensor, crop: MaskCrop) -> Tensor:
    """Return the image rotated and cropped."""
    (y, x), (height, width) = crop.offset_px, crop.size_px
    return rotated(image_CHW, crop.angle, crop.center_px)[:, y : y + height, x : x + width]


def _masked_area(mask_1HW: Tensor) -> tuple[float, float, float, float]:
    """Return the first and last masked row and column, or the edges of the image if nothing is masked."""
    found = []
    for length, dim in zip(mask_1HW.shape[1:], (2, 1), strict=True):
        masked = (mask_1HW.amax(dim=dim).flatten() > 0.5).nonzero().flatten()
        if not len(masked):
            return 0.0, float(mask_1HW.shape[1]), 0.0, float(mask_1HW.shape[2])
        # in half precision OneTrainer counts rows in half precision, too
        counted = torch.stack([length - masked[0], masked[-1]]).to(mask_1HW.dtype).tolist()
        found += [length - counted[0], counted[1]]
    top, bottom, left, right = found
    return top, bottom, left, right


def _inside(first: float, last: float, length: int) -> tuple[float, float]:
    """Return a range moved into 0 to ``length``, and cut where it doesn't fit."""
    if first < 0:
        first, last = 0.0, last - first
    if last > length:
        first, last = first + (length - last), float(length)
    return max(0.0, first), min(float(length), last)


def scaled_mask(mask_1HW: Tensor, factor: float) -> Tensor:
    """Return the mask (1, h, w) in the resolution of the latents, which is ``factor`` times that of the image."""
    height, width = mask_1HW.shape[1:]
    return resized(mask_1HW, (round(height * factor), round(width * factor)))


def masked_out(image_CHW: Tensor, mask_1HW: Tensor) -> Tensor:
    """Return the image with gray in place of what is masked: what an inpainting model is conditioned on."""
    return image_CHW * (1 - mask_1HW) + mask_1HW * 0.5

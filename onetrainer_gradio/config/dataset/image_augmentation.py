"""Augment images at random: crop, flip, rotation, brightness, contrast, saturation, hue.

The steps, their ranges and their order are OneTrainer's. Sizes are (height, width) in pixels. No image is changed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from onetrainer_gradio.config.dataset.buckets import Resolution, Size, covering, target
from onetrainer_gradio.config.declarations.concept import ConceptImageConfig

Draw = Callable[[str], Random]
"""Return the random generator of a step: ``bucket``, ``crop``, ``flip``, ``rotate``, ``brightness`` …"""


@dataclass(frozen=True, slots=True)
class ImageAugmentation:
    """One random augmentation: scaled to ``scaled``, cropped to ``size`` at ``offset`` (y, x), flipped, rotated, recolored.

    ``angle`` is in degrees, counter-clockwise; ``brightness``, ``contrast`` and ``saturation`` are factors, 1 changes nothing;
    ``hue`` is a fraction of the color wheel.
    """

    scaled: Size
    size: Size
    offset: Size
    flipped: bool = False
    angle: float = 0.0
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0

    def words(self) -> list[str]:
        """Return the changes in addition to scaling, as text."""
        slack = self.scaled[0] - self.size[0], self.scaled[1] - self.size[1]
        changes = []
        if any(slack):
            moved = any(abs(offset - rest // 2) > 0 for offset, rest in zip(self.offset, slack, strict=True))
            changes.append("cropped, moved" if moved else "cropped")
        if self.flipped:
            changes.append("flipped")
        if abs(self.angle) >= 0.05:
            changes.append(f"turned {self.angle:+.1f}°")
        for name in ("brightness", "contrast", "saturation"):
            if abs((factor := getattr(self, name)) - 1.0) >= 0.005:
                changes.append(f"{name} {factor - 1:+.0%}")
        if abs(self.hue) >= 0.005:
            changes.append(f"hue {self.hue:+.0%}")
        return changes


def sample_image_augmentation(
    size: Size, image: ConceptImageConfig, resolution: Resolution, multiple: int, draw: Draw, *, bucketing: bool
) -> ImageAugmentation:
    """Return one random augmentation of an image of ``size``; with several edge lengths, it selects one."""
    if len(resolution.edges) > 1:
        resolution = Resolution(edges=(draw("bucket").choice(resolution.edges),))
    goal = target(size, resolution, multiple, bucketing=bucketing)
    scaled = covering(size, goal)
    slack = scaled[0] - goal[0], scaled[1] - goal[1]
    if not image.enable_crop_jitter:
        offset = slack[0] // 2, slack[1] // 2
    elif any(slack):
        random = draw("crop")
        offset = random.randint(0, slack[0]), random.randint(0, slack[1])
    else:
        offset = 0, 0
    return ImageAugmentation(
        scaled,
        goal,
        offset,
        flipped=draw("flip").random() < 0.5 if image.enable_random_flip else image.enable_fixed_flip,
        angle=_drawn(image, "rotate", image.random_rotate_max_angle, draw, 0.0),
        brightness=max(0.0, _drawn(image, "brightness", image.random_brightness_max_strength, draw, 1.0)),
        contrast=max(0.0, _drawn(image, "contrast", image.random_contrast_max_strength, draw, 1.0)),
        saturation=max(0.0, _drawn(image, "saturation", image.random_saturation_max_strength, draw, 1.0)),
        hue=max(-0.5, min(0.5, _drawn(image, "hue", image.random_hue_max_strength * 0.5, draw, 0.0))),
    )


def _drawn(image: ConceptImageConfig, name: str, most: float, draw: Draw, neutral: float) -> float:
    """Return a value up to ``most`` away from ``neutral``; random takes precedence over fixed."""
    if getattr(image, f"enable_random_{name}"):
        return draw(name).uniform(neutral - most, neutral + most)
    return neutral + most if getattr(image, f"enable_fixed_{name}") else neutral

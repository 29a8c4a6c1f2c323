"""Augment images at random: crop, flip, rotation, brightness, contrast, saturation, hue.

The steps, their ranges and their order are OneTrainer's. Sizes are (height, width) in pixels. No image is changed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from onetrainer_gradio.config.dataset.buckets import Resolution, Size, covering, target
from onetrainer_gradio.config.declarations.concept import ConceptImageConfig


@dataclass(frozen=True)
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
        said = []
        if any(slack):
            moved = any(abs(offset - rest // 2) > 0 for offset, rest in zip(self.offset, slack, strict=True))
            said.append("cropped, moved" if moved else "cropped")
        if self.flipped:
            said.append("flipped")
        if abs(self.angle) >= 0.05:
            said.append(f"turned {self.angle:+.1f}°")
        for name in ("brightness", "contrast", "saturation"):
            if abs((factor := getattr(self, name)) - 1.0) >= 0.005:
                said.append(f"{name} {factor - 1:+.0%}")
        if abs(self.hue) >= 0.005:
            said.append(f"hue {self.hue:+.0%}")
        return said


def sample_image_augmentation(
    size: Size, image: ConceptImageConfig, resolution: Resolution, multiple: int, random: Random, *, bucketing: bool
) -> ImageAugmentation:
    """Return one random augmentation of an image of ``size``; with several edge lengths, it selects one."""
    if len(resolution.edges) > 1:
        resolution = Resolution(edges=(random.choice(resolution.edges),))
    goal = target(size, resolution, multiple, bucketing=bucketing)
    scaled = covering(size, goal)
    slack = scaled[0] - goal[0], scaled[1] - goal[1]
    jitter = image.enable_crop_jitter
    offset = (random.randint(0, slack[0]), random.randint(0, slack[1])) if jitter else (slack[0] // 2, slack[1] // 2)
    flipped = random.random() < 0.5 if image.enable_random_flip else image.enable_fixed_flip
    angle = _strength(image, "rotate", image.random_rotate_max_angle, random)
    factors = {
        name: max(0.0, 1.0 + _strength(image, name, getattr(image, f"random_{name}_max_strength"), random))
        for name in ("brightness", "contrast", "saturation")
    }
    hue = _strength(image, "hue", image.random_hue_max_strength, random) / 2
    return ImageAugmentation(scaled, goal, offset, flipped, angle, **factors, hue=max(-0.5, min(0.5, hue)))


def _strength(image: ConceptImageConfig, name: str, most: float, random: Random) -> float:
    """Return a random strength up to ``most``, or ``most`` itself, or 0; random takes precedence over fixed."""
    if getattr(image, f"enable_random_{name}"):
        return random.uniform(-most, most)
    return most if getattr(image, f"enable_fixed_{name}") else 0.0

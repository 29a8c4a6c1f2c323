"""Decide what becomes of an image, its mask and its conditioning image before they are encoded, and apply it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from onetrainer_gradio.config import ConceptConfig, TrainConfig
from onetrainer_gradio.config.dataset.buckets import Resolution, Size
from onetrainer_gradio.config.dataset.image_augmentation import ImageAugmentation, sample_image_augmentation
from onetrainer_gradio.engine.data import augmentation
from onetrainer_gradio.engine.data.augmentation import Circle, MaskCrop
from onetrainer_gradio.engine.data.buckets import parse
from onetrainer_gradio.engine.data.cache import TensorCache, fingerprint
from onetrainer_gradio.engine.data.images import Pixels, TrainingImage, read_mask
from onetrainer_gradio.engine.data.order import Item
from onetrainer_gradio.engine.data.seeds import Loader, StageSeeds

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Transform:
    """The transform of one image: the mask is shrunk, all are cropped around it, then augmented and brought to one size."""

    augmentation: ImageAugmentation
    circle: Circle | None = None
    crop: MaskCrop | None = None

    @property
    def size_px(self) -> Size:
        """Return the size of the encoded image."""
        return self.augmentation.size

    def original_size_px(self, image: TrainingImage) -> Size:
        """Return the size of the image before it is scaled."""
        return image.size_px if self.crop is None else self.crop.size_px

    def facts(self) -> list[Any]:
        """Return all numbers that the result depends on."""
        return [astuple(self.augmentation), self.circle and astuple(self.circle), self.crop and astuple(self.crop)]


def to_tensor(pixels: NDArray[Any], dtype: torch.dtype) -> Tensor:
    """Return an image (3, H, W) or a mask (1, H, W) with values 0 to 1."""
    tensor = torch.tensor(pixels)
    return (tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)).to(dtype) / 255


@dataclass
class Transforms:
    """The transforms of the images of a run.

    With cropping around masks, the size of an image depends on its mask, which is read when it is asked for first.
    """

    config: TrainConfig
    concepts: Mapping[int, ConceptConfig]
    loader: Loader
    seeds: StageSeeds
    size_multiple_px: int
    latent_factor: float
    dtype: torch.dtype
    store: TensorCache
    """Keeps the crops around masks, so that a mask is read once."""
    _crops: dict[tuple[int, int], MaskCrop] = field(default_factory=dict)
    _resolutions: dict[str, Resolution] = field(default_factory=dict)

    def of(self, item: Item) -> Transform:
        """Return the transform of an item.

        :raises BrokenImageError: if it depends on a mask that can't be read.
        """
        image = self.concepts[item.image.concept].image
        text = image.resolution_override if image.enable_resolution_override else self.config.resolution
        circle = self._circle(item)
        crop = self._crop(item, circle)
        augmentation = sample_image_augmentation(
            item.image.size_px if crop is None else crop.size_px,
            image,
            self._resolution(text),
            self.size_multiple_px,
            self.seeds.of_item(item.image_variation, item.image.index),
            bucketing=self.config.aspect_ratio_bucketing,
        )
        return Transform(augmentation, circle, crop)

    def reads_masks(self, concept: int) -> bool:
        """Return whether the sizes of the images of a concept depend on their masks."""
        return self.loader.masks and bool(getattr(self.concepts[concept].image, self.loader.crop_setting))

    def applied(self, pixels: Pixels, transform: Transform) -> Tensors:
        """Return ``image`` and, where the run needs them, ``conditioning`` (3, H, W), and ``mask`` at the size of the latents."""
        image = to_tensor(pixels.image, self.dtype)
        mask = self._mask(pixels.mask, (image.shape[1], image.shape[2]))
        custom = None if pixels.conditioning is None else to_tensor(pixels.conditioning, self.dtype)
        if transform.circle is not None and mask is not None:
            mask = augmentation.shrunk_to_circle(mask, transform.circle)
        if transform.crop is not None and mask is not None:
            # what has another size than the mask is brought to it, so that the crop shows the same part
            size = mask.shape[1], mask.shape[2]
            crop = transform.crop
            image = self._around_corners(augmentation.resized(image, size), lambda part: augmentation.cropped(part, crop))
            mask = augmentation.cropped(mask, transform.crop)
            custom = None if custom is None else augmentation.cropped(augmentation.resized(custom, size), transform.crop)
        image = self._augmented(image, transform)
        made: Tensors = {"image": image}
        if mask is not None:
            mask = augmentation.moved(mask, transform.augmentation)
            if self.loader.conditioning_input:
                masked_out = augmentation.masked_out(image, mask)
                made["conditioning"] = masked_out if custom is None else self._augmented(custom, transform)
            made["mask"] = augmentation.scaled_mask(mask, 1 / self.latent_factor)
        return made

    def _augmented(self, image_CHW: Tensor, transform: Transform) -> Tensor:
        moved_CHW = self._around_corners(image_CHW, lambda image: augmentation.moved(image, transform.augmentation))
        return augmentation.recolored(moved_CHW, transform.augmentation)

    def _around_corners(self, image_CHW: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        level = self.loader.corner_level
        return change(image_CHW - level) + level if level else change(image_CHW)

    def _mask(self, pixels: NDArray[Any] | None, size_px: Size) -> Tensor | None:
        """Return the mask; without a file, everything is masked."""
        if not self.loader.masks:
            return None
        return torch.ones(1, *size_px, dtype=self.dtype) if pixels is None else to_tensor(pixels, self.dtype)

    def _resolution(self, text: str) -> Resolution:
        if text not in self._resolutions:
            self._resolutions[text] = parse(text)
        return self._resolutions[text]

    def _circle(self, item: Item) -> Circle | None:
        concept = self.concepts[item.image.concept]
        if not (self.loader.masks and "shrink_mask" in self.seeds.place and concept.image.enable_random_circular_mask_shrink):
            return None
        return augmentation.sample_circle(self.seeds.random("shrink_mask", item.image_variation, item.image.index))

    def _crop(self, item: Item, circle: Circle | None) -> MaskCrop | None:
        if not self.reads_masks(item.image.concept):
            return None
        place = item.image.index, item.image_variation
        if place not in self._crops:
            smallest = min(self._resolution(self.config.resolution).numbers)
            mask = item.image.mask and [str(item.image.mask[0]), *item.image.mask[1]]
            facts = {
                "mask_crop": [self.seeds.place["rotate_crop"], *place, smallest, mask or item.image.size_px],
                "circle": circle and astuple(circle),
                "dtype": str(self.dtype),
            }
            held = self.store.get(key := fingerprint(facts)) if self.config.latent_caching else None
            crop = self._sampled_crop(item, circle, smallest) if held is None else MaskCrop.from_tensor(held["mask_crop"])
            if held is None and self.config.latent_caching:
                self.store.put(key, {"mask_crop": crop.to_tensor()})
            self._crops[place] = crop
        return self._crops[place]

    def _sampled_crop(self, item: Item, circle: Circle | None, smallest_px: int) -> MaskCrop:
        pixels = read_mask(item.image)
        mask = torch.ones(1, *item.image.size_px, dtype=self.dtype) if pixels is None else to_tensor(pixels, self.dtype)
        if circle is not None:
            mask = augmentation.shrunk_to_circle(mask, circle)
        random = self.seeds.random("rotate_crop", item.image_variation, item.image.index)
        return augmentation.sample_mask_crop(mask, random, smallest_px)

    def forget(self) -> None:
        """Forget what was decided by the numbers of images, because they changed."""
        self._crops.clear()

"""Compute the seeds of the data's randomness, equal to OneTrainer's.

OneTrainer's loader is a chain of stages; a stage uses ``Random(hash((42, place, variation, index)))``, where
``place`` is its position in the chain. Only the positions matter, so the chain is a list of names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

SEED = 42


@dataclass(frozen=True)
class Loader:
    """The facts of a run that decide which stages the loader has.

    ``text_stages`` are those between the caption and the tokens of all text encoders: two for each encoder (inserting
    embeddings, splitting into tokens) unless the family has others. ``precomputed`` text encoders aren't trained, so their
    output is computed here.
    """

    latent_caching: bool = True
    text_stages: int = 2
    precomputed: int = 1
    masked_training: bool = False
    custom_conditioning: bool = False
    mask_input: bool = False
    conditioning_input: bool = False
    depth_input: bool = False
    frames: bool = False
    vae_only: bool = False
    """The decoder of the VAE is trained: OneTrainer has a separate loader for it, without captions."""

    @property
    def masks(self) -> bool:
        """Return whether every image has a mask, loaded or empty."""
        return self.masked_training or self.mask_input

    @property
    def crop_setting(self) -> str:
        """Return the setting of a concept that turns on cropping around masks; OneTrainer's loader of the VAE has another one."""
        return "enable_random_circular_mask_shrink" if self.vae_only else "enable_random_mask_rotate_crop"

    @property
    def corner_level(self) -> float:
        """Return what a rotation moves into the corners, 0 to 1: OneTrainer's 0 is gray where values begin at -1."""
        return 0.5 if self.vae_only else 0.0


_Condition = Callable[[Loader], int]
"""Return how often a stage is in the chain."""


def _always(loader: Loader) -> int:
    return 1


_CHAIN: tuple[tuple[_Condition, str], ...] = (
    (_always, "concepts settings download collect_paths caption_path"),
    (lambda loader: loader.masked_training, "mask_path"),
    (lambda loader: loader.custom_conditioning, "conditioning_path"),
    (_always, "load_image load_video"),
    (lambda loader: loader.frames, "image_frames"),
    (_always, "load_captions load_concept_captions file_name_caption choose_caption_source choose_caption"),
    (lambda loader: loader.masks, "empty_mask"),
    (lambda loader: loader.masked_training, "load_mask"),
    (lambda loader: loader.custom_conditioning, "load_conditioning"),
    (lambda loader: loader.frames, "mask_frames"),
    (lambda loader: loader.masks, "shrink_mask rotate_crop"),
    (_always, "measure bucket crop flip rotate brightness contrast saturation hue drop_tags capitalize_tags shuffle_tags"),
    (lambda loader: loader.conditioning_input, "conditioning_image choose_conditioning"),
    (_always, "rescale encode_image sample_latents"),
    (lambda loader: loader.masks, "scale_mask"),
    (lambda loader: loader.conditioning_input, "rescale_conditioning encode_conditioning sample_conditioning"),
    (lambda loader: loader.depth_input, "scale_depth"),
    (lambda loader: loader.text_stages, "text"),
    (lambda loader: loader.precomputed, "encode_text"),
    (lambda loader: loader.latent_caching, "image_cache"),
    (lambda loader: loader.latent_caching and loader.precomputed > 0, "text_cache"),
    (_always, "sort_variations"),
    (lambda loader: loader.mask_input, "remove_mask"),
    (_always, "batches"),
)
_VAE_CHAIN: tuple[tuple[_Condition, str], ...] = (
    (_always, "concepts settings collect_paths"),
    (lambda loader: loader.masked_training, "mask_path"),
    (_always, "load_image"),
    (lambda loader: loader.masked_training, "load_mask rotate_crop"),
    (_always, "measure bucket crop flip rotate brightness contrast saturation hue encode_image"),
    (lambda loader: loader.latent_caching, "image_cache sort_variations"),
    (_always, "sample_latents batches"),
)


@dataclass(frozen=True)
class StageSeeds:
    """The position of each stage in the chain of a run."""

    place: Mapping[str, int]

    @classmethod
    def of(cls, loader: Loader) -> StageSeeds:
        """Return the seeds of a run."""
        stages = _VAE_CHAIN if loader.vae_only else _CHAIN
        chain = [name for times, names in stages for _ in range(times(loader)) for name in names.split()]
        return cls({name: place for place, name in enumerate(chain)})

    def random(self, stage: str, variation: int, index: int = -1) -> Random:
        """Return the generator of ``stage`` for one item (or, without ``index``, for a whole epoch)."""
        return Random(hash((SEED, self.place[stage], variation, index)))

    def of_item(self, variation: int, index: int) -> Callable[[str], Random]:
        """Return the generators of one item by stage."""
        return lambda stage: self.random(stage, variation, index)

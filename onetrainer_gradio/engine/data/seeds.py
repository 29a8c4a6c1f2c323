"""Compute the seeds of the data's randomness, equal to OneTrainer's.

OneTrainer's loader is a chain of stages; a stage uses ``Random(hash((42, place, variation, index)))``, where
``place`` is its position in the chain. The chain below is that of an image model with one text encoder, without masks;
only the positions matter, so it is a list of names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

SEED = 42

_READING = (
    "concepts",
    "settings",
    "download",
    "collect_paths",
    "caption_path",
    "load_image",
    "load_video",
    "load_captions",
    "load_concept_captions",
    "file_name_caption",
    "choose_caption_source",
    "choose_caption",
    "measure",
    "bucket",
    "crop",
    "flip",
    "rotate",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "drop_tags",
    "capitalize_tags",
    "shuffle_tags",
    "rescale",
    "encode_image",
    "sample_latents",
    "insert_embeddings",
    "tokenize",
)


@dataclass(frozen=True)
class StageSeeds:
    """The position of each stage in the chain of a run."""

    place: Mapping[str, int]

    @classmethod
    def of(cls, *, latent_caching: bool, text_fixed: bool) -> StageSeeds:
        """Return the seeds of a run; with ``text_fixed``, the text encoder isn't trained and its output is precomputed."""
        chain = list(_READING)
        if text_fixed:
            chain.append("encode_text")
        if latent_caching:
            chain.append("image_cache")
            if text_fixed:
                chain.append("text_cache")
        chain += ["sort_variations", "batches"]
        return cls({name: place for place, name in enumerate(chain)})

    def random(self, stage: str, variation: int, index: int = -1) -> Random:
        """Return the generator of ``stage`` for one item (or, without ``index``, for a whole epoch)."""
        return Random(hash((SEED, self.place[stage], variation, index)))

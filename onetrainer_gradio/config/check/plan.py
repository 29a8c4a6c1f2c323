"""The configuration under check, with the facts that several checks use."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.dataset.buckets import Resolution, Size, parse_resolution, target
from onetrainer_gradio.config.dataset.files import Folder
from onetrainer_gradio.config.dataset.reader import Captions, ImageSizeReader, Sizes
from onetrainer_gradio.config.declarations.concept import ConceptConfig
from onetrainer_gradio.config.declarations.setting import declared
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.walk import Leaf, is_path, leaves
from onetrainer_gradio.config.enums import ConceptType, TrainingMethod
from onetrainer_gradio.config.families.models import MODELS, UNFAMILIAR, ModelFacts
from onetrainer_gradio.config.files.resolve import absolute
from onetrainer_gradio.config.machine import Machine
from onetrainer_gradio.config.paths.destinations import Destinations


@dataclass(frozen=True)
class Plan:
    """A configuration with its folders, the machine that it is for, and the engine that trains (empty: not decided)."""

    config: TrainConfig
    base_folder: Path
    roots: tuple[Path, ...] = ()
    machine: Machine = field(default_factory=Machine)
    reader: ImageSizeReader = field(default_factory=ImageSizeReader)
    backend: str = ""
    checkout: str = ""

    def path(self, value: str) -> Path:
        """Return a path of the configuration as an absolute path. Another finding reports invalid characters."""
        known = self._absolute.get(value)
        if known is None:
            known = self._absolute[value] = absolute(value, self.base_folder)
        return known

    def is_folder(self, value: str) -> bool:
        """Return whether a path of the configuration is a folder. The answer is cached."""
        known = self._is_folder.get(value)
        if known is None:
            known = self._is_folder[value] = os.path.isdir(self.path(value))
        return known

    @cached_property
    def _absolute(self) -> dict[str, Path]:
        return {}

    @cached_property
    def _is_folder(self) -> dict[str, bool]:
        return {}

    def at(self, path: str) -> Any:
        """Return the value at a dotted path."""
        value: Any = self.config
        for name in path.split("."):
            value = value[int(name)] if isinstance(value, Sequence) else getattr(value, name)
        return value

    @cached_property
    def paths(self) -> tuple[Leaf, ...]:
        """Return every setting that is a path, with its value and declaration."""
        return tuple(leaves(self.config, is_path))

    @property
    def facts(self) -> ModelFacts:
        """Return the facts about the model type."""
        return MODELS.get(self.config.model_type, UNFAMILIAR)

    @cached_property
    def destinations(self) -> Destinations:
        """Return the rules for the output path."""
        checkout = Path(self.checkout) if self.checkout else None
        return Destinations(self.config, self.base_folder, self.base_folder, checkout)

    @property
    def denoiser(self) -> str:
        """Return the name of the component that predicts."""
        return self.facts.denoiser

    @staticmethod
    def called(part: str) -> str:
        """Return the label of a model component as it is written in a sentence."""
        label = declared(TrainConfig.model_fields[part]).label or part
        return label if label[1:] != label[1:].lower() else label.lower()

    @cached_property
    def loaded(self) -> tuple[str, ...]:
        """Return the loaded components: those of the model type, without the ones that aren't included."""
        return tuple(name for name in self.facts.parts if name not in self.facts.optional or self.at(f"{name}.include"))

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Return the components whose weights or LoRA are trained."""
        method = self.config.training_method
        if method is TrainingMethod.FINE_TUNE_VAE:
            return ("vae",)
        if method is TrainingMethod.EMBEDDING:
            return ()
        return tuple(name for name in self.facts.trained if name in self.loaded and self.at(f"{name}.train"))

    @property
    def captioned(self) -> tuple[tuple[int, ConceptConfig], ...]:
        """Return the enabled concepts whose captions are read: none if the VAE is trained."""
        return () if self.config.training_method is TrainingMethod.FINE_TUNE_VAE else self.concepts

    @cached_property
    def wants_embeddings(self) -> bool:
        """Return whether an embedding should be trained, alone or in addition to something else."""
        alone = self.config.training_method is TrainingMethod.EMBEDDING
        return (alone and self.config.embedding.train) or any(embedding.train for embedding in self.config.additional_embeddings)

    @cached_property
    def trains_embeddings(self) -> bool:
        """Return whether an embedding is trained: with several text encoders, at least one must take part."""
        encoders = self.facts.embedding_encoders
        taking_part = [name for name in encoders if name in self.loaded and self.at(f"{name}.train_embedding")]
        return self.wants_embeddings and (not encoders or bool(taking_part))

    @cached_property
    def with_gradients(self) -> tuple[str, ...]:
        """Return the components with gradients: the trained ones and, for embeddings, all from the prompt to the loss."""
        between = {self.denoiser, *self.facts.encoders} if self.trains_embeddings else set()
        return tuple(name for name in self.loaded if name in self.trained or name in between)

    @cached_property
    def devices(self) -> int:
        """Return how many devices train at the same time."""
        if not self.config.multi_gpu:
            return 1
        named = [part for part in self.config.device_indexes.split(",") if part.strip()]
        return max(1, len(named) or len(self.machine.gpus or ()))

    @property
    def batch(self) -> int:
        """Return the number of images per step on all devices together."""
        return max(1, self.config.batch_size) * self.devices

    @cached_property
    def concepts(self) -> tuple[tuple[int, ConceptConfig], ...]:
        """Return the enabled concepts with their positions."""
        return tuple((index, concept) for index, concept in enumerate(self.config.concepts or ()) if concept.enabled)

    @cached_property
    def folders(self) -> dict[int, Folder]:
        """Return the contents of the folder of each enabled concept, by its position; only of folders that exist."""
        videos = "video" in self.facts.traits
        return {
            index: self.reader.scan_folder(
                self.path(concept.path), concept.include_subdirectories, videos=videos, roots=self.roots
            )
            for index, concept in self.concepts
            if concept.path and self.is_folder(concept.path)
        }

    @cached_property
    def sizes(self) -> dict[int, Sizes]:
        """Return the image sizes of each enabled concept, as far as there was time to read them."""
        return {index: self.reader.read(folder.images) for index, folder in self.folders.items()}

    @cached_property
    def captions(self) -> dict[int, Captions]:
        """Return the caption files of each enabled concept with one file per image, as far as there was time."""
        return {
            index: self.reader.read_captions(self.folders[index].caption_files)
            for index, concept in self.concepts
            if index in self.folders and concept.text.prompt_source == "sample"
        }

    @property
    def resolution(self) -> Resolution | None:
        """Return the resolution, or None if it isn't valid."""
        return parse_resolution(self.config.resolution)

    def resolution_of(self, concept: ConceptConfig) -> Resolution | None:
        """Return the training resolution of a concept."""
        override = concept.image.enable_resolution_override
        return parse_resolution(concept.image.resolution_override) if override else self.resolution

    def readable(self, index: int) -> int:
        """Return the number of images and videos of a concept without those known to be unreadable."""
        return len(self.folders[index].items) - len(self.sizes[index].broken) if index in self.folders else 0

    def per_epoch(self, index: int, concept: ConceptConfig) -> int:
        """Return how many images of a concept are in an epoch, without the unreadable ones."""
        items = self.readable(index)
        if concept.type is ConceptType.VALIDATION or not items or not math.isfinite(concept.balancing):
            return 0
        return int(concept.balancing) if concept.balancing_strategy == "SAMPLES" else int(concept.balancing * items)

    @cached_property
    def buckets(self) -> Counter[Size] | None:
        """Return how many images of an epoch are in each bucket, or None if that is unknown.

        With several edge lengths, each image gets one at random per epoch, so there are no fixed buckets. The sizes of videos,
        and of images that weren't read in time, are unknown.
        """
        counts: Counter[Size] = Counter()
        for index, concept in self.concepts:
            wanted = self.per_epoch(index, concept)
            if index in self.folders and not self.folders[index].complete:
                return None
            if not wanted:
                continue
            resolution, read = self.resolution_of(concept), self.sizes[index]
            several = resolution is not None and len(set(resolution.edges)) > 1
            if resolution is None or several or not read.complete or len(read.sizes) < self.readable(index):
                return None
            shapes, each = self._shapes(read, resolution)
            for shape, number in each.items():
                counts[shape] += number * (wanted // len(shapes))
            counts.update(shapes[: wanted % len(shapes)])
        return counts

    def _shapes(self, read: Sizes, resolution: Resolution) -> tuple[list[Size], Counter[Size]]:
        """Return the training size of each image. Concepts with the same folder share the result."""
        known = self._known_shapes.get((id(read), resolution))
        if known is None:
            multiple, bucketing = self.facts.pixel_multiple, self.config.aspect_ratio_bucketing
            shapes = [target(size, resolution, multiple, bucketing=bucketing) for size in read.sizes]
            known = self._known_shapes[id(read), resolution] = (shapes, Counter(shapes))
        return known

    @cached_property
    def _known_shapes(self) -> dict[tuple[int, Resolution], tuple[list[Size], Counter[Size]]]:
        return {}

    @cached_property
    def steps_per_epoch(self) -> int | None:
        """Return the micro-batches per epoch, or None if that is unknown before the images are read."""
        if self.buckets is None:
            return None
        return sum(number // self.batch for number in self.buckets.values())

    @property
    def steps(self) -> int | None:
        """Return the micro-batches of the whole run."""
        return None if self.steps_per_epoch is None else self.steps_per_epoch * self.config.epochs

"""A configuration under examination, with what several checks need to know about it."""

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
from onetrainer_gradio.config.dataset.reader import Captions, PictureReader, Sizes
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
    """A configuration with its folders, the machine it is meant for, and who trains (empty: not decided)."""

    config: TrainConfig
    base_folder: Path
    roots: tuple[Path, ...] = ()
    machine: Machine = field(default_factory=Machine)
    reader: PictureReader = field(default_factory=PictureReader)
    backend: str = ""
    checkout: str = ""

    def path(self, value: str) -> Path:
        """A path of the configuration made absolute; characters that no path can hold are another finding."""
        known = self._absolute.get(value)
        if known is None:
            known = self._absolute[value] = absolute(value, self.base_folder)
        return known

    def is_folder(self, value: str) -> bool:
        """Whether a path of the configuration is a folder; asked of the file system once."""
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
        """The value at a dotted path."""
        value: Any = self.config
        for name in path.split("."):
            value = value[int(name)] if isinstance(value, Sequence) else getattr(value, name)
        return value

    @cached_property
    def paths(self) -> tuple[Leaf, ...]:
        """Every setting of the configuration that is a path, with its value and declaration."""
        return tuple(leaves(self.config, is_path))

    @property
    def facts(self) -> ModelFacts:
        """What is true of the model type."""
        return MODELS.get(self.config.model_type, UNFAMILIAR)

    @cached_property
    def destinations(self) -> Destinations:
        """The rule for where the result may go."""
        checkout = Path(self.checkout) if self.checkout else None
        return Destinations(self.config, self.base_folder, self.base_folder, checkout)

    @property
    def denoiser(self) -> str:
        """The part that predicts."""
        return self.facts.denoiser

    @staticmethod
    def called(part: str) -> str:
        """A part of the model by the name that users know, as it stands inside a sentence."""
        label = declared(TrainConfig.model_fields[part]).label or part
        return label if label[1:] != label[1:].lower() else label.lower()

    @cached_property
    def loaded(self) -> tuple[str, ...]:
        """The parts that are loaded: those that the type has, without the ones that are left out."""
        return tuple(name for name in self.facts.parts if name not in self.facts.optional or self.at(f"{name}.include"))

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """The parts whose weights, or adapters, are trained."""
        method = self.config.training_method
        if method is TrainingMethod.FINE_TUNE_VAE:
            return ("vae",)
        if method is TrainingMethod.EMBEDDING:
            return ()
        return tuple(name for name in self.facts.trained if name in self.loaded and self.at(f"{name}.train"))

    @cached_property
    def wants_embeddings(self) -> bool:
        """Whether an embedding is meant to be trained, alone or in addition to something else."""
        alone = self.config.training_method is TrainingMethod.EMBEDDING
        return alone or any(embedding.train for embedding in self.config.additional_embeddings)

    @cached_property
    def trains_embeddings(self) -> bool:
        """Whether an embedding is trained: with several text encoders, at least one has to take part in it."""
        encoders = self.facts.embedding_encoders
        taking_part = [name for name in encoders if name in self.loaded and self.at(f"{name}.train_embedding")]
        return self.wants_embeddings and (not encoders or bool(taking_part))

    @cached_property
    def with_gradients(self) -> tuple[str, ...]:
        """The parts that gradients run through: the trained ones, and for new words the way from the prompt to the loss."""
        on_the_way = {self.denoiser, *self.facts.encoders} if self.trains_embeddings else set()
        return tuple(name for name in self.loaded if name in self.trained or name in on_the_way)

    @cached_property
    def devices(self) -> int:
        """How many devices train at the same time."""
        if not self.config.multi_gpu:
            return 1
        named = [part for part in self.config.device_indexes.split(",") if part.strip()]
        return max(1, len(named) or len(self.machine.gpus or ()))

    @property
    def batch(self) -> int:
        """Pictures per step, all devices together."""
        return max(1, self.config.batch_size) * self.devices

    @cached_property
    def concepts(self) -> tuple[tuple[int, ConceptConfig], ...]:
        """The concepts in use with their positions."""
        return tuple((index, concept) for index, concept in enumerate(self.config.concepts or ()) if concept.enabled)

    @cached_property
    def folders(self) -> dict[int, Folder]:
        """What lies in the folder of each concept in use, by its position; folders that do not exist are left out."""
        videos = "video" in self.facts.traits
        return {
            index: self.reader.look_into(self.path(concept.path), concept.include_subdirectories, videos=videos, roots=self.roots)
            for index, concept in self.concepts
            if concept.path and self.is_folder(concept.path)
        }

    @cached_property
    def sizes(self) -> dict[int, Sizes]:
        """The sizes of the pictures of each concept in use, as far as there was time to read them."""
        return {index: self.reader.read(folder.pictures) for index, folder in self.folders.items()}

    @cached_property
    def captions(self) -> dict[int, Captions]:
        """The caption files of each concept in use that reads one per image, as far as there was time."""
        return {
            index: self.reader.read_captions(self.folders[index].caption_files)
            for index, concept in self.concepts
            if index in self.folders and concept.text.prompt_source == "sample"
        }

    @property
    def resolution(self) -> Resolution | None:
        """The resolution, or None when it cannot be understood."""
        return parse_resolution(self.config.resolution)

    def resolution_of(self, concept: ConceptConfig) -> Resolution | None:
        """The resolution that a concept is trained in."""
        override = concept.image.enable_resolution_override
        return parse_resolution(concept.image.resolution_override) if override else self.resolution

    def readable(self, index: int) -> int:
        """How many images and videos of a concept are left without those that can't be read, as far as that is known."""
        return len(self.folders[index].items) - len(self.sizes[index].broken) if index in self.folders else 0

    def per_epoch(self, index: int, concept: ConceptConfig) -> int:
        """How many pictures of a concept enter an epoch; those that can't be read don't."""
        items = self.readable(index)
        if concept.type is ConceptType.VALIDATION or not items or not math.isfinite(concept.balancing):
            return 0
        return int(concept.balancing) if concept.balancing_strategy == "SAMPLES" else int(concept.balancing * items)

    @cached_property
    def buckets(self) -> Counter[Size] | None:
        """How many pictures an epoch has in each bucket, or None when that cannot be told.

        With several edge lengths each picture draws one per epoch, so there are no fixed buckets; videos and pictures that
        there was no time for have unknown sizes.
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
        """The size in which each image is trained; concepts that share a folder share the answer."""
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
        """Micro-batches per epoch, or None when that cannot be told before the pictures are read."""
        if self.buckets is None:
            return None
        return sum(number // self.batch for number in self.buckets.values())

    @property
    def steps(self) -> int | None:
        """Micro-batches of the whole run."""
        return None if self.steps_per_epoch is None else self.steps_per_epoch * self.config.epochs

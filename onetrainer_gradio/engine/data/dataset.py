"""Provide the data of a run: collect images, encode those that aren't cached yet, and return batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from onetrainer_gradio.config import ConceptConfig, TrainConfig
from onetrainer_gradio.config.dataset.buckets import Size
from onetrainer_gradio.config.dataset.images import BrokenImageError
from onetrainer_gradio.engine.data import order
from onetrainer_gradio.engine.data.buckets import Target, crop_offset, parse, target
from onetrainer_gradio.engine.data.cache import TensorCache, fingerprint
from onetrainer_gradio.engine.data.images import TrainingImage, broken, collect, pixels
from onetrainer_gradio.engine.data.order import Group, Item
from onetrainer_gradio.engine.data.seeds import Loader, StageSeeds
from onetrainer_gradio.errors import DatasetError
from onetrainer_gradio.events import WarningIssued

MEMORY_BYTES = 1 << 30
"""How much of the cache is kept in memory, for images and captions each."""


Tensors = dict[str, Tensor]


class Encoder(Protocol):
    """The functions of a model that the data uses. The model decides which tensors an item has; here they are only named."""

    @property
    def size_multiple_px(self) -> int:
        """Return what the sides of training images are multiples of."""
        ...

    def loader(self) -> Loader:
        """Return the facts of the model that decide which stages OneTrainer's loader has."""
        ...

    def image_facts(self) -> dict[str, Any]:
        """Return everything except the image that its latents depend on."""
        ...

    def text_facts(self) -> dict[str, Any]:
        """Return everything except the caption that its encoding depends on."""
        ...

    def encode_image(self, image: Tensors) -> Tensors:
        """Return ``latents`` (C, h, w), not normalized, of ``image`` (3, H, W) with values 0 to 1."""
        ...

    def tokenize(self, caption: str) -> Tensors:
        """Return the tokens of a caption for each text encoder."""
        ...

    def encode_text(self, tokens: Tensors) -> Tensors:
        """Return the states of the text encoders that aren't trained, for the tokens of one caption."""
        ...

    def collate(self, items: Sequence[Tensors]) -> Tensors:
        """Return the batch of some items."""
        ...


@dataclass(frozen=True)
class ImageTransform:
    """The transform of an image before it is encoded."""

    target: Target
    offset_px: Size
    flip: bool


@dataclass(frozen=True)
class Batch:
    """The data of one micro-batch, on the CPU.

    ``tensors`` are those of the encoder, and the sizes of the images (B, 2) as height and width: ``original_size``,
    ``crop_offset`` in the scaled image (y, x), ``crop_size``.
    """

    tensors: Tensors
    loss_weight_B: Tensor
    images: tuple[Path, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Reports:
    """The callbacks of the data: warnings, progress ``(done, total)``, and a check that ends it by raising.

    ``encoding`` is called with "text" or "image" before such are encoded, so that the encoders can be moved to their device.
    """

    warn: Callable[[WarningIssued], None]
    progress: Callable[[int, int], None]
    raise_if_stop_requested: Callable[[], None]
    encoding: Callable[[str], None] = lambda kind: None


@dataclass(frozen=True)
class Collection:
    """The concepts of one kind (training or validation) by their number in the configuration, and their images."""

    concepts: dict[int, ConceptConfig]
    images: tuple[TrainingImage, ...]
    validation: bool

    @classmethod
    def of(cls, config: TrainConfig, reports: Reports, *, validation: bool, roots: Sequence[Path] = ()) -> Collection:
        """Read the image headers and the captions of the enabled concepts; files outside ``roots`` are omitted.

        :raises DatasetError: if a folder is missing or there are no images.
        """
        chosen = {
            number: concept
            for number, concept in enumerate(config.concepts or ())
            if concept.enabled and (concept.type == "VALIDATION") == validation
        }
        images = collect(tuple(chosen.items()), reports.warn, config.dataloader_threads, reports.raise_if_stop_requested, roots)
        return cls(chosen, tuple(images), validation)


def to_tensor(pixels_HWC: NDArray[Any], dtype: torch.dtype) -> Tensor:
    """Return an image (C, H, W) with values 0 to 1."""
    return torch.tensor(pixels_HWC).permute(2, 0, 1).to(dtype) / 255


def apply_transform(image_CHW: Tensor, transform: ImageTransform) -> Tensor:
    """Return the image scaled (bilinear, antialiased), cropped and flipped."""
    if tuple(image_CHW.shape[1:]) != transform.target.scale_px:
        scaled = functional.interpolate(
            image_CHW[None].float(), size=transform.target.scale_px, mode="bilinear", align_corners=False, antialias=True
        )
        image_CHW = scaled[0].to(image_CHW.dtype)
    (y, x), (height, width) = transform.offset_px, transform.target.crop_px
    image_CHW = image_CHW[:, y : y + height, x : x + width]
    return image_CHW.flip(2) if transform.flip else image_CHW


@dataclass
class Dataset:
    """Images and captions of the concepts of one kind (training or validation)."""

    config: TrainConfig
    encoder: Encoder
    reports: Reports
    batch_size: int
    text_fixed: bool
    dtype: torch.dtype
    groups: tuple[Group, ...]
    concepts: dict[int, ConceptConfig]
    _image_facts: dict[str, Any]
    _text_facts: dict[str, Any]
    _seeds: StageSeeds
    _images: TensorCache
    _texts: TensorCache
    _transforms: dict[tuple[int, int], ImageTransform] = field(default_factory=dict)
    _image_keys: dict[tuple[int, int], str] = field(default_factory=dict)
    _text_keys: dict[str, str] = field(default_factory=dict)
    _tokens: dict[str, Tensors] = field(default_factory=dict)
    _all_read: bool = False
    length: int = field(init=False, default=0)
    """The batches of the epoch that was planned last."""

    @classmethod
    def open(
        cls,
        config: TrainConfig,
        encoder: Encoder,
        reports: Reports,
        *,
        collection: Collection,
        text_fixed: bool,
        dtype: torch.dtype,
        facts: dict[str, Any],
    ) -> Dataset:
        """Open the data of a collection; ``facts`` are further facts that the encodings depend on."""
        cache = Path(config.cache_dir)
        return cls(
            config=config,
            encoder=encoder,
            reports=reports,
            batch_size=1 if collection.validation else config.batch_size,
            text_fixed=text_fixed,
            dtype=dtype,
            groups=_groups(collection.images, collection.concepts),
            concepts=collection.concepts,
            _image_facts=encoder.image_facts() | facts,
            _text_facts=encoder.text_facts() | facts,
            _seeds=StageSeeds.of(encoder.loader()),
            _images=TensorCache.of(cache, "image", MEMORY_BYTES),
            _texts=TensorCache.of(cache, "text", MEMORY_BYTES),
        )

    @property
    def images(self) -> int:
        """Return the number of images."""
        return sum(len(group.images) for group in self.groups)

    # -- what comes when ------------------------------------------------------------------------------------------------

    def items(self, epoch: int) -> list[Item]:
        """Return all items of an epoch, unshuffled."""
        cached = self.config.latent_caching
        return [
            item
            for group in self.groups
            for item in group.items(epoch, image_cached=cached, text_cached=cached and self.text_fixed)
        ]

    def plan(self, epoch: int) -> list[list[Item]]:
        """Plan the batches of an epoch.

        :raises DatasetError: if no bucket has enough images for a batch.
        """
        arrange = order.batches if self.config.latent_caching else order.inline_batches
        items = self.items(epoch)
        plan = arrange(items, self._size_of, self.batch_size, epoch, self._seeds)
        if not plan:
            counts = Counter(self._size_of(item) for item in items)
            listed = ", ".join(f"{width}x{height}: {count}" for (height, width), count in counts.items()) or "none"
            raise DatasetError(
                f"No bucket has enough images for a batch of {self.batch_size}: {listed}.",
                path="batch_size",
                value=self.batch_size,
                expected="at least one bucket with enough images",
                suggestion="Lower Batch size, add images, or raise Balancing of a concept.",
            )
        self.length = len(plan)
        return plan

    def batches(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number ``skip`` on, ready to train."""
        for items in islice(self.plan(epoch), skip, None):
            yield self.batch(items)

    def batch(self, items: Sequence[Item]) -> Batch:
        """Return the tensors of some items of one size."""
        captions = tuple(self.caption(item) for item in items)
        weights = [self.concepts[item.image.concept].loss_weight for item in items]
        return Batch(
            tensors=self.encoder.collate([self._tensors(item, caption) for item, caption in zip(items, captions, strict=True)]),
            loss_weight_B=torch.tensor(weights, dtype=torch.float32),
            images=tuple(item.image.path for item in items),
            captions=captions,
        )

    def _tensors(self, item: Item, caption: str) -> Tensors:
        transform = self.transform(item)
        sizes = {
            "original_size": item.image.size_px,
            "crop_offset": transform.offset_px,
            "crop_size": transform.target.crop_px,
        }
        return {
            **{name: torch.tensor(size) for name, size in sizes.items()},
            **self._latents(item),
            **self.tokens(caption),
            **(self._text(caption) if self.text_fixed else {}),
        }

    # -- what is cached -------------------------------------------------------------------------------------------------

    def prepare(self, epoch: int) -> None:
        """Encode everything that ``epoch`` needs and that isn't cached; unreadable images are reported and omitted."""
        if not self.config.latent_caching:
            self._read_through()
            return
        while True:
            items = self.items(epoch)
            images = {self._image_key(item): item for item in items}
            texts = {self._text_key(caption): caption for caption in map(self.caption, items)} if self.text_fixed else {}
            images = {key: item for key, item in images.items() if key not in self._images}
            texts = {key: caption for key, caption in texts.items() if key not in self._texts}
            total = len(images) + len(texts)
            if texts:
                self.reports.encoding("text")
            for done, (key, caption) in enumerate(texts.items(), 1):
                self._texts.put(key, self._encoded_text(caption))
                self._report_progress(done, total)
            if images:
                self.reports.encoding("image")
            unreadable = self._encode_images(images, len(texts), total)
            if not unreadable:
                return
            self._leave_out(unreadable)

    def _encode_images(self, images: dict[str, Item], done: int, total: int) -> set[int]:
        unreadable: set[int] = set()
        # Pillow reads in threads, torch computes here: threads that use torch leave OpenMP teams behind that slow later steps
        with ThreadPoolExecutor(max(1, self.config.dataloader_threads)) as pool:
            waiting = iter(images.items())
            ahead: list[tuple[str, Item, Future[NDArray[Any]]]] = []
            while True:
                for key, item in islice(waiting, 2 * self.config.dataloader_threads + 1 - len(ahead)):
                    ahead.append((key, item, pool.submit(pixels, item.image.path)))
                if not ahead:
                    return unreadable
                key, item, read = ahead.pop(0)
                try:
                    image = read.result()
                except BrokenImageError as error:
                    if item.image.index not in unreadable:
                        self.reports.warn(broken(item.image.path, error))
                    unreadable.add(item.image.index)
                else:
                    self._images.put(key, self._encoded(item, image))
                done += 1
                self._report_progress(done, total)

    def _read_through(self) -> None:
        """Read every image once at the start without a cache, so that a broken one doesn't end a later epoch."""
        if self._all_read:
            return
        images = [image for group in self.groups for image in group.images]
        unreadable = set()
        with ThreadPoolExecutor(max(1, self.config.dataloader_threads)) as pool:
            reads = [pool.submit(_readable, image.path) for image in images]
            try:
                for done, (image, read) in enumerate(zip(images, reads, strict=True), 1):
                    if (error := read.result()) is not None:
                        self.reports.warn(broken(image.path, error))
                        unreadable.add(image.index)
                    self._report_progress(done, len(images))
            finally:
                pool.shutdown(cancel_futures=True)
        self._leave_out(unreadable)
        self._all_read = True

    def _report_progress(self, done: int, total: int) -> None:
        self.reports.progress(done, total)
        self.reports.raise_if_stop_requested()

    def _leave_out(self, unreadable: set[int]) -> None:
        """Continue as if these images were not there, so the others get the numbers that they have without them."""
        if not unreadable:
            return
        left = [image for group in self.groups for image in group.images if image.index not in unreadable]
        if not left:
            raise DatasetError(
                "None of the images can be read.",
                path="concepts",
                expected="images that Pillow can open",
                suggestion="Replace the images that the warnings name.",
            )
        self.groups = _groups([replace(image, index=index) for index, image in enumerate(left)], self.concepts)
        self._transforms.clear()
        self._image_keys.clear()

    # -- one item -------------------------------------------------------------------------------------------------------

    def caption(self, item: Item) -> str:
        """Return the caption of an item: one of its image's captions, selected for each variation."""
        captions = item.image.captions
        if len(captions) == 1:
            return captions[0]
        return self._seeds.random("choose_caption", item.text_variation, item.image.index).choice(captions)

    def tokens(self, caption: str) -> Tensors:
        """Return the tokens of a caption."""
        if caption not in self._tokens:
            self._tokens[caption] = self.encoder.tokenize(caption)
        return self._tokens[caption]

    def transform(self, item: Item) -> ImageTransform:
        """Return the transform of the image of an item."""
        place = item.image.index, item.image_variation
        if place not in self._transforms:
            image = self.concepts[item.image.concept].image
            variation, index = item.image_variation, item.image.index
            text = image.resolution_override if image.enable_resolution_override else self.config.resolution
            goal = target(
                item.image.size_px,
                parse(text),
                self._seeds.random("bucket", variation, index),
                bucketing=self.config.aspect_ratio_bucketing,
                size_multiple_px=self.encoder.size_multiple_px,
            )
            offset = crop_offset(goal, self._seeds.random("crop", variation, index), jitter=image.enable_crop_jitter)
            drawn = image.enable_random_flip and self._seeds.random("flip", variation, index).random() < 0.5
            flip = drawn if image.enable_random_flip else image.enable_fixed_flip
            self._transforms[place] = ImageTransform(goal, offset, flip)
        return self._transforms[place]

    def _size_of(self, item: Item) -> Size:
        return self.transform(item).target.crop_px

    def _image_key(self, item: Item) -> str:
        place = item.image.index, item.image_variation
        if place not in self._image_keys:
            transform = self.transform(item)
            self._image_keys[place] = fingerprint(
                {
                    "encoder": self._image_facts,
                    "file": [str(item.image.path), *item.image.signature],
                    "scale_px": transform.target.scale_px,
                    "crop_px": transform.target.crop_px,
                    "offset_px": transform.offset_px,
                    "flip": transform.flip,
                }
            )
        return self._image_keys[place]

    def _text_key(self, caption: str) -> str:
        if caption not in self._text_keys:
            self._text_keys[caption] = fingerprint({"encoder": self._text_facts, "caption": caption})
        return self._text_keys[caption]

    def _encoded(self, item: Item, image_HWC: NDArray[Any]) -> Tensors:
        image_CHW = apply_transform(to_tensor(image_HWC, self.dtype), self.transform(item))
        return _on_cpu(self.encoder.encode_image({"image": image_CHW}))

    def _encoded_text(self, caption: str) -> Tensors:
        return _on_cpu(self.encoder.encode_text(self.tokens(caption)))

    def _latents(self, item: Item) -> Tensors:
        if not self.config.latent_caching:
            return self._encoded(item, pixels(item.image.path))
        key = self._image_key(item)
        held = self._images.get(key)
        if held is None:  # someone cleared the cache meanwhile, or the file is damaged
            held = self._encoded(item, pixels(item.image.path))
            self._images.put(key, held)
        return held

    def _text(self, caption: str) -> Tensors:
        if not self.config.latent_caching:
            return self._encoded_text(caption)
        key = self._text_key(caption)
        held = self._texts.get(key)
        if held is None:
            held = self._encoded_text(caption)
            self._texts.put(key, held)
        return held


def _on_cpu(tensors: Tensors) -> Tensors:
    return {name: tensor.cpu() for name, tensor in tensors.items()}


def _readable(path: Path) -> BaseException | None:
    """Return the problem with an image, if any."""
    try:
        pixels(path)
    except BrokenImageError as error:
        return error
    return None


def _groups(images: Sequence[TrainingImage], concepts: dict[int, ConceptConfig]) -> tuple[Group, ...]:
    groups = []
    for number, concept in concepts.items():
        own = tuple(image for image in images if image.concept == number)
        if own:
            samples = order.samples_per_epoch(concept.balancing_strategy, concept.balancing, len(own))
            groups.append(Group(own, samples, concept.image_variations, concept.text_variations))
    return tuple(groups)

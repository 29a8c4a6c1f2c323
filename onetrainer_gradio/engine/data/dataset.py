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
from torch import Tensor

from onetrainer_gradio.config import ConceptConfig, TrainConfig
from onetrainer_gradio.config.dataset.buckets import Size
from onetrainer_gradio.config.dataset.images import BrokenImageError
from onetrainer_gradio.config.declarations.concept import ConceptTextConfig
from onetrainer_gradio.engine.data import order
from onetrainer_gradio.engine.data.cache import TensorCache, fingerprint
from onetrainer_gradio.engine.data.captions import CaptionChooser
from onetrainer_gradio.engine.data.images import Extras, Pixels, TrainingImage, broken, collect, read_all
from onetrainer_gradio.engine.data.order import Group, Item
from onetrainer_gradio.engine.data.seeds import Loader, StageSeeds
from onetrainer_gradio.engine.data.transforms import Tensors, Transform, Transforms
from onetrainer_gradio.errors import DatasetError
from onetrainer_gradio.events import WarningIssued

MEMORY_BYTES = 1 << 30
"""How much of the cache is kept in memory, for images and captions each."""
_MAX_TOKENS = 20_000
"""The captions whose tokens are kept."""


class Encoder(Protocol):
    """The functions of a model that the data uses. The model decides which tensors an item has; here they are only named."""

    @property
    def size_multiple_px(self) -> int:
        """Return what the sides of training images are multiples of."""
        ...

    @property
    def latent_factor(self) -> float:
        """Return the width of an image divided by that of what the loss compares, which masks have as well: mostly latents."""
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
        """Return ``latents`` (C, h, w), not normalized, of ``image`` (3, H, W) with values 0 to 1.

        ``conditioning`` becomes ``conditioning_latents`` in the same way. Further tensors are cached and batched, too.
        """
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
class Batch:
    """The data of one micro-batch, on the CPU.

    ``tensors`` are those of the encoder, the sizes of the images (B, 2) as height and width: ``original_size``,
    ``crop_offset`` in the scaled image (y, x), ``crop_size``, and, where the run has masks, ``mask`` (B, 1, h, w). ``prior``:
    the images of concepts with prior prediction.
    """

    tensors: Tensors
    loss_weight_B: Tensor
    images: tuple[Path, ...]
    captions: tuple[str, ...]
    prior: tuple[bool, ...]


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
    roots: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls, config: TrainConfig, reports: Reports, *, validation: bool, roots: Sequence[Path] = (), captions: bool = True
    ) -> Collection:
        """Read the image headers and the captions of the enabled concepts; files outside ``roots`` are omitted.

        Without ``captions``, the names of the images stand for them, so nothing is read, chosen or augmented.

        :raises DatasetError: if a folder is missing or there are no images.
        """
        chosen = {
            number: concept if captions else concept.model_copy(update={"text": ConceptTextConfig(prompt_source="filename")})
            for number, concept in enumerate(config.concepts or ())
            if concept.enabled and (concept.type == "VALIDATION") == validation
        }
        extras = Extras(masks=config.masked_training, conditioning=config.custom_conditioning_image)
        threads, stopping = config.dataloader_threads, reports.raise_if_stop_requested
        images = collect(tuple(chosen.items()), reports.warn, threads, stopping, roots, extras)
        return cls(chosen, tuple(images), validation, tuple(roots))


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
    _image_facts: str
    _text_facts: str
    _seeds: StageSeeds
    _loader: Loader
    _images: TensorCache
    _texts: TensorCache
    _all_transforms: Transforms
    _choosers: dict[int, CaptionChooser]
    _transforms: dict[tuple[int, int], Transform] = field(default_factory=dict)
    _image_keys: dict[tuple[int, int], str] = field(default_factory=dict)
    _text_keys: dict[str, str] = field(default_factory=dict)
    _tokens: dict[str, Tensors] = field(default_factory=dict)
    _all_read: bool = False
    _epoch: int = -1
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
        cache, loader = Path(config.cache_dir), encoder.loader()
        seeds, images = StageSeeds.of(loader), TensorCache.of(cache, "image", MEMORY_BYTES)
        return cls(
            config=config,
            encoder=encoder,
            reports=reports,
            batch_size=1 if collection.validation else config.batch_size,
            text_fixed=text_fixed,
            dtype=dtype,
            groups=_groups(collection.images, collection.concepts),
            concepts=collection.concepts,
            _image_facts=fingerprint({**encoder.image_facts(), **facts}),
            _text_facts=fingerprint({**encoder.text_facts(), **facts}),
            _seeds=seeds,
            _loader=loader,
            _images=images,
            _texts=TensorCache.of(cache, "text", MEMORY_BYTES),
            _all_transforms=Transforms(
                config, collection.concepts, loader, seeds, encoder.size_multiple_px, encoder.latent_factor, dtype, images
            ),
            _choosers=_choosers(collection),
        )

    @property
    def images(self) -> int:
        """Return the number of images."""
        return sum(len(group.images) for group in self.groups)

    # -- what comes when ------------------------------------------------------------------------------------------------

    def items(self, epoch: int) -> list[Item]:
        """Return all items of an epoch, unshuffled."""
        if epoch != self._epoch:  # entries of other epochs would add up
            self._forget()
            self._epoch = epoch
        cached = self.config.latent_caching
        items: list[Item] = []
        for group in self.groups:
            items += group.items(epoch, len(items), image_cached=cached, text_cached=cached and self.text_fixed)
        return items

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
        concepts = [self.concepts[item.image.concept] for item in items]
        return Batch(
            tensors=self.encoder.collate([self._tensors(item, caption) for item, caption in zip(items, captions, strict=True)]),
            loss_weight_B=torch.tensor([concept.loss_weight for concept in concepts], dtype=torch.float32),
            images=tuple(item.image.path for item in items),
            captions=captions,
            prior=tuple(concept.type == "PRIOR_PREDICTION" for concept in concepts),
        )

    def _tensors(self, item: Item, caption: str) -> Tensors:
        transform = self.transform(item)
        sizes = {
            "original_size": transform.original_size_px(item.image),
            "crop_offset": transform.augmentation.offset,
            "crop_size": transform.size_px,
        }
        return {
            **{name: torch.tensor(size) for name, size in sizes.items()},
            **self._latents(item),
            **(self._unmasked(item) if self._is_unmasked(item) else {}),
            **self.tokens(caption),
            **(self._text(caption) if self.text_fixed else {}),
        }

    def _is_unmasked(self, item: Item) -> bool:
        """Return whether a model with a mask as input gets a full mask this time."""
        if not (self._loader.mask_input and self.config.unmasked_probability > 0):
            return False
        return self._seeds.random("remove_mask", item.epoch, item.place).random() < self.config.unmasked_probability

    def _unmasked(self, item: Item) -> Tensors:
        """Return a full mask, and the latents of an image without content."""
        held = self._blank(self.transform(item).size_px)
        return {name: held[name] for name in ("mask", "conditioning_latents") if name in held}

    def _blank(self, size_px: Size) -> Tensors:
        key = self._blank_key(size_px)
        held = self._images.get(key)
        if held is None:
            blank = {"mask": torch.ones(1, *_scaled(size_px, self.encoder.latent_factor), dtype=self.dtype)}
            if self._loader.conditioning_input:
                gray = torch.full((3, *size_px), 0.5, dtype=self.dtype)  # 0 between -1 and 1
                blank |= _on_cpu(self.encoder.encode_image({"conditioning": gray}))
            self._images.put(key, blank)
            held = blank
        return held

    def _blank_key(self, size_px: Size) -> str:
        return fingerprint({"encoder": self._image_facts, "blank": size_px})

    # -- what is cached -------------------------------------------------------------------------------------------------

    def prepare(self, epoch: int) -> None:
        """Encode everything that ``epoch`` needs and that isn't cached; unreadable images are reported and omitted."""
        if not self.config.latent_caching:
            self._read_through()
            return
        while True:
            items = self.items(epoch)
            unreadable = self._read_masks(items)
            if not unreadable:
                images, texts = self.uncached(items)
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
                self._encode_blanks(items)
                return
            self._leave_out(unreadable)

    def uncached(self, items: Sequence[Item]) -> tuple[dict[str, Item], dict[str, str]]:
        """Return which images and captions of ``items`` must be encoded, by the keys of their encodings."""
        return self._uncached_images(items), self._uncached_texts(items)

    def _uncached_texts(self, items: Sequence[Item]) -> dict[str, str]:
        if not self.text_fixed:
            return {}
        texts: dict[str, str] = {}
        for caption in dict.fromkeys(map(self.caption, items)):
            if (key := self._text_key(caption)) not in self._texts:
                texts[key] = caption
        return texts

    def _uncached_images(self, items: Sequence[Item]) -> dict[str, Item]:
        images: dict[str, Item] = {}
        for item in items:
            if (key := self._image_key(item)) not in images and key not in self._images:
                images[key] = item
        return images

    def _read_masks(self, items: Sequence[Item]) -> set[int]:
        """Decide the transforms that depend on masks; return the numbers of images whose masks can't be read."""
        unreadable: set[int] = set()
        for item in items:
            if self._all_transforms.reads_masks(item.image.concept):
                self.reports.raise_if_stop_requested()
                try:
                    self.transform(item)
                except BrokenImageError as error:
                    if item.image.index not in unreadable:
                        self.reports.warn(broken(item.image.path, error))
                    unreadable.add(item.image.index)
        return unreadable

    def _encode_blanks(self, items: Sequence[Item]) -> None:
        """Encode what images are replaced with whose mask is removed."""
        sizes = dict.fromkeys(self._size_of(item) for item in items if self._is_unmasked(item))
        missing = [size for size in sizes if self._blank_key(size) not in self._images]
        if missing:
            self.reports.encoding("image")
        for size in missing:
            self._blank(size)

    def _encode_images(self, images: dict[str, Item], done: int, total: int) -> set[int]:
        unreadable: set[int] = set()
        # Pillow reads in threads, torch computes here: threads that use torch leave OpenMP teams behind that slow later steps
        with ThreadPoolExecutor(max(1, self.config.dataloader_threads)) as pool:
            waiting = iter(images.items())
            ahead: list[tuple[str, Item, Future[Pixels]]] = []
            while True:
                for key, item in islice(waiting, 2 * self.config.dataloader_threads + 1 - len(ahead)):
                    ahead.append((key, item, pool.submit(read_all, item.image)))
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
            reads = [pool.submit(_readable, image) for image in images]
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
        self._forget()
        self._all_transforms.forget()

    def _forget(self) -> None:
        self._transforms.clear()
        self._image_keys.clear()
        self._text_keys.clear()

    # -- one item -------------------------------------------------------------------------------------------------------

    def caption(self, item: Item) -> str:
        """Return the caption of an item: one of its image's captions, selected and augmented for each variation."""
        draw = self._seeds.of_item(item.text_variation, item.image.index)
        return self._choosers[item.image.concept].caption(item.image.captions, draw)

    def tokens(self, caption: str) -> Tensors:
        """Return the tokens of a caption."""
        if caption not in self._tokens:
            if len(self._tokens) >= _MAX_TOKENS:
                self._tokens.clear()
            self._tokens[caption] = self.encoder.tokenize(caption)
        return self._tokens[caption]

    def transform(self, item: Item) -> Transform:
        """Return the transform of the image of an item.

        :raises BrokenImageError: if it depends on a mask that can't be read.
        """
        place = item.image.index, item.image_variation
        if place not in self._transforms:
            self._transforms[place] = self._all_transforms.of(item)
        return self._transforms[place]

    def _size_of(self, item: Item) -> Size:
        return self.transform(item).size_px

    def _image_key(self, item: Item) -> str:
        place = item.image.index, item.image_variation
        if place not in self._image_keys:
            self._image_keys[place] = fingerprint(
                {
                    "encoder": self._image_facts,
                    "files": [_identity(item.image.path, item.image.signature), *self._extras(item.image)],
                    "transform": self.transform(item).facts(),
                    "latent_factor": self.encoder.latent_factor if self._loader.masks else None,
                    "conditioning": self._loader.conditioning_input,
                }
            )
        return self._image_keys[place]

    def _text_key(self, caption: str) -> str:
        if caption not in self._text_keys:
            self._text_keys[caption] = fingerprint({"encoder": self._text_facts, "caption": caption})
        return self._text_keys[caption]

    def _extras(self, image: TrainingImage) -> list[Any]:
        """Return the identity of mask and conditioning image, if the run uses them."""
        mask = image.mask if self._loader.masks else None
        conditioning = image.conditioning if self._loader.conditioning_input else None
        return [extra and _identity(*extra) for extra in (mask, conditioning)]

    def _encoded(self, item: Item, pixels: Pixels) -> Tensors:
        made = self._all_transforms.applied(pixels, self.transform(item))
        mask = {"mask": made.pop("mask")} if "mask" in made else {}
        return _on_cpu(self.encoder.encode_image(made) | mask)

    def _encoded_text(self, caption: str) -> Tensors:
        return _on_cpu(self.encoder.encode_text(self.tokens(caption)))

    def _latents(self, item: Item) -> Tensors:
        if not self.config.latent_caching:
            return self._encoded(item, read_all(item.image))
        key = self._image_key(item)
        held = self._images.get(key)
        if held is None:  # someone cleared the cache meanwhile, or the file is damaged
            held = self._encoded(item, read_all(item.image))
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


def _identity(path: Path, signature: tuple[int, int]) -> list[Any]:
    return [str(path), *signature]


def _scaled(size_px: Size, factor: float) -> Size:
    return round(size_px[0] / factor), round(size_px[1] / factor)


def _choosers(collection: Collection) -> dict[int, CaptionChooser]:
    captions: dict[int, list[str]] = {number: [] for number in collection.concepts}
    for image in collection.images:
        captions[image.concept] += image.captions
    return {
        number: CaptionChooser.of(concept, captions[number], collection.roots) for number, concept in collection.concepts.items()
    }


def _readable(image: TrainingImage) -> BaseException | None:
    """Return the problem with an image, if any."""
    try:
        read_all(image)
    except BrokenImageError as error:
        return error
    return None


def _groups(images: Sequence[TrainingImage], concepts: dict[int, ConceptConfig]) -> tuple[Group, ...]:
    groups = []
    own: dict[int, list[TrainingImage]] = {number: [] for number in concepts}
    for image in images:
        own[image.concept].append(image)
    for number, concept in concepts.items():
        if found := own[number]:
            samples = order.samples_per_epoch(concept.balancing_strategy, concept.balancing, len(found))
            groups.append(Group(tuple(found), samples, concept.image_variations, concept.text_variations))
    return tuple(groups)

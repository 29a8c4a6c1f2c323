"""Provide the data of the concepts' folders for the page: statistics, thumbnails, and an augmentation preview.

Statistics decode no images. A scan takes a limited time (2 s, gradually up to 16 s for large folders) and continues where it
stopped at the next request. The results for a folder are valid until its fingerprint changes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.dataset.buckets import Resolution, Size, target
from onetrainer_gradio.config.dataset.caption_augmentation import augment_caption, special_tags, tags_of
from onetrainer_gradio.config.dataset.captions import UnreadableTextError, read_text
from onetrainer_gradio.config.dataset.files import Folder, scan_folder, shown
from onetrainer_gradio.config.dataset.image_augmentation import sample_image_augmentation
from onetrainer_gradio.config.dataset.images import size_of
from onetrainer_gradio.config.dataset.reader import Captions, ImageSizeReader, Sizes
from onetrainer_gradio.config.declarations.concept import ConceptConfig
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.enums import ConceptType
from onetrainer_gradio.config.families.models import MODELS, UNFAMILIAR
from onetrainer_gradio.config.files.resolve import absolute
from onetrainer_gradio.errors import ConfigValueError, DatasetError, ForbiddenPathError, PathNotFoundError
from onetrainer_gradio.service.datasets.conversion import convert_captions, convert_images
from onetrainer_gradio.service.datasets.image_decoder import ImageDecoder
from onetrainer_gradio.service.datasets.thumbnails import Thumbnails
from onetrainer_gradio.service.host.path_guard import PathGuard

MAX_VARIANTS = 12

_LOOK_S, _LONGEST_LOOK_S = 2.0, 16.0
_PREVIEW_PX = 320
_MAX_NAMES = 8
_MAX_TAGS = 12
_FORMAT = "this format isn't supported"
_MASKED = ("enable_random_circular_mask_shrink", "enable_random_mask_rotate_crop")


@dataclass(frozen=True)
class _Statistics:
    """Statistics of the captions of a folder: words per caption, and tag frequencies."""

    words: tuple[int, ...] = ()
    tags: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, captions: Captions) -> _Statistics:
        words: list[int] = []
        tags: Counter[str] = Counter()
        for _, text in captions.texts:
            if content := text.content.strip():
                words.append(len(content.split()))
                tags.update(list(dict.fromkeys(tag for tag in tags_of(content, ",") if tag)))
        return cls(tuple(words), tags)


@dataclass(frozen=True)
class _Look:
    """The state of a folder at a fingerprint."""

    fingerprint: str
    folder: Folder
    bytes: int
    captions: Captions
    statistics: _Statistics


@dataclass
class FolderReader(ImageSizeReader):
    """A reader that caches statistics until a file in a folder is added, removed or changed."""

    looks: dict[tuple[Path, bool, bool], _Look] = field(default_factory=dict, repr=False)
    recent: dict[tuple[Path, bool, bool], _Look] = field(default_factory=dict, repr=False)

    def renew(self) -> None:
        """Restart the time limit; folders are scanned again."""
        super().renew()
        self.recent.clear()

    def look(self, folder: Path, with_subfolders: bool, *, videos: bool = False, roots: Sequence[Path] = ()) -> _Look:
        """Return the result of ``scan_folder``, with further facts about the folder."""
        key = (folder, with_subfolders, videos)
        if key in self.recent:
            return self.recent[key]
        found = self.scan_folder(folder, with_subfolders, videos=videos, roots=roots)
        captions = self.read_captions(found.caption_files)
        started = self.clock()
        fingerprint, size = fingerprint_of(found)
        known = self.looks.get(key)
        if known is None or (known.fingerprint, known.folder, known.captions) != (fingerprint, found, captions):
            known = self.looks[key] = _Look(fingerprint, found, size, captions, _Statistics.of(captions))
        self._spent_s += self.clock() - started
        self.recent[key] = known
        return known


def fingerprint_of(folder: Folder) -> tuple[str, int]:
    """Return a text that changes when an image or caption is added, removed or changed, and the bytes of the images."""
    digest, size = hashlib.sha256(), 0
    for item in folder.items:
        for path in (item, folder.caption_of(item)):
            if path is None:
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
            size += status.st_size if path is item else 0
    return digest.hexdigest()[:16], size


class ConceptStore:
    """Scan the folders of concepts, inside the allowed ones (``roots``; none: everywhere). Safe from any thread."""

    def __init__(
        self,
        base_folder: Path,
        roots: Sequence[Path],
        cache_folder: Path,
        reader: FolderReader | None = None,
        decoder: ImageDecoder | None = None,
    ) -> None:
        self._base = base_folder
        self._guard = PathGuard(roots) if roots else None
        self._roots = self._guard.roots if self._guard else ()
        self._lock = threading.Lock()
        self._decoder = decoder or ImageDecoder()
        self._reader = reader or FolderReader(limit_s=_LOOK_S)
        self.thumbnails = Thumbnails(cache_folder, self._decoder, lambda path: self._allowed(str(path)))

    def statistics(self, config: TrainConfig, index: int | None = None) -> dict[str, Any]:
        """Return statistics of the folders of all concepts (or the one at ``index``), and of an epoch.

        ``complete`` is False if time ran out: call again to continue.

        :raises PathNotFoundError: if there is no concept at ``index``.
        """
        concepts = list(config.concepts or ())
        _concept_at(concepts, index or 0) if index is not None else None
        with self._lock:
            self._reader.renew()
            problems = [self._problem(concept) for concept in concepts]
            # a folder that can't be read is empty here
            seen = [
                concept.model_copy(update={"path": "" if problem else concept.path})
                for concept, problem in zip(concepts, problems, strict=True)
            ]
            every = self._plan(config, [concept.model_copy(update={"enabled": True}) for concept in seen])
            statistics = [
                self._statistics_of(every, at, concepts[at], problems[at])
                for at in range(len(concepts))
                if index is None or at == index
            ]
            total = _total(self._plan(config, seen)) if index is None else None
            complete = all(concept["complete"] for concept in statistics)
            # a folder too large for one scan gets more time in the next
            self._reader.limit_s = _LOOK_S if complete else min(_LONGEST_LOOK_S, 2 * self._reader.limit_s)
        return {"concepts": statistics, "total": total, "complete": complete}

    def thumbnail(self, image_id: str, width_px: int = 192) -> Path:
        """Return a small WebP of an image in the statistics; ``width_px`` is rounded up to one of a few sizes.

        :raises PathNotFoundError: if the statistics have no image with this ID, or it was deleted.
        :raises DatasetError: if it isn't a readable image.
        """
        return self.thumbnails.get(image_id, width_px)

    def shown(self, path: str) -> str:
        """Return the ID of an image of the file picker for ``thumbnail``; empty if it was deleted."""
        return self._image_id(Path(path))

    def preview(
        self,
        config: TrainConfig,
        index: int,
        *,
        image_index: int = 0,
        variants: int = 6,
        seed: int = 0,
        width_px: int = _PREVIEW_PX,
    ) -> dict[str, Any]:
        """Return an image of a concept with its caption, and ``variants`` random augmentations of both.

        :raises PathNotFoundError: if there is no concept at ``index``.
        :raises DatasetError: if it has no such image, or the image can't be read.
        """
        concept = _concept_at(list(config.concepts or ()), index)
        plan = self._plan(config, [])
        resolution = plan.resolution_of(concept)
        if resolution is None:
            raise ConfigValueError("The resolution isn't valid", path="resolution", expected="512, or 512,768, or 768x512")
        with self._lock:
            self._reader.renew()
            path = self._allowed(concept.path)
            folder = self._reader.scan_folder(path, concept.include_subdirectories, roots=self._roots)
        found = folder.images
        if not found:
            raise DatasetError(
                f"There are no images in {concept.path!r}",
                path=f"concepts.{index}.path",
                value=concept.path,
                expected="a folder with images",
                suggestion="Choose another folder, or turn on Include subfolders.",
            )
        path = found[image_index % len(found)]
        size = size_of(self._allowed(str(path)))
        if isinstance(size, str):
            raise DatasetError(f"{shown(path.name)} can't be opened: {size}", path=f"concepts.{index}.path", value=shown(path))
        lines = self._lines(path, folder, concept)
        special = self._special(concept)
        randoms = [Random(f"{seed} {number}") for number in range(max(1, min(MAX_VARIANTS, variants)))]
        augmentations = [
            sample_image_augmentation(
                size,
                concept.image,
                resolution,
                plan.facts.pixel_multiple,
                _always(random),
                bucketing=config.aspect_ratio_bucketing,
            )
            for random in randoms
        ]
        original, *images = map(_data, self._decoder.preview(path, augmentations, width_px))
        drawn = [
            {
                "image": image,
                "width": augmentation.size[1],
                "height": augmentation.size[0],
                "changes": augmentation.words(),
                "caption": augment_caption(random.choice(lines), concept.text, _always(random), special),
            }
            for image, augmentation, random in zip(images, augmentations, randoms, strict=True)
        ]
        return {
            "file": path.name,
            "image_index": image_index % len(found),
            "images": len(found),
            "width": size[1],
            "height": size[0],
            "image": original,
            "captions": [line for line in lines if line],
            "variants": drawn,
            "notes": _notes(config, concept),
        }

    def convert(self, config: TrainConfig, index: int, what: str) -> dict[str, Any]:
        """Convert the captions of a concept to UTF-8, or copies of its images to a format that is trained (``images``).

        The result contains the number of remaining files if time ran out; call again to continue.

        :raises PathNotFoundError: when there is no concept at ``index``.
        :raises ForbiddenPathError: when its folder is outside the allowed ones.
        """
        concept = _concept_at(list(config.concepts or ()), index)
        # always scanned again, so that just converted files are not converted again
        folder = scan_folder(self._allowed(concept.path), concept.include_subdirectories, roots=self._roots)
        if what == "images":
            return convert_images(folder.other_formats, self._decoder).as_dict()
        if concept.text.prompt_source == "concept":
            return convert_captions([self._allowed(concept.text.prompt_path)]).as_dict()
        return convert_captions(folder.caption_files).as_dict()

    def _plan(self, config: TrainConfig, concepts: Sequence[ConceptConfig]) -> Plan:
        return Plan(config.model_copy(update={"concepts": tuple(concepts)}), self._base, self._roots, reader=self._reader)

    def _allowed(self, path: str) -> Path:
        """Return a path of the settings, inside the allowed folders.

        :raises ForbiddenPathError: if it is outside.
        """
        place = absolute(path, self._base)
        return self._guard.resolve(path if path.startswith("~") else place) if self._guard else place

    def _problem(self, concept: ConceptConfig) -> str:
        if not concept.path:
            return "No folder is chosen."
        try:
            place = self._allowed(concept.path)
        except ForbiddenPathError as error:
            return f"{error.message}."
        if not os.path.isdir(place):
            return "The folder doesn't exist."
        return "" if os.access(place, os.R_OK | os.X_OK) else "Can't read the folder."

    def _statistics_of(self, plan: Plan, index: int, concept: ConceptConfig, problem: str) -> dict[str, Any]:
        head = {
            "index": index,
            "name": concept.name,
            "folder": concept.path,
            "enabled": concept.enabled,
            "problem": problem,
            "per_epoch": 0,
            "complete": True,
        }
        if problem:
            return head
        videos = "video" in plan.facts.traits
        look = self._reader.look(plan.path(concept.path), concept.include_subdirectories, videos=videos, roots=self._roots)
        folder, read = look.folder, plan.sizes[index]
        broken = {path for path, _ in read.broken}
        whole = next((path for path in folder.images if path not in broken), None)
        return head | {
            "complete": folder.complete and read.complete and look.captions.complete,
            "fingerprint": look.fingerprint,
            "thumbnail": self._image_id(whole) if whole else None,
            "images": len(folder.images),
            "videos": len(folder.items) - len(folder.images),
            "masks": folder.masks,
            "conditions": folder.conditions,
            "bytes": look.bytes,
            "skipped": _named(
                [*((file.path, file.reason) for file in folder.skipped), *((path, _FORMAT) for path in folder.other_formats)]
            ),
            "formats": dict(Counter(item.suffix.lower().removeprefix(".") for item in folder.items).most_common()),
            "captions": _captions(concept, look),
            "broken": _named(read.broken),
            "sizes": _sizes(read),
            "per_epoch": plan.per_epoch(index, concept) if concept.enabled else 0,
            "resolutions": _resolutions(plan, concept, read.sizes, plan.per_epoch(index, concept)),
        }

    def _image_id(self, path: Path) -> str:
        return self.thumbnails.id_of(path)

    def _lines(self, image: Path, folder: Folder, concept: ConceptConfig) -> list[str]:
        """Return the available captions of an image, or one empty caption."""
        source = concept.text.prompt_source
        if source == "filename":
            return [image.stem]
        file = folder.caption_of(image) if source == "sample" else self._allowed(concept.text.prompt_path)
        if file is None:
            return [""]
        try:
            return list(read_text(file).lines) or [""]
        except (OSError, UnreadableTextError):
            return [""]

    def _special(self, concept: ConceptConfig) -> list[str] | None:
        """Return the special tags if they are in a file."""
        value = concept.text.tag_dropout_special_tags
        if not value.endswith((".txt", ".csv")):
            return None
        try:
            return special_tags(self._allowed(value))
        except (OSError, UnreadableTextError):
            return None


def _always(random: Random) -> Callable[[str], Random]:
    """Return the same generator for every step of an augmentation."""
    return lambda step: random


def _concept_at(concepts: Sequence[ConceptConfig], index: int) -> ConceptConfig:
    if not 0 <= index < len(concepts):
        raise PathNotFoundError(f"Concept {index} doesn't exist", path="index", value=index, expected=f"0 to {len(concepts) - 1}")
    return concepts[index]


def _named(files: Sequence[tuple[Path, str]]) -> dict[str, Any]:
    """Return the number of files, and the first ones with the reason."""
    return {"count": len(files), "first": [[shown(path.name), why] for path, why in files[:_MAX_NAMES]]}


def _data(content: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(content).decode()


def _captions(concept: ConceptConfig, look: _Look) -> dict[str, Any]:
    source = concept.text.prompt_source
    per_image = source == "sample"
    missing = look.folder.without_caption if per_image else ()
    captions = look.captions if per_image else Captions()
    statistics = look.statistics if per_image else _Statistics()
    words = statistics.words
    return {
        "source": source,
        "missing": len(missing),
        "without": [path.name for path in missing[:_MAX_NAMES]],
        "empty": len(captions.empty),
        "unreadable": [path.name for path, _ in captions.unreadable[:_MAX_NAMES]],
        "converted": {
            "count": len(captions.converted),
            "first": [[path.name, text.encoding] for path, text in captions.converted[:_MAX_NAMES]],
        },
        "words": [min(words), round(sum(words) / len(words), 1), max(words)] if words else None,
        "tags": [(tag, count) for tag, count in statistics.tags.most_common(_MAX_TAGS) if count > 1],
    }


def _sizes(read: Sizes) -> dict[str, Any] | None:
    """Return the smallest, median and largest image as (width, height)."""
    if not read.sizes:
        return None
    by_pixels = sorted(read.sizes, key=lambda size: size[0] * size[1])
    places = {"smallest": 0, "middle": len(by_pixels) // 2, "largest": -1}
    return {name: [by_pixels[at][1], by_pixels[at][0]] for name, at in places.items()}


def _resolutions(plan: Plan, concept: ConceptConfig, sizes: Sequence[Size], per_epoch: int) -> list[dict[str, Any]]:
    """Return for each edge length the buckets with their images, and how many are upscaled to more than twice their pixels."""
    resolution = plan.resolution_of(concept)
    if resolution is None:
        return []
    each = [Resolution(edges=(edge,)) for edge in resolution.edges] or [resolution]
    statistics = []
    for one in each:
        multiple, bucketing = plan.facts.pixel_multiple, plan.config.aspect_ratio_bucketing
        goals = [target(size, one, multiple, bucketing=bucketing) for size in sizes]
        small = sum(2 * size[0] * size[1] < goal[0] * goal[1] for size, goal in zip(sizes, goals, strict=True))
        buckets = [{"width": width, "height": height, "images": count} for (height, width), count in Counter(goals).most_common()]
        name = str(one.edges[0]) if one.edges else "x".join(map(str, one.numbers))
        statistics.append({"resolution": name, "small": small, "buckets": buckets})
    return statistics


def _total(plan: Plan) -> dict[str, Any]:
    """Return an epoch of all enabled concepts: readable images, batches, and dropped images."""
    counts, batch = plan.buckets, plan.batch
    buckets = None
    if counts is not None:
        buckets = [
            {"width": width, "height": height, "images": count, "batches": count // batch, "left": count % batch}
            for (height, width), count in counts.most_common()
        ]
    # an epoch has no image of a concept that is only measured
    trained = [(index, concept) for index, concept in plan.concepts if concept.type is not ConceptType.VALIDATION]
    several = any(len(set(parsed.edges)) > 1 for parsed in (plan.resolution_of(concept) for _, concept in trained) if parsed)
    return {
        "concepts": len(trained),
        "images": sum(plan.readable(index) for index, _ in trained),
        "per_epoch": sum(plan.per_epoch(index, concept) for index, concept in plan.concepts),
        "batch": batch,
        "epochs": plan.config.epochs,
        "steps_per_epoch": plan.steps_per_epoch,
        "steps": plan.steps,
        "left": None if buckets is None else sum(bucket["left"] for bucket in buckets),
        "buckets": buckets,
        "drawn_sizes": several,
    }


def _notes(config: TrainConfig, concept: ConceptConfig) -> list[str]:
    """Return notes on differences between the preview and the run."""
    notes = []
    if config.latent_caching:
        count = concept.image_variations
        what = "one variation of each image is" if count == 1 else f"{count} variations of each image are"
        notes.append(f"Latents are cached, so {what} generated before the run and repeated.")
    masks = config.masked_training or "mask_input" in MODELS.get(config.model_type, UNFAMILIAR).traits
    if masks and any(getattr(concept.image, name) for name in _MASKED):
        notes.append("Augmentations that depend on a mask aren't shown here.")
    return notes

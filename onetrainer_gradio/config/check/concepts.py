"""Checks of the concepts: folders, images, captions, masks and the settings of each concept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.check.resolution import too_small
from onetrainer_gradio.config.dataset.buckets import parse_resolution
from onetrainer_gradio.config.dataset.captions import Text, UnreadableTextError, read_text
from onetrainer_gradio.config.dataset.files import IMAGE_SUFFIXES, Skipped, has_folders, is_inside, shown
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.concept import ConceptConfig
from onetrainer_gradio.config.declarations.labels import name_of
from onetrainer_gradio.config.enums import ConceptType, TrainingMethod
from onetrainer_gradio.config.files.resolve import names_a_data_set
from onetrainer_gradio.errors import Finding

_File = TypeVar("_File")

_RANDOM_LOOKS = ("flip", "rotate", "brightness", "contrast", "saturation", "hue")
_RANDOM_WORDS = {
    "enable_tag_shuffling": "shuffled tags",
    "tag_dropout_enable": "dropped tags",
    "caps_randomize_enable": "capitals",
}
# Below this share of the training pixels, upscaling makes the model learn the blur.
_SMALL = 0.5
# The number of names in one finding; the number of the others follows.
_MAX_NAMES = 8
_EXCERPT = 60


def _name(index: int, concept: ConceptConfig) -> str:
    return concept.name or f"Concept {index + 1}"


def _first(files: Sequence[Path]) -> str:
    return shown(files[0].name) + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def _number(files: Sequence[object], word: str) -> str:
    return f"{len(files)} {word}{'s' * (len(files) != 1)}"


def _listed(files: Sequence[_File], name: Callable[[_File], str]) -> str:
    """Return the names of the first files and the number of the others."""
    more = len(files) - _MAX_NAMES
    return "; ".join(map(name, files[:_MAX_NAMES])) + (f"; and {more} more" if more > 0 else "")


def _short(file: Path) -> str:
    return shown(file.name)


def _full(file: Skipped) -> str:
    return shown(file.path)


def _with_reason(file: tuple[Path, str] | Skipped) -> str:
    return f"{shown(file[0].name)} ({file[1]})"


def _with_text(file: tuple[Path, Text]) -> str:
    return f"{shown(file[0].name)} ({file[1].encoding}: “{_excerpt(file[1])}”)"


def something_to_learn(plan: Plan) -> Iterator[Finding]:
    """Yield an error if no concept is trained on."""
    if not any(concept.type is not ConceptType.VALIDATION for _, concept in plan.concepts):
        yield found(
            "no-concept",
            "concepts",
            "No concept is enabled for training",
            expected="at least one enabled concept",
            suggestion="Add or enable a concept with a folder of images.",
        )


def folders(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a folder that doesn't exist, can't be read or contains no images."""
    for index, concept in plan.concepts:
        path, name, value = f"concepts.{index}.path", _name(index, concept), concept.path
        place = plan.path(value)
        if not value:
            yield found(
                "concept-folder",
                path,
                f"{name}: {title_of(path)} isn't set",
                value="",
                expected="a folder with images",
                suggestion="Choose a folder for the concept.",
            )
        elif not plan.is_folder(value) and names_a_data_set(value.replace("\0", ""), plan.base_folder):
            message = (
                f"{name}: the folder {value} doesn't exist, so OneTrainer would download a dataset of that name from the "
                "Hugging Face Hub. The built-in engine doesn't support that"
            )
            expected = "a folder on this machine, unless it is a dataset on the Hugging Face Hub"
            suggestion = "Choose an existing folder, unless it is a dataset."
            yield found("concept-on-hub", path, message, value=value, expected=expected, suggestion=suggestion)
        elif not plan.is_folder(value):
            message = f"{name}: the folder {value} doesn't exist"
            suggestion = "Choose an existing folder for the concept."
            yield found("concept-folder", path, message, value=value, expected="an existing folder", suggestion=suggestion)
        elif not plan.machine.allowed(place, os.R_OK | os.X_OK):
            message = f"{name}: can't read the folder {value}: permission denied"
            suggestion = "Change its permissions, or choose another folder."
            yield found("path-unreadable", path, message, value=value, expected="a readable folder", suggestion=suggestion)
        elif not plan.folders[index].items and plan.folders[index].complete:
            nested = not concept.include_subdirectories and has_folders(place)
            suggestion = (
                f"Turn on {title_of('concepts[].include_subdirectories')}."
                if nested
                else "Add images to the folder, or choose another one."
            )
            yield found(
                "concept-empty",
                path,
                f"{name}: the folder {value} contains no images",
                value=value,
                expected="a folder with images",
                suggestion=suggestion,
                fix={f"concepts.{index}.include_subdirectories": True} if nested else None,
            )
        elif plan.folders[index].items and not plan.readable(index):
            yield found(
                "concept-empty",
                path,
                f"{name}: none of the {len(plan.folders[index].items)} images in {value} can be read",
                value=value,
                expected="a folder with readable images",
                suggestion="Replace the broken files, or choose another folder.",
            )


def broken_images(plan: Plan) -> Iterator[Finding]:
    """Yield an error for image files that can't be read."""
    for index, concept in plan.concepts:
        read = plan.sizes.get(index)
        if read and read.broken:
            listed = _listed(read.broken, _with_reason)
            yield found(
                "image-broken",
                f"concepts.{index}.path",
                f"{_name(index, concept)}: {_number(read.broken, 'file')} can't be read as an image and would be "
                f"skipped: {listed}",
                value=concept.path,
                expected="valid image files",
                suggestion="Remove or replace the broken files.",
            )


def skipped_files(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for files that aren't used. A link to a place outside the allowed folders is an error."""
    for index, concept in plan.concepts:
        skipped = plan.folders[index].skipped if index in plan.folders else ()
        outside = [file for file in skipped if file.outside]
        others = [file for file in skipped if not file.outside]
        path, name = f"concepts.{index}.path", _name(index, concept)
        if outside:
            yield found(
                "link-outside",
                path,
                f"{name}: {_number(outside, 'link')} to a place outside the allowed folders: {_listed(outside, _full)}",
                value=concept.path,
                expected="links inside " + ", ".join(str(root) for root in plan.roots),
                suggestion="Copy the files instead of linking them, or start the panel with --allow FOLDER.",
            )
        if others:
            yield found(
                "files-skipped",
                path,
                f"{name}: {_number(others, 'file')} can't be used and will be skipped: {_listed(others, _with_reason)}",
                value=concept.path,
                expected="readable files",
                suggestion="Repair or remove these files.",
            )


def other_formats(plan: Plan) -> Iterator[Finding]:
    """Yield a note for images in formats that aren't supported."""
    for index, concept in plan.concepts:
        files = plan.folders[index].other_formats if index in plan.folders else ()
        if files:
            kinds = Counter(file.suffix.lower() for file in files)
            listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
            yield found(
                "formats-skipped",
                f"concepts.{index}.path",
                f"{_name(index, concept)}: {_number(files, 'file')} in an unsupported format will be skipped ({listed}): "
                f"{_listed(files, _short)}",
                value=concept.path,
                expected=", ".join(sorted(IMAGE_SUFFIXES)),
                suggestion="Convert copies of the images with the button, or remove them.",
            )


def small_images(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for images with much fewer pixels than the training resolution."""
    for index, concept in plan.concepts:
        read, resolution = plan.sizes.get(index), plan.resolution_of(concept)
        if read is None or resolution is None or not read.sizes:
            continue
        numbers = resolution.numbers
        wanted = numbers[0] * numbers[1] if resolution.fixed else min(numbers) ** 2
        small = sum(height * width < wanted * _SMALL for height, width in read.sizes)
        if small:
            yield found(
                "images-small",
                f"concepts.{index}.path",
                f"{_name(index, concept)}: {small} of {len(read.sizes)} images have less than half the pixels of the training "
                "resolution. They will be upscaled, and the model will learn the blur",
                value=concept.path,
                expected=f"images of about {wanted / 1e6:.2g} million pixels or more",
                suggestion=f"Lower {title_of('resolution')}, or remove the small images.",
            )


def captions(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for images without a caption, which are trained with an empty one."""
    for index, concept in plan.captioned:
        folder, name = plan.folders.get(index), _name(index, concept)
        if folder is None or not folder.items:
            continue
        if concept.text.prompt_source == "concept":
            yield from _caption_file(plan, index, concept, name)
        elif concept.text.prompt_source == "sample":
            without = folder.without_caption
            if without:
                message = f"{name}: {len(without)} of {len(folder.items)} images have no caption. The first is {without[0].name}"
                suggestion = (
                    f"Add {without[0].stem}.txt next to it, or set {title_of('concepts[].text.prompt_source')} to "
                    "Image file name."
                )
                expected = "a .txt file next to each image"
                fix = {f"concepts.{index}.text.prompt_source": "filename"} if len(without) == len(folder.items) else None
                path = f"concepts.{index}.text.prompt_source"
                yield found("captions-missing", path, message, value="sample", expected=expected, suggestion=suggestion, fix=fix)
            if empty := plan.captions[index].empty:
                message = f"{name}: caption files are empty: {_first(empty)}"
                suggestion = "Add captions, unless the files are empty on purpose."
                path = f"concepts.{index}.text.prompt_source"
                yield found(
                    "captions-empty", path, message, value="sample", expected="a caption in each file", suggestion=suggestion
                )


def _caption_file(plan: Plan, index: int, concept: ConceptConfig, name: str) -> Iterator[Finding]:
    value, path = concept.text.prompt_path, f"concepts.{index}.text.prompt_path"
    file = plan.path(value) if value else None
    if file is None or not os.path.isfile(file):
        message = f"{name}: the caption file {value} doesn't exist" if value else f"{name}: {title_of(path)} isn't set"
        suggestion = f"{'Correct' if value else 'Set'} {title_of(path)}."
        yield found("caption-file", path, message, value=value, expected="an existing text file", suggestion=suggestion)
    elif not plan.machine.allowed(file, os.R_OK):
        message = f"{name}: can't read the caption file {value}: permission denied"
        expected = "a readable file"
        yield found(
            "path-unreadable",
            path,
            message,
            value=value,
            expected=expected,
            suggestion="Change its permissions, or choose another file.",
        )
    elif isinstance(text := _read(file), Text) and not text.lines:
        message = f"{name}: the caption file {value} is empty"
        expected = "one caption per line"
        yield found(
            "caption-file", path, message, value=value, expected=expected, suggestion="Add one caption per line to the file."
        )


def caption_encodings(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for caption files that aren't UTF-8. The built-in engine converts them; OneTrainer can't read them."""
    for index, concept in plan.captioned:
        if concept.text.prompt_source == "sample" and index in plan.captions:
            path = f"concepts.{index}.text.prompt_source"
            texts: Sequence[tuple[Path, Text]] = plan.captions[index].converted
            unreadable: Sequence[tuple[Path, str]] = plan.captions[index].unreadable
        elif concept.text.prompt_source == "concept" and concept.text.prompt_path:
            path, file = f"concepts.{index}.text.prompt_path", plan.path(concept.text.prompt_path)
            if not os.path.isfile(file) or not is_inside(file, plan.roots):
                continue
            text = _read(file)
            texts = [(file, text)] if isinstance(text, Text) and text.encoding != "utf-8" else []
            unreadable = [(file, text)] if isinstance(text, str) else []
        else:
            continue
        name = _name(index, concept)
        if unreadable:
            yield found(
                "captions-unreadable",
                path,
                f"{name}: {_number(unreadable, 'caption file')} can't be read: {_listed(unreadable, _with_reason)}",
                value=plan.at(path),
                expected="text files",
                suggestion="Save the files as UTF-8 text, or remove them.",
            )
        if texts:
            yield found(
                "captions-encoding",
                path,
                f"{name}: {_number(texts, 'caption file')} not in UTF-8. The built-in engine trains on the text shown "
                "here; OneTrainer "
                f"can't read the files: {_listed(texts, _with_text)}",
                value=plan.at(path),
                expected="UTF-8 text",
                suggestion="Convert the files to UTF-8 with the button. The originals are kept next to them.",
                severity="error" if plan.backend == "onetrainer" else "",
            )


def _excerpt(text: Text) -> str:
    line = text.lines[0] if text.lines else ""
    return line if len(line) <= _EXCERPT else line[:_EXCERPT] + "…"


def _read(file: Path) -> Text | str:
    try:
        return read_text(file)
    except UnreadableTextError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def prior_prediction(plan: Plan) -> Iterator[Finding]:
    """Yield an error for prior prediction without a LoRA: only with one can the original model be run."""
    for index, concept in plan.concepts:
        if concept.type is ConceptType.PRIOR_PREDICTION and plan.config.training_method is not TrainingMethod.LORA:
            path = f"concepts.{index}.type"
            yield found(
                "prior-prediction",
                path,
                f"{_name(index, concept)}: the type {name_of(concept.type)} requires the training method "
                f"{name_of(TrainingMethod.LORA)}",
                value=concept.type.value,
                expected=f"{name_of(ConceptType.STANDARD)}, unless a LoRA is trained",
                suggestion=f"Set {title_of(path)} to {name_of(ConceptType.STANDARD)}. Its images then act as "
                "regularization images.",
                fix={path: ConceptType.STANDARD.value},
            )


def validation(plan: Plan) -> Iterator[Finding]:
    """Yield a finding if validation is on without images for it, or the reverse."""
    concepts = [index for index, concept in plan.concepts if concept.type is ConceptType.VALIDATION]
    if plan.config.validation and not concepts:
        yield found(
            "validation-without-concept",
            "validation",
            f"{title_of('validation')} is on, but no concept has the type {name_of(ConceptType.VALIDATION)}",
            value=True,
            expected="a validation concept",
            suggestion="Add a validation concept with images that are not used for training, or turn off "
            f"{title_of('validation')}.",
            fix={"validation": False},
        )
    elif concepts and not plan.config.validation:
        yield found(
            "validation-off",
            "validation",
            f"A concept has the type {name_of(ConceptType.VALIDATION)}, but {title_of('validation')} is off, so its "
            "images are not used",
            value=False,
            expected="on",
            suggestion=f"Turn on {title_of('validation')}.",
            fix={"validation": True},
        )


def masks(plan: Plan) -> Iterator[Finding]:
    """Yield a finding if masked training has no masks, or prior preservation has no effect."""
    config = plan.config
    if config.masked_training and plan.folders and not any(folder.masks for folder in plan.folders.values()):
        yield found(
            "masks-missing",
            "masked_training",
            f"{title_of('masked_training')} is on, but no image has a mask",
            value=True,
            expected="files that end in -masklabel.png next to the images",
            suggestion=f"Add masks, or turn off {title_of('masked_training')}.",
            fix={"masked_training": False},
        )
    weight = config.masked_prior_preservation_weight
    if weight > 0 and (config.training_method is not TrainingMethod.LORA or not config.masked_training):
        yield found(
            "setting-ignored",
            "masked_prior_preservation_weight",
            f"{title_of('masked_prior_preservation_weight')} has no effect without {title_of('masked_training')} of a LoRA",
            value=weight,
            expected="0 in this combination",
            suggestion=f"Set {title_of('masked_prior_preservation_weight')} to 0.",
            fix={"masked_prior_preservation_weight": 0.0},
        )


def conditions(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if there are no custom conditioning images."""
    config = plan.config
    if config.custom_conditioning_image and plan.folders and not any(item.conditions for item in plan.folders.values()):
        yield found(
            "conditions-missing",
            "custom_conditioning_image",
            f"{title_of('custom_conditioning_image')} is on, but no image has a conditioning image",
            value=True,
            expected="files that end in -condlabel.png next to the images",
            suggestion=f"Add conditioning images, or turn off {title_of('custom_conditioning_image')}.",
            fix={"custom_conditioning_image": False},
        )


def frozen_variations(plan: Plan) -> Iterator[Finding]:
    """Yield a note for random augmentations that are cached: each variation is created once and repeated in every epoch."""
    if not plan.config.latent_caching:
        return
    words_cached = not plan.trains_embeddings and not any(name in plan.facts.encoders for name in plan.trained)
    for index, concept in plan.concepts:
        looks = [look for look in _RANDOM_LOOKS if getattr(concept.image, f"enable_random_{look}")]
        words = [words for name, words in _RANDOM_WORDS.items() if words_cached and getattr(concept.text, name)]
        for changes, name, what in ((looks, "image_variations", "image"), (words, "text_variations", "caption")):
            path = f"concepts.{index}.{name}"
            if changes and plan.at(path) == 1:
                yield found(
                    "variations-cached",
                    path,
                    f"{_name(index, concept)}: random augmentation ({', '.join(changes)}) is applied once per {what} "
                    "and then cached",
                    value=1,
                    expected="more variations, or no latent caching",
                    suggestion=f"Set {title_of(path)} to a higher value, such as 4.",
                    fix={path: 4},
                )


def own_resolution(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the override resolution of a concept isn't valid."""
    for index, concept in plan.concepts:
        value, path = concept.image.resolution_override, f"concepts.{index}.image.resolution_override"
        if not concept.image.enable_resolution_override:
            continue
        resolution = parse_resolution(value)
        if resolution is not None:
            finding = too_small(plan, path, value, resolution)
            yield from () if finding is None else (finding,)
        else:
            yield found(
                "resolution-syntax",
                path,
                f"{_name(index, concept)}: the resolution “{value}” isn't valid",
                value=value,
                expected="512, or 512,768, or 768x512",
                suggestion=f"Enter {title_of(path)} as 512, as 512,768 or as 768x512.",
            )


def weightless(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for an enabled concept that contributes nothing."""
    for index, concept in plan.concepts:
        trained = concept.type is not ConceptType.VALIDATION
        folder = plan.folders.get(index)
        if trained and concept.loss_weight == 0:
            path, what = f"concepts.{index}.loss_weight", f"{title_of(f'concepts.{index}.loss_weight')} is 0"
        elif trained and folder and plan.readable(index) and not plan.per_epoch(index, concept):
            path, what = (
                f"concepts.{index}.balancing",
                f"{title_of(f'concepts.{index}.balancing')} {concept.balancing:g} rounds to 0 images per epoch",
            )
        else:
            continue
        yield found(
            "concept-without-effect",
            path,
            f"{_name(index, concept)} is enabled but contributes no training samples: {what}",
            value=plan.at(path),
            expected="more than 0",
            suggestion=f"Set {title_of(path)} to 1, or disable the concept.",
            fix={path: 1.0},
        )

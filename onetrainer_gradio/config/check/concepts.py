"""The pictures to learn from: folders, files, captions, masks, and what the settings of a concept do to them."""

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
from onetrainer_gradio.config.dataset.files import PICTURE_SUFFIXES, Skipped, has_folders, is_inside, shown
from onetrainer_gradio.config.declarations.concept import ConceptConfig
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
# Below this share of the pixels that are trained, a picture is blown up so much that blur is learned.
_SMALL = 0.5
# named in one finding; the number of the others follows
_MOST_NAMES = 8
_EXCERPT = 60


def _name(index: int, concept: ConceptConfig) -> str:
    return concept.name or f"Concept {index + 1}"


def _first(files: Sequence[Path]) -> str:
    return shown(files[0].name) + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def _listed(files: Sequence[_File], name: Callable[[_File], str]) -> str:
    """The names of the first files, and the number of the others."""
    more = len(files) - _MOST_NAMES
    return "; ".join(map(name, files[:_MOST_NAMES])) + (f"; and {more} more" if more > 0 else "")


def _short(file: Path) -> str:
    return shown(file.name)


def _full(file: Skipped) -> str:
    return shown(file.path)


def _with_reason(file: tuple[Path, str] | Skipped) -> str:
    return f"{shown(file[0].name)} ({file[1]})"


def _with_text(file: tuple[Path, Text]) -> str:
    return f"{shown(file[0].name)} ({file[1].encoding}: “{_excerpt(file[1])}”)"


def something_to_learn(plan: Plan) -> Iterator[Finding]:
    """At least one concept that is trained on."""
    if not any(concept.type is not ConceptType.VALIDATION for _, concept in plan.concepts):
        yield found(
            "no-concept",
            "concepts",
            "There is no concept to train on",
            expected="at least one that is in use",
            suggestion="Add a folder of pictures.",
        )


def folders(plan: Plan) -> Iterator[Finding]:
    """A folder that exists, can be read, and holds pictures."""
    for index, concept in plan.concepts:
        path, name, value = f"concepts.{index}.path", _name(index, concept), concept.path
        place = plan.path(value)
        if not value:
            yield found(
                "concept-folder",
                path,
                f"{name} has no folder",
                value="",
                expected="a folder with pictures",
                suggestion="Choose the folder.",
            )
        elif not plan.is_folder(value) and names_a_data_set(value.replace("\0", ""), plan.base_folder):
            message = (
                f"{name}: there is no folder {value}; it is taken for a data set of that name on the hub, which OneTrainer "
                "fetches and the built-in engine does not"
            )
            expected = "a folder on this machine, unless a data set of the hub is meant"
            suggestion = "Correct the path if a folder is meant."
            yield found("concept-on-hub", path, message, value=value, expected=expected, suggestion=suggestion)
        elif not plan.is_folder(value):
            message = f"{name}: there is no folder {value}"
            yield found(
                "concept-folder", path, message, value=value, expected="an existing folder", suggestion="Correct the path."
            )
        elif not plan.machine.allowed(place, os.R_OK | os.X_OK):
            message = f"{name}: the folder {value} cannot be read"
            suggestion = "Change its permissions."
            yield found(
                "path-unreadable", path, message, value=value, expected="a folder that may be read", suggestion=suggestion
            )
        elif not plan.folders[index].items and plan.folders[index].complete:
            nested = not concept.include_subdirectories and has_folders(place)
            suggestion = "Turn on Include subfolders." if nested else "Put pictures there, or choose another folder."
            yield found(
                "concept-empty",
                path,
                f"{name}: no pictures in {value}",
                value=value,
                expected="a folder with pictures",
                suggestion=suggestion,
                fix={f"concepts.{index}.include_subdirectories": True} if nested else None,
            )
        elif plan.folders[index].items and not plan.readable(index):
            yield found(
                "concept-empty",
                path,
                f"{name}: none of the {len(plan.folders[index].items)} images in {value} can be read",
                value=value,
                expected="a folder with images that can be read",
                suggestion="Replace the broken files, or choose another folder.",
            )


def broken_pictures(plan: Plan) -> Iterator[Finding]:
    """A file that no program can open stops the run while it is cached."""
    for index, concept in plan.concepts:
        read = plan.sizes.get(index)
        if read and read.broken:
            listed = _listed(read.broken, _with_reason)
            yield found(
                "image-broken",
                f"concepts.{index}.path",
                f"{_name(index, concept)}: {len(read.broken)} files can't be read as images and would be skipped: {listed}",
                value=concept.path,
                expected="files that hold pictures",
                suggestion="Remove the broken files or put whole ones in their place.",
            )


def skipped_files(plan: Plan) -> Iterator[Finding]:
    """Files that aren't used, each with the reason; a link out of the allowed folders is an error."""
    for index, concept in plan.concepts:
        skipped = plan.folders[index].skipped if index in plan.folders else ()
        outside = [file for file in skipped if file.outside]
        others = [file for file in skipped if not file.outside]
        path, name = f"concepts.{index}.path", _name(index, concept)
        if outside:
            yield found(
                "link-outside",
                path,
                f"{name}: {len(outside)} links lead outside the allowed folders: {_listed(outside, _full)}",
                value=concept.path,
                expected="links inside " + ", ".join(str(root) for root in plan.roots),
                suggestion="Copy the files instead of linking them, or start the panel with --allow FOLDER.",
            )
        if others:
            yield found(
                "files-skipped",
                path,
                f"{name}: {len(others)} files or folders can't be used and are skipped: {_listed(others, _with_reason)}",
                value=concept.path,
                expected="files that can be read",
                suggestion="Repair or remove them.",
            )


def other_formats(plan: Plan) -> Iterator[Finding]:
    """Images in formats that aren't trained."""
    for index, concept in plan.concepts:
        files = plan.folders[index].other_formats if index in plan.folders else ()
        if files:
            kinds = Counter(file.suffix.lower() for file in files)
            listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
            yield found(
                "formats-skipped",
                f"concepts.{index}.path",
                f"{_name(index, concept)}: {len(files)} files have a format that isn't trained and are skipped ({listed}): "
                f"{_listed(files, _short)}",
                value=concept.path,
                expected=", ".join(sorted(PICTURE_SUFFIXES)),
                suggestion="Convert copies of the images with the button, or remove them.",
            )


def small_pictures(plan: Plan) -> Iterator[Finding]:
    """Pictures with far fewer pixels than they are trained in."""
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
                f"{_name(index, concept)}: {small} of {len(read.sizes)} pictures have less than half the pixels that are "
                "trained; they are blown up, and their blur is learned",
                value=concept.path,
                expected=f"pictures of about {wanted / 1e6:.2g} million pixels or more",
                suggestion="Lower the resolution, or leave the small pictures out.",
            )


def captions(plan: Plan) -> Iterator[Finding]:
    """Pictures without a caption are trained with an empty one."""
    for index, concept in plan.concepts:
        folder, name = plan.folders.get(index), _name(index, concept)
        if folder is None or not folder.items:
            continue
        if concept.text.prompt_source == "concept":
            yield from _caption_file(plan, index, concept, name)
        elif concept.text.prompt_source == "sample":
            without = folder.without_caption
            if without:
                message = (
                    f"{name}: {len(without)} of {len(folder.items)} pictures have no caption, the first is {without[0].name}"
                )
                suggestion = f"Write {without[0].stem}.txt beside it, or take captions from file names."
                expected = "a .txt file beside each picture"
                fix = {f"concepts.{index}.text.prompt_source": "filename"} if len(without) == len(folder.items) else None
                path = f"concepts.{index}.text.prompt_source"
                yield found("captions-missing", path, message, value="sample", expected=expected, suggestion=suggestion, fix=fix)
            if empty := plan.captions[index].empty:
                message = f"{name}: the caption files {_first(empty)} are empty"
                suggestion = "Write what the picture shows, unless they are meant to be trained without words."
                path = f"concepts.{index}.text.prompt_source"
                yield found(
                    "captions-empty", path, message, value="sample", expected="a caption in each file", suggestion=suggestion
                )


def _caption_file(plan: Plan, index: int, concept: ConceptConfig, name: str) -> Iterator[Finding]:
    value, path = concept.text.prompt_path, f"concepts.{index}.text.prompt_path"
    file = plan.path(value) if value else None
    if file is None or not os.path.isfile(file):
        message = f"{name}: there is no caption file {value!r}"
        yield found("caption-file", path, message, value=value, expected="an existing text file", suggestion="Correct the path.")
    elif not plan.machine.allowed(file, os.R_OK):
        message = f"{name}: the caption file {value} cannot be read"
        expected = "a file that may be read"
        yield found("path-unreadable", path, message, value=value, expected=expected, suggestion="Change its permissions.")
    elif isinstance(text := _read(file), Text) and not text.lines:
        message = f"{name}: the caption file {value} is empty"
        expected = "a caption a line"
        yield found("caption-file", path, message, value=value, expected=expected, suggestion="Write captions into it.")


def caption_encodings(plan: Plan) -> Iterator[Finding]:
    """Caption files that aren't UTF-8 are converted by the built-in engine; OneTrainer can't read them."""
    for index, concept in plan.concepts:
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
                f"{name}: {len(unreadable)} caption files can't be read: {_listed(unreadable, _with_reason)}",
                value=plan.at(path),
                expected="text files",
                suggestion="Save the files as UTF-8 text, or remove them.",
            )
        if texts:
            yield found(
                "captions-encoding",
                path,
                f"{name}: {len(texts)} caption files aren't UTF-8. The built-in engine trains them as shown here, and OneTrainer "
                f"can't read them: {_listed(texts, _with_text)}",
                value=plan.at(path),
                expected="UTF-8 text",
                suggestion="Convert them to UTF-8 with the button; the originals are kept next to them.",
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
    """What the model painted before can only be asked while the adapter can be taken off."""
    for index, concept in plan.concepts:
        if concept.type is ConceptType.PRIOR_PREDICTION and plan.config.training_method is not TrainingMethod.LORA:
            path = f"concepts.{index}.type"
            yield found(
                "prior-prediction",
                path,
                f"{_name(index, concept)} is of type PRIOR_PREDICTION, which works with adapters only",
                value=concept.type.value,
                expected="STANDARD unless an adapter is trained",
                suggestion="Choose STANDARD: its pictures then keep the model in bounds as they are.",
                fix={path: ConceptType.STANDARD.value},
            )


def validation(plan: Plan) -> Iterator[Finding]:
    """Measuring needs pictures, and pictures to measure need measuring."""
    concepts = [index for index, concept in plan.concepts if concept.type is ConceptType.VALIDATION]
    if plan.config.validation and not concepts:
        yield found(
            "validation-without-concept",
            "validation",
            "Validation is on, but no concept is of type VALIDATION",
            value=True,
            expected="a concept of type VALIDATION",
            suggestion="Add one with pictures that are not trained on, or turn validation off.",
            fix={"validation": False},
        )
    elif concepts and not plan.config.validation:
        yield found(
            "validation-off",
            "validation",
            "There is a concept of type VALIDATION, but validation is off: its pictures are not used",
            value=False,
            expected="on",
            suggestion="Turn validation on.",
            fix={"validation": True},
        )


def masks(plan: Plan) -> Iterator[Finding]:
    """Masked training without masks is training as ever."""
    config = plan.config
    if config.masked_training and plan.folders and not any(folder.masks for folder in plan.folders.values()):
        yield found(
            "masks-missing",
            "masked_training",
            "Masked training is on, but there is no mask beside any picture",
            value=True,
            expected="files that end in -masklabel.png beside the pictures",
            suggestion="Make masks, or turn masked training off.",
            fix={"masked_training": False},
        )
    weight = config.masked_prior_preservation_weight
    if weight > 0 and (config.training_method is not TrainingMethod.LORA or not config.masked_training):
        yield found(
            "setting-ignored",
            "masked_prior_preservation_weight",
            "Keeping the unmasked area as it was works with masked training of an adapter only",
            value=weight,
            expected="0 in this combination",
            suggestion="Write 0.",
            fix={"masked_prior_preservation_weight": 0.0},
        )


def conditions(plan: Plan) -> Iterator[Finding]:
    """Conditioning pictures that are asked for and not there."""
    config = plan.config
    if config.custom_conditioning_image and plan.folders and not any(item.conditions for item in plan.folders.values()):
        yield found(
            "conditions-missing",
            "custom_conditioning_image",
            "Conditioning pictures are asked for, but there is none beside any picture",
            value=True,
            expected="files that end in -condlabel.png beside the pictures",
            suggestion="Add them, or turn the setting off.",
            fix={"custom_conditioning_image": False},
        )


def frozen_variations(plan: Plan) -> Iterator[Finding]:
    """What is cached is drawn once for each variation and then repeated in every epoch."""
    if not plan.config.latent_caching:
        return
    words_cached = not plan.trains_embeddings and not any(name in plan.facts.encoders for name in plan.trained)
    for index, concept in plan.concepts:
        looks = [look for look in _RANDOM_LOOKS if getattr(concept.image, f"enable_random_{look}")]
        words = [words for name, words in _RANDOM_WORDS.items() if words_cached and getattr(concept.text, name)]
        for changes, name, what in ((looks, "image_variations", "picture"), (words, "text_variations", "caption")):
            path = f"concepts.{index}.{name}"
            if changes and plan.at(path) == 1:
                yield found(
                    "variations-cached",
                    path,
                    f"{_name(index, concept)}: a random change ({', '.join(changes)}) is drawn once for each {what} and cached",
                    value=1,
                    expected="more variations, or no latent caching",
                    suggestion=f"Raise the {what} variations, for instance to 4.",
                    fix={path: 4},
                )


def own_resolution(plan: Plan) -> Iterator[Finding]:
    """The resolution of a concept of its own has to be one."""
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
                f"{_name(index, concept)}: the resolution is {value!r}",
                value=value,
                expected="512, or 512,768, or 768x512",
                suggestion="Write it like that.",
            )


def weightless(plan: Plan) -> Iterator[Finding]:
    """A concept that is in use and yet never counts."""
    for index, concept in plan.concepts:
        trained = concept.type is not ConceptType.VALIDATION
        folder = plan.folders.get(index)
        if trained and concept.loss_weight == 0:
            path, what = f"concepts.{index}.loss_weight", "its weight is 0"
        elif trained and folder and plan.readable(index) and not plan.per_epoch(index, concept):
            path, what = f"concepts.{index}.balancing", f"a balance of {concept.balancing:g} rounds to no picture an epoch"
        else:
            continue
        yield found(
            "concept-without-effect",
            path,
            f"{_name(index, concept)} is in use but teaches nothing: {what}",
            value=plan.at(path),
            expected="more than 0",
            suggestion="Write 1, or do not use the concept.",
            fix={path: 1.0},
        )

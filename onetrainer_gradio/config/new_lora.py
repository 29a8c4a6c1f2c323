"""Turn the few answers of the page New LoRA into settings: a preset, and changes to it.

Everything that is decided here is an ordinary setting, so the result can be edited, saved and exported like any other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.overlay import apply_overlay
from onetrainer_gradio.config.files.presets import Preset, read_preset
from onetrainer_gradio.errors import ConfigValueError, Finding

_RECOMMENDED_IMAGES = 10
_MAX_NAME_LETTERS = 80
_SAVES = 8
"""Saves and sample rounds of a run: enough to choose the best one from."""
_UNSAFE = re.compile(r"[^\w.-]+")
_WORD = re.compile(r"\S+")


class Subject(StrEnum):
    """What the images show."""

    PERSON = "PERSON"
    STYLE = "STYLE"
    OBJECT = "OBJECT"
    CONCEPT = "CONCEPT"


class CaptionSource(StrEnum):
    """Where the captions come from: nowhere, the trigger word alone, or the text file of each image."""

    NONE = "NONE"
    TRIGGER_WORD = "TRIGGER_WORD"
    FILES = "FILES"


class Quality(StrEnum):
    """How long to train."""

    QUICK = "QUICK"
    BALANCED = "BALANCED"
    THOROUGH = "THOROUGH"


@dataclass(frozen=True)
class StepRule:
    """Training images (each repeat counts) per image of the dataset, and the limits of their sum."""

    per_image: int
    least: int
    most: int

    def presentations(self, images: int) -> int:
        """Return how many training images a run gets."""
        return min(max(images * self.per_image, self.least), self.most)


STEP_RULES: Mapping[Quality, StepRule] = {
    Quality.QUICK: StepRule(50, 400, 1500),
    Quality.BALANCED: StepRule(100, 1000, 4000),
    Quality.THOROUGH: StepRule(200, 2000, 10000),
}
"""Usual are 50 to 200 for each image; the limits are for sets of a few and of thousands of images."""


@dataclass(frozen=True)
class Wording:
    """Captions and sample prompts of a subject; ``{trigger}`` is replaced by the trigger word."""

    caption: str
    prompts: tuple[str, ...]


WORDINGS: Mapping[Subject, Wording] = {
    Subject.PERSON: Wording(
        "a photo of {trigger}",
        (
            "a photo of {trigger}",
            "a portrait of {trigger}, soft light",
            "{trigger} walking in a park",
            "a watercolor of {trigger}",
        ),
    ),
    Subject.STYLE: Wording(
        "{trigger}",
        (
            "a cottage by a lake, {trigger}",
            "a portrait of a woman, {trigger}",
            "a cat on a chair, {trigger}",
            "a city at night, {trigger}",
        ),
    ),
    Subject.OBJECT: Wording(
        "a photo of {trigger}",
        ("a photo of {trigger}", "{trigger} on a wooden table", "{trigger} on a beach", "a drawing of {trigger}"),
    ),
    Subject.CONCEPT: Wording(
        "{trigger}",
        ("{trigger}", "a photo of {trigger}", "a watercolor of {trigger}", "{trigger} at night"),
    ),
}


@dataclass(frozen=True)
class Answers:
    """What a person chose.

    ``images`` is the number of images in ``folder``, ``uncaptioned`` how many of them have no text file, ``preset`` the name of a
    preset of the model, ``base_model`` another base model than the preset's, ``caption_file`` the file with the caption of all
    images (only read without text files), and ``gpu`` whether there is a GPU to train on. ``download`` is the base model if it
    isn't on this machine, ``download_gb`` about how much that is; 0 if that isn't known. ``huggingface_cache_dir`` is that of the
    current settings, where this machine has its models.
    """

    name: str
    folder: str
    images: int
    preset: str
    subject: Subject = Subject.PERSON
    trigger_word: str = ""
    captions: CaptionSource = CaptionSource.TRIGGER_WORD
    quality: Quality = Quality.BALANCED
    base_model: str = ""
    caption_file: str = ""
    gpu: bool = True
    uncaptioned: int = 0
    download: str = ""
    download_gb: float = 0.0
    huggingface_cache_dir: str = ""


@dataclass(frozen=True)
class Plan:
    """The settings that follow from the answers.

    ``config`` is complete, ``changes`` are its differences to the preset by path. ``steps`` is the expected number of optimizer
    steps, ``prompts`` are the prompts of the samples.
    """

    preset: str
    config: TrainConfig
    changes: Mapping[str, Any]
    epochs: int
    steps: int
    prompts: tuple[str, ...]
    findings: tuple[Finding, ...]


def plan(answers: Answers) -> Plan:
    """Return the settings of a LoRA with these answers.

    :raises ConfigValueError: if the name, the folder or a needed trigger word is missing, or the preset isn't one of a LoRA.
    :raises ConfigNotFoundError: if there is no preset with this name.
    """
    preset = read_preset(answers.preset)
    if preset.method != "LORA":
        raise ConfigValueError(f"The preset “{preset.name}” doesn't train a LoRA", path="preset", value=preset.name)
    _require(answers)
    changes = dict(_changes(answers, preset))
    lists = {"concepts": [_concept(answers)], "samples": list(_samples(answers, preset))}
    start = apply_overlay(preset.document, TrainConfig(), {}, own=False).config
    config = from_document({**to_document(start, packed=True), **changes, **lists})[0]
    epochs, batch_size = changes["epochs"], changes["batch_size"]
    return Plan(
        preset=preset.name,
        config=config,
        changes={**changes, **lists},
        epochs=epochs,
        steps=epochs * max(1, answers.images // batch_size),
        prompts=tuple(sample["prompt"] for sample in lists["samples"]),
        findings=tuple(_findings(answers)),
    )


def caption_of(subject: Subject, trigger_word: str) -> str:
    """Return the caption of an image that has no text file: the trigger word in a phrase for the subject."""
    return WORDINGS[subject].caption.format(trigger=trigger_word) if trigger_word else ""


def trigger_word_in(caption: str) -> str:
    """Return the trigger word of a caption that ``caption_of`` made, or "" if it is another one."""
    for wording in sorted(WORDINGS.values(), key=lambda wording: -len(wording.caption)):
        if found := _word_in(caption, wording.caption):
            return found
    return ""


def trigger_word_of(prompts: Sequence[str]) -> str:
    """Return the trigger word of the sample prompts of a plan, or "" if they are others or have none."""
    for wording in WORDINGS.values():
        if len(prompts) == len(wording.prompts):
            words = {_word_in(prompt, phrase) for prompt, phrase in zip(prompts, wording.prompts, strict=True)}
            if len(words) == 1 and (word := words.pop()):
                return word
    return ""


def _word_in(text: str, phrase: str) -> str:
    """Return the word in place of ``{trigger}`` in a phrase, or ""."""
    before, after = phrase.split("{trigger}")
    found = re.fullmatch(f"{re.escape(before)}(\\S+){re.escape(after)}", text.strip())
    return found[1] if found else ""


def file_name(name: str) -> str:
    """Return the name as part of a file name on any system."""
    return _UNSAFE.sub("-", name.strip()).strip("-.").lower()[:_MAX_NAME_LETTERS] or "lora"


def preset_for(presets: tuple[Preset, ...], gpu_gib: float | None) -> Preset | None:
    """Return the preset for the largest VRAM that the GPU has; the one for the least if it has less, or is unknown.

    A GPU reports a little less than the number on its box.
    """
    if not presets:
        return None
    ordered = sorted(presets, key=lambda preset: preset.memory_gb or 0)
    fitting = [preset for preset in ordered if gpu_gib is not None and (preset.memory_gb or 0) <= gpu_gib * 1.05]
    return fitting[-1] if fitting else ordered[0]


def _require(answers: Answers) -> None:
    if not answers.name.strip():
        raise ConfigValueError("The LoRA has no name", path="name", suggestion="Enter a name.")
    if not answers.folder.strip() or not answers.images:
        raise ConfigValueError("There are no images", path="folder", value=answers.folder, suggestion="Add images first.")
    word = answers.trigger_word.strip()
    if answers.captions is CaptionSource.TRIGGER_WORD and not word:
        raise ConfigValueError(
            "The captions consist of the trigger word, and there is none",
            path="trigger_word",
            suggestion="Enter a trigger word, or choose other captions.",
        )
    if len(_WORD.findall(word)) > 1:
        raise ConfigValueError(
            "The trigger word contains a space", path="trigger_word", value=word, suggestion="Use one word, such as “ohwx”."
        )


def _changes(answers: Answers, preset: Preset) -> Iterator[tuple[str, Any]]:
    name = file_name(answers.name)
    batch_size = max(1, min(int(preset.document.get("batch_size", 1)), answers.images))
    epochs = math.ceil(STEP_RULES[answers.quality].presentations(answers.images) / answers.images)
    every = max(1, epochs // _SAVES)
    yield "workspace_dir", f"workspace/{name}"
    yield "cache_dir", f"cache/{name}"
    yield "output_model_destination", f"models/{name}.safetensors"
    yield "epochs", epochs
    yield "batch_size", batch_size
    for what in ("sample_after", "save_every"):
        yield what, every
        yield f"{what}_unit", "EPOCH"
    if answers.base_model:
        yield "base_model_name", answers.base_model
    if answers.huggingface_cache_dir:
        yield "huggingface_cache_dir", answers.huggingface_cache_dir
    if not answers.gpu:
        yield from {"train_device": "cpu", "temp_device": "cpu", "train_dtype": "FLOAT_32"}.items()


def _concept(answers: Answers) -> dict[str, Any]:
    text = {"prompt_source": "sample"}
    if answers.captions is not CaptionSource.FILES:
        text = {"prompt_source": "concept", "prompt_path": answers.caption_file}
    # uploads keep their folders, and the images of all folders are counted
    return {"name": answers.name, "path": answers.folder, "include_subdirectories": True, "text": text}


def _samples(answers: Answers, preset: Preset) -> Iterator[dict[str, Any]]:
    first: dict[str, Any] = next(iter(preset.document.get("samples") or ()), {})
    usual = {**MODELS[TrainConfig.model_validate({"model_type": preset.model_type}).model_type].sample, **first}
    word = answers.trigger_word.strip()
    for number, prompt in enumerate(WORDINGS[answers.subject].prompts):
        text = prompt.format(trigger=word).strip(" ,")
        yield {**usual, "prompt": text or "a photo", "seed": 42 + number, "enabled": True}


def _findings(answers: Answers) -> Iterator[Finding]:
    if answers.images < _RECOMMENDED_IMAGES:
        yield Finding(
            "warning",
            "folder",
            f"There are only {answers.images} images",
            answers.images,
            suggestion=f"Add more: a LoRA usually needs {_RECOMMENDED_IMAGES} to 50.",
            code="few_images",
        )
    if answers.captions is CaptionSource.FILES and answers.uncaptioned:
        some = "none" if answers.uncaptioned == answers.images else f"only {answers.images - answers.uncaptioned}"
        yield Finding(
            "warning",
            "captions",
            f"Of {answers.images} images, {some} {'has' if answers.images - answers.uncaptioned == 1 else 'have'} a caption",
            answers.uncaptioned,
            suggestion="Add the missing captions, or choose the trigger word as caption.",
            code="missing_captions",
        )
    if answers.captions is CaptionSource.NONE:
        yield Finding(
            "note",
            "captions",
            "The images have no captions, so no prompt will call up what the LoRA learns",
            suggestion="Choose captions unless you train a style that is always on.",
            code="no_captions",
        )
    if answers.download:
        size = f": about {answers.download_gb:g} GB" if answers.download_gb else ""
        yield Finding(
            "note",
            "preset",
            f"The base model {answers.download} isn't on this machine. The run downloads it first{size}",
            answers.download,
            suggestion="Choose Download now to download it before the run.",
            code="model_download",
        )

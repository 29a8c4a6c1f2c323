"""The check before the start: everything about a configuration that would fail later, said before anything expensive.

It reads folders and file names but opens no picture and no model, and needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from onetrainer_gradio.config.bounds import out_of_bounds
from onetrainer_gradio.config.concept import ConceptConfig
from onetrainer_gradio.config.device import default_device
from onetrainer_gradio.config.enums import ConceptType, TimeUnit
from onetrainer_gradio.config.models import FOLDER_FORMATS, output_formats
from onetrainer_gradio.config.resolve import absolute, looks_like_hub_name, pack
from onetrainer_gradio.config.train import TrainConfig
from onetrainer_gradio.config.walk import leaves
from onetrainer_gradio.errors import Finding

PICTURE_SUFFIXES = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif", ".jxl"})
RESOLUTION = re.compile(r"^\s*\d+\s*(x\s*\d+\s*|(,\s*\d+\s*)*)$")
PIXEL_MULTIPLE = 8


@dataclass(frozen=True)
class Plan:
    """A configuration under examination, with what several checks need to know about its folders."""

    config: TrainConfig
    base_folder: Path
    roots: tuple[Path, ...]

    def path(self, value: str) -> Path:
        """A path of the configuration made absolute."""
        return absolute(value, self.base_folder)

    @property
    def trained(self) -> list[tuple[int, ConceptConfig]]:
        """The concepts in use with their positions."""
        return [(index, concept) for index, concept in enumerate(self.config.concepts or ()) if concept.enabled]

    @cached_property
    def pictures(self) -> dict[int, list[Path]]:
        """The pictures of each concept in use, by its position."""
        return {
            index: pictures_in(self.path(item.path), item.include_subdirectories) for index, item in self.trained if item.path
        }


def pictures_in(folder: Path, with_subfolders: bool) -> list[Path]:
    """The picture files of a concept's folder, sorted; masks and conditioning pictures are no pictures of their own."""
    if not folder.is_dir():
        return []
    found = folder.rglob("*") if with_subfolders else folder.iterdir()
    return sorted(
        path
        for path in found
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.stem.endswith(("-masklabel", "-condlabel")) and path.is_file()
    )


def check(config: TrainConfig, *, base_folder: Path, roots: Iterable[Path] = ()) -> tuple[Finding, ...]:
    """Everything that is wrong with a configuration, or worth knowing, errors first.

    ``base_folder`` is where relative paths lie; with ``roots``, paths outside of them are errors.
    """
    plan = Plan(pack(config, base_folder), base_folder, tuple(Path(root).resolve() for root in roots))
    findings = first_per_path(finding for examine in CHECKS for finding in examine(plan))
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda finding: order[finding.severity]))


def first_per_path(findings: Iterable[Finding]) -> list[Finding]:
    """Without the errors that repeat an earlier one at the same place: the narrower check comes first."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for finding in findings:
        place = (finding.severity, finding.path)
        if finding.severity != "error" or place not in seen:
            kept.append(finding)
        seen.add(place)
    return kept


def _error(path: str, message: str, value: object, expected: str, change: str) -> Finding:
    return Finding("error", path, message, value, expected, change)


def _warning(path: str, message: str, value: object, expected: str, change: str) -> Finding:
    return Finding("warning", path, message, value, expected, change)


def _bounds(plan: Plan) -> Iterator[Finding]:
    yield from out_of_bounds(plan.config)


def _something_is_trained(plan: Plan) -> Iterator[Finding]:
    if not plan.config.unet.train and not plan.config.text_encoder.train:
        yield _error(
            "unet.train", "Neither the UNet nor the text encoder is trained", False, "at least one of them", "switch one on"
        )


def _formats(plan: Plan) -> Iterator[Finding]:
    config = plan.config
    allowed = output_formats(config.model_type, config.training_method)
    if not allowed:
        value = f"{config.model_type} with {config.training_method}"
        yield _error("training_method", f"{value} cannot be trained here", value, "another method or model type", "choose LORA")
    elif config.output_model_format not in allowed:
        value = config.output_model_format.value
        message = f"{value} is no format for {config.training_method.value}"
        expected = "one of " + ", ".join(allowed)
        yield _error("output_model_format", message, value, expected, f"choose {allowed[0].value}")


def _output(plan: Plan) -> Iterator[Finding]:
    config, name = plan.config, "output_model_destination"
    value = config.output_model_destination
    if not value:
        yield _error(name, "No output file is named", value, "a file name", "name the file to write")
        return
    target = plan.path(value)
    single = config.output_model_format not in FOLDER_FORMATS
    if single and not target.is_dir() and target.suffix != ".safetensors":
        yield _error(
            name, f"{value} does not end in .safetensors", value, "a .safetensors file", f"write {target.stem}.safetensors"
        )
    if target.is_file() or (not single and target.is_dir() and any(target.iterdir())):
        severity = "error" if config.prevent_overwrites else "warning"
        yield Finding(severity, name, f"{value} exists and would be overwritten", value, "a new name", "choose another file name")


def _base_model(plan: Plan) -> Iterator[Finding]:
    value = plan.config.base_model_name
    if not value:
        yield _error("base_model_name", "No base model is named", value, "a folder, a file or a hub name", "choose a base model")
        return
    path = plan.path(value)
    if path.is_dir() and not (path / "model_index.json").is_file():
        message = f"{value} is a folder without model_index.json"
        yield _error(
            "base_model_name", message, value, "a model in diffusers layout", "choose the folder that holds model_index.json"
        )
    elif not path.exists() and not looks_like_hub_name(value):
        yield _error("base_model_name", f"There is no model at {value}", value, "an existing folder or file", "correct the path")
    elif not path.exists() and plan.config.offline_mode and looks_like_hub_name(value):
        message = f"{value} is fetched from the hub, and Offline is on"
        yield _warning(
            "base_model_name", message, value, "a model on this machine", "turn Offline off unless it was fetched before"
        )


def _concepts(plan: Plan) -> Iterator[Finding]:
    if not any(concept.type is ConceptType.STANDARD for _, concept in plan.trained):
        yield _error(
            "concepts", "There is no concept to train on", None, "at least one that is in use", "add a folder of pictures"
        )
    for index, concept in plan.trained:
        where = f"concepts.{index}.path"
        name = concept.name or f"Concept {index + 1}"
        if not concept.path:
            yield _error(where, f"{name} has no folder", "", "a folder with pictures", "choose the folder")
        elif not plan.path(concept.path).is_dir():
            yield _error(
                where, f"{name}: there is no folder {concept.path}", concept.path, "an existing folder", "correct the path"
            )
        elif not plan.pictures[index]:
            change = "put pictures there or turn on Include subfolders"
            yield _error(where, f"{name}: no pictures in {concept.path}", concept.path, "a folder with pictures", change)
        else:
            yield from _captions(plan, index, concept, name)


def _captions(plan: Plan, index: int, concept: ConceptConfig, name: str) -> Iterator[Finding]:
    source = concept.text.prompt_source
    if source == "concept" and not plan.path(concept.text.prompt_path).is_file():
        value = concept.text.prompt_path
        where = f"concepts.{index}.text.prompt_path"
        yield _error(where, f"{name}: there is no caption file {value!r}", value, "an existing text file", "correct the path")
    if source == "sample":
        pictures = plan.pictures[index]
        without = [picture for picture in pictures if not picture.with_suffix(".txt").is_file()]
        if without:
            message = f"{name}: {len(without)} of {len(pictures)} pictures have no caption, the first is {without[0].name}"
            change = f"write {without[0].stem}.txt beside it, or take captions from file names"
            yield _warning(f"concepts.{index}.path", message, concept.path, "a .txt file beside each picture", change)


def _batches(plan: Plan) -> Iterator[Finding]:
    total = sum(_per_epoch(concept, len(plan.pictures.get(index, ()))) for index, concept in plan.trained)
    size = plan.config.batch_size
    if 0 < total < size:
        message = f"{total} pictures an epoch do not fill one batch of {size}"
        yield _error("batch_size", message, size, f"at most {total}", f"set the batch size to {total} or raise the balance")


def _per_epoch(concept: ConceptConfig, pictures: int) -> int:
    if concept.type is not ConceptType.STANDARD:
        return 0
    return int(concept.balancing) if concept.balancing_strategy == "SAMPLES" else int(concept.balancing * pictures)


def _resolution(plan: Plan) -> Iterator[Finding]:
    value = plan.config.resolution
    if not RESOLUTION.match(value):
        yield _error("resolution", f"Resolution is {value!r}", value, "512, or 512,768, or 768x512", "write it like that")
        return
    for number in re.findall(r"\d+", value):
        if int(number) < PIXEL_MULTIPLE:
            yield _error("resolution", f"Resolution {number} is too small", value, f"at least {PIXEL_MULTIPLE}", "write 512")
        elif int(number) % PIXEL_MULTIPLE:
            lower = int(number) // PIXEL_MULTIPLE * PIXEL_MULTIPLE
            message = f"Resolution {number} is no multiple of {PIXEL_MULTIPLE}; pictures are scaled to a multiple"
            yield _warning("resolution", message, value, f"a multiple of {PIXEL_MULTIPLE}", f"write {lower}")


def _samples(plan: Plan) -> Iterator[Finding]:
    samples = [(index, sample) for index, sample in enumerate(plan.config.samples or ()) if sample.enabled]
    for index, sample in samples:
        for side in ("width", "height"):
            value = getattr(sample, side)
            if value % PIXEL_MULTIPLE:
                expected = f"a multiple of {PIXEL_MULTIPLE}"
                near = value // PIXEL_MULTIPLE * PIXEL_MULTIPLE
                yield _error(f"samples.{index}.{side}", f"The {side} of a sample is {value}", value, expected, f"write {near}")
    if not samples and plan.config.sample_after_unit is not TimeUnit.NEVER:
        message = "There are no sample prompts, so no pictures will be painted during the run"
        yield Finding("note", "samples", message, None, "a prompt or two", "add a sample prompt")


def _resume(plan: Plan) -> Iterator[Finding]:
    workspace = plan.path(plan.config.workspace_dir)
    if plan.config.continue_last_backup and not any((workspace / "backup").glob("*")):
        message = f"There is no backup in {plan.config.workspace_dir} to continue from"
        change = "turn it off, or choose the workspace with the backup"
        yield _error("continue_last_backup", message, True, "a workspace with a backup", change)


def _device(plan: Plan) -> Iterator[Finding]:
    device = plan.config.train_device
    if device.startswith("cuda") and default_device() != "cuda":
        message = "Device is cuda, but this machine shows no graphics card with a driver"
        yield _error("train_device", message, device, "a device of this machine", f"write {default_device()}")
    if device == "cpu" and plan.config.train_dtype == "FLOAT_16":
        message = "FLOAT_16 on a CPU is slow and inexact"
        yield _warning("train_dtype", message, "FLOAT_16", "FLOAT_32 or BFLOAT_16", "write FLOAT_32")


def _inside_roots(plan: Plan) -> Iterator[Finding]:
    if not plan.roots:
        return
    for leaf in leaves(plan.config):
        if not leaf.setting.path or not leaf.value or (leaf.setting.path == "model" and looks_like_hub_name(leaf.value)):
            continue
        place = plan.path(leaf.value).resolve()
        if not any(place.is_relative_to(root) for root in plan.roots):
            message = f"{leaf.path} leads outside the allowed folders: {leaf.value}"
            expected = "a path inside " + ", ".join(str(root) for root in plan.roots)
            yield _error(leaf.path, message, leaf.value, expected, "choose another path, or start the panel with --allow FOLDER")


CHECKS: tuple[Callable[[Plan], Iterator[Finding]], ...] = (
    _something_is_trained,
    _formats,
    _output,
    _base_model,
    _concepts,
    _batches,
    _resolution,
    _samples,
    _resume,
    _device,
    _inside_roots,
    _bounds,
)

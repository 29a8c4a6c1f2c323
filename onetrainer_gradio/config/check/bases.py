"""The base model and the files that take the place of its parts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.enums import TrainingMethod
from onetrainer_gradio.config.families.models import pipeline_types
from onetrainer_gradio.config.files.resolve import looks_like_hub_name
from onetrainer_gradio.config.model_files import BASE, COMPONENT, EMBEDDING, LORA, PIPELINE, family_of, unfit
from onetrainer_gradio.errors import Finding

_EXPECTED = {
    COMPONENT: "the file or folder of this component",
    PIPELINE: "the file or folder of this component",
    LORA: "a LoRA file or backup",
    EMBEDDING: "an embedding file",
}
_FAMILY_NAMES = {"STABLE_DIFFUSION_XL": "SDXL", "STABLE_DIFFUSION_2": "SD2", "STABLE_DIFFUSION_1": "SD1.5"}
SINGLE_FILES = (".safetensors", ".ckpt", ".gguf", ".pt", ".pth", ".bin")
# A file of any other name may be a model: whoever loads it looks inside.
_NO_MODELS = frozenset({".json", ".yaml", ".yml", ".toml", ".txt", ".md", ".csv", ".png", ".jpg", ".jpeg", ".webp", ".zip"})
_INDEX_FILES = ("model_index.json", "modular_model_index.json", "meta.json")
_CLOUD = "cloud:"


def is_single_file(name: str) -> bool:
    """Whether a model is named as one file."""
    return name.lower().split("?")[0].endswith(SINGLE_FILES)


def base_model(plan: Plan) -> Iterator[Finding]:
    """A folder in diffusers layout, a file, or a name on the hub."""
    value, name = plan.config.base_model_name, "base_model_name"
    usual = plan.facts.base.hub
    if not value:
        yield found(
            "base-model-missing",
            name,
            "No base model is named",
            value=value,
            expected="a folder, a file or a hub name",
            suggestion=f"Choose a base model, for instance {usual}.",
            fix={name: usual},
        )
        return
    path = plan.path(value)
    problem = unfit(path, BASE, whole=_whole(plan), components=_of_base(plan))
    if os.path.isdir(path) and not any(os.path.isfile(path / index) for index in _INDEX_FILES):
        message = problem.about(value) if problem else f"{value} is a folder without model_index.json"
        suggestion = problem.suggestion if problem else "Choose the folder that holds model_index.json."
        yield found(
            "base-model-folder", name, message, value=value, expected="a model in diffusers layout", suggestion=suggestion
        )
    elif os.path.isfile(path) and path.suffix.lower() in _NO_MODELS:
        message = f"{value} is a file of a kind that holds no model"
        expected = f"a folder in diffusers layout, or a file that ends in {', '.join(SINGLE_FILES)}"
        yield found("base-model-file", name, message, value=value, expected=expected, suggestion="Choose the model itself.")
    elif problem is not None:
        expected = "a folder in diffusers layout or a checkpoint"
        yield found("model-file", name, problem.about(value), value=value, expected=expected, suggestion=problem.suggestion)
    elif not os.path.exists(path) and not looks_like_hub_name(value) and not _elsewhere(plan, value):
        message = f"There is no model at {value}"
        yield found(
            "base-model-missing",
            name,
            message,
            value=value,
            expected="an existing folder or file",
            suggestion="Correct the path.",
        )
    elif not os.path.exists(path) and plan.config.offline_mode and looks_like_hub_name(value):
        message = f"{value} is fetched from the hub, and Offline is on"
        suggestion = "Turn Offline off unless it was fetched before."
        yield found("offline-model", name, message, value=value, expected="a model on this machine", suggestion=suggestion)


def _whole(plan: Plan) -> bool:
    """Whether a single file has to hold every component: for these types nothing else is asked for the others."""
    kind = plan.config.model_type.value
    whole = kind.startswith(("STABLE_DIFFUSION_1", "STABLE_DIFFUSION_2", "STABLE_DIFFUSION_XL"))
    return whole and not plan.config.vae.model_name


def _of_base(plan: Plan) -> tuple[str, ...]:
    """The components that are loaded from the base model, by their names in a folder in diffusers layout."""
    return tuple(name for name in plan.loaded if not (name in plan.facts.replaceable and plan.at(f"{name}.model_name")))


def checkpoint_type(plan: Plan) -> Iterator[Finding]:
    """The tensor names of a checkpoint show what type of model it is."""
    value = plan.config.base_model_name
    family = family_of(plan.path(value)) if value else ""
    if family and not plan.config.model_type.value.startswith(family):
        named = _FAMILY_NAMES[family]
        yield found(
            "base-model-type",
            "base_model_name",
            f"{value} is a checkpoint of {named}, not of {plan.facts.label}",
            value=value,
            expected=f"a model of the type {plan.facts.label}",
            suggestion="Choose another model type, or another base model.",
        )


def pipeline(plan: Plan) -> Iterator[Finding]:
    """A folder in diffusers layout says what it holds."""
    value = plan.config.base_model_name
    name = _pipeline_of(plan.path(value) / "model_index.json") if value else ""
    meant = pipeline_types(name)
    if meant and plan.config.model_type not in meant:
        yield found(
            "base-model-type",
            "base_model_name",
            f"{value} holds a {name}, which is no {plan.facts.label}",
            value=value,
            expected=f"a model of the type {plan.facts.label}",
            suggestion="Choose another model type, or another base model.",
        )


def _pipeline_of(index: Path) -> str:
    """The name of the pipeline in a model's folder; empty when it does not say."""
    try:
        document = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    name = document.get("_class_name") if isinstance(document, dict) else ""
    return name if isinstance(name, str) else ""


def _elsewhere(plan: Plan, value: str) -> bool:
    return plan.config.cloud.enabled and value.startswith(_CLOUD)


def single_file_base(plan: Plan) -> Iterator[Finding]:
    """These types need tokenizer, text encoder and VAE beside the transformer, and one file holds the transformer only."""
    value = plan.config.base_model_name
    if not plan.facts.folder_only or not is_single_file(value):
        return
    usual = plan.facts.base.hub
    override = "transformer" in plan.facts.replaceable
    suggestion = f"Name {usual} as the base" + (", and the file as the transformer's." if override else ".")
    yield found(
        "single-file-base",
        "base_model_name",
        f"{plan.facts.label} cannot be loaded from the single file {value}",
        value=value,
        expected="a folder in diffusers layout or a hub name",
        suggestion=suggestion,
        fix={"base_model_name": usual, **({"transformer.model_name": value} if override else {})},
    )


def parts_from_elsewhere(plan: Plan) -> Iterator[Finding]:
    """Files that replace a part, or that a type cannot do without."""
    for name in plan.loaded:
        path = f"{name}.model_name"
        value = plan.at(path)
        if not value and name in plan.facts.apart:
            yield found(
                "part-missing",
                path,
                f"{plan.facts.label} needs its {plan.called(name)} from a place of its own",
                value=value,
                expected="a folder, a file or a hub name",
                suggestion="Name it; the presets of this type show where it is found.",
            )
        elif value and name in plan.facts.replaceable:
            yield from _readable(plan, path, value, COMPONENT if name in ("vae", "transformer") else PIPELINE)


def adapters(plan: Plan) -> Iterator[Finding]:
    """Adapter and embedding files to go on from; those are not fetched from the hub."""
    config = plan.config
    if config.training_method is TrainingMethod.LORA and config.lora_model_name:
        yield from _readable(plan, "lora_model_name", config.lora_model_name, LORA, hub=False)
    if config.training_method is TrainingMethod.EMBEDDING and config.embedding.model_name:
        yield from _readable(plan, "embedding.model_name", config.embedding.model_name, EMBEDDING, hub=False)
    for index, embedding in enumerate(config.additional_embeddings):
        if embedding.model_name:
            yield from _readable(plan, f"additional_embeddings.{index}.model_name", embedding.model_name, EMBEDDING, hub=False)


def _readable(plan: Plan, setting: str, value: str, role: str, *, hub: bool = True) -> Iterator[Finding]:
    path = plan.path(value)
    if os.path.exists(path):
        if not plan.machine.allowed(path, os.R_OK):
            yield found(
                "path-unreadable",
                setting,
                f"{value} cannot be read",
                value=value,
                expected="a file that may be read",
                suggestion="Change its permissions.",
            )
        elif (problem := unfit(path, role)) is not None:
            expected = _EXPECTED[role]
            yield found(
                "model-file", setting, problem.about(value), value=value, expected=expected, suggestion=problem.suggestion
            )
    elif not (hub and looks_like_hub_name(value)) and not _elsewhere(plan, value):
        yield found(
            "file-missing",
            setting,
            f"There is no file {value}",
            value=value,
            expected="an existing file, folder or hub name" if hub else "an existing file or folder",
            suggestion="Correct the path, or leave it empty.",
        )


def embeddings(plan: Plan) -> Iterator[Finding]:
    """Some types cannot learn new words at all."""
    config = plan.config
    if TrainingMethod.EMBEDDING in plan.facts.methods:
        return
    for index, embedding in enumerate(config.additional_embeddings):
        if embedding.train:
            path = f"additional_embeddings.{index}.train"
            yield found(
                "embeddings-for-type",
                path,
                f"{plan.facts.label} cannot learn the new word {embedding.placeholder}",
                value=True,
                expected="no additional embeddings for this type",
                suggestion="Remove the embedding.",
                fix={"additional_embeddings": []},
            )
            return

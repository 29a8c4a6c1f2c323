"""Checks of the base model and of the files that replace its components."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
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
# A file with any other extension may be a model: the loader decides.
_NO_MODELS = frozenset({".json", ".yaml", ".yml", ".toml", ".txt", ".md", ".csv", ".png", ".jpg", ".jpeg", ".webp", ".zip"})
_INDEX_FILES = ("model_index.json", "modular_model_index.json", "meta.json")
_CLOUD = "cloud:"
_OTHER_TYPE = f"Choose another {title_of('model_type').lower()}, or another base model."


def is_single_file(name: str) -> bool:
    """Return whether a model's name is that of a single file."""
    return name.lower().split("?")[0].endswith(SINGLE_FILES)


def base_model(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the base model is none: neither a folder in diffusers layout, nor a file, nor a name on the Hub."""
    value, name = plan.config.base_model_name, "base_model_name"
    usual = plan.facts.base.hub
    if not value:
        yield found(
            "base-model-missing",
            name,
            "No base model is set",
            value=value,
            expected="a folder, a file or a model on the Hugging Face Hub",
            suggestion=f"Set {title_of(name)} to a model, for example {usual}.",
            fix={name: usual},
        )
        return
    path = plan.path(value)
    problem = unfit(path, BASE, whole=_whole(plan), components=_of_base(plan))
    if os.path.isdir(path) and not any(os.path.isfile(path / index) for index in _INDEX_FILES):
        message = problem.about(value) if problem else f"The folder {value} doesn't contain model_index.json"
        suggestion = problem.suggestion if problem else "Choose the folder that contains model_index.json."
        yield found(
            "base-model-folder", name, message, value=value, expected="a model in diffusers layout", suggestion=suggestion
        )
    elif os.path.isfile(path) and path.suffix.lower() in _NO_MODELS:
        message = f"{value} isn't a model file"
        expected = f"a folder in diffusers layout, or a file with the extension {', '.join(SINGLE_FILES)}"
        yield found(
            "base-model-file",
            name,
            message,
            value=value,
            expected=expected,
            suggestion="Choose a folder in diffusers layout or a model file.",
        )
    elif problem is not None:
        expected = "a folder in diffusers layout or a checkpoint"
        yield found("model-file", name, problem.about(value), value=value, expected=expected, suggestion=problem.suggestion)
    elif not os.path.exists(path) and not looks_like_hub_name(value) and not _elsewhere(plan, value):
        message = f"The model {value} doesn't exist"
        yield found(
            "base-model-missing",
            name,
            message,
            value=value,
            expected="an existing folder or file",
            suggestion=f"Correct the path of {title_of(name)}.",
        )
    elif not os.path.exists(path) and plan.config.offline_mode and looks_like_hub_name(value):
        offline = title_of("offline_mode")
        message = f"{value} would be downloaded from the Hugging Face Hub, but {offline} is on"
        suggestion = f"Turn off {offline}, unless the model is already downloaded."
        yield found("offline-model", name, message, value=value, expected="a model on this machine", suggestion=suggestion)


def _whole(plan: Plan) -> bool:
    """Return whether a single file must contain every component, because there is no other source for this model type."""
    kind = plan.config.model_type.value
    whole = kind.startswith(("STABLE_DIFFUSION_1", "STABLE_DIFFUSION_2", "STABLE_DIFFUSION_XL"))
    return whole and not plan.config.vae.model_name


def _of_base(plan: Plan) -> tuple[str, ...]:
    """Return the components that are loaded from the base model, by their names in a folder in diffusers layout."""
    return tuple(name for name in plan.loaded if not (name in plan.facts.replaceable and plan.at(f"{name}.model_name")))


def checkpoint_type(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the tensor names of a checkpoint show another type of model."""
    value = plan.config.base_model_name
    family = family_of(plan.path(value)) if value else ""
    if family and not plan.config.model_type.value.startswith(family):
        named = _FAMILY_NAMES[family]
        yield found(
            "base-model-type",
            "base_model_name",
            f"{value} is a checkpoint for {named}, but {title_of('model_type')} is {plan.facts.label}",
            value=value,
            expected=f"a {plan.facts.label} model",
            suggestion=_OTHER_TYPE,
        )


def pipeline(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the index of a folder in diffusers layout shows another type of model."""
    value = plan.config.base_model_name
    name = _pipeline_of(plan.path(value) / "model_index.json") if value else ""
    types = pipeline_types(name)
    if types and plan.config.model_type not in types:
        yield found(
            "base-model-type",
            "base_model_name",
            f"{value} contains a {name}, but {title_of('model_type')} is {plan.facts.label}",
            value=value,
            expected=f"a {plan.facts.label} model",
            suggestion=_OTHER_TYPE,
        )


def _pipeline_of(index: Path) -> str:
    """Return the name of the pipeline in a model's folder; empty if it isn't given."""
    try:
        document = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    name = document.get("_class_name") if isinstance(document, dict) else ""
    return name if isinstance(name, str) else ""


def _elsewhere(plan: Plan, value: str) -> bool:
    return plan.config.cloud.enabled and value.startswith(_CLOUD)


def single_file_base(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a single file that contains only the transformer, without tokenizer, text encoder and VAE."""
    value = plan.config.base_model_name
    if not plan.facts.folder_only or not is_single_file(value):
        return
    usual = plan.facts.base.hub
    override = "transformer" in plan.facts.replaceable
    suggestion = f"Set {title_of('base_model_name')} to {usual}" + (
        f", and {title_of('transformer.model_name')} to the file." if override else "."
    )
    yield found(
        "single-file-base",
        "base_model_name",
        f"{plan.facts.label} can't be loaded from the single file {value}",
        value=value,
        expected="a folder in diffusers layout or a model on the Hugging Face Hub",
        suggestion=suggestion,
        fix={"base_model_name": usual, **({"transformer.model_name": value} if override else {})},
    )


def parts_from_elsewhere(plan: Plan) -> Iterator[Finding]:
    """Yield errors for the files of components that are missing, unreadable or something else."""
    for name in plan.loaded:
        path = f"{name}.model_name"
        value = plan.at(path)
        if not value and name in plan.facts.apart:
            yield found(
                "part-missing",
                path,
                f"{plan.facts.label} requires a separate {plan.called(name)}, which isn't set",
                value=value,
                expected="a folder, a file or a model on the Hugging Face Hub",
                suggestion=f"Set {title_of(path)}. The presets for {plan.facts.label} show where to find it.",
            )
        elif value and name in plan.facts.replaceable:
            yield from _readable(plan, path, value, COMPONENT if name in ("vae", "transformer") else PIPELINE)


def adapters(plan: Plan) -> Iterator[Finding]:
    """Yield errors for the LoRA and embedding files to continue from. They are never downloaded."""
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
                f"Can't read {value}: permission denied",
                value=value,
                expected="a readable file",
                suggestion="Change its permissions, or choose another file.",
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
            f"{value} doesn't exist",
            value=value,
            expected="an existing file or folder, or a model on the Hugging Face Hub" if hub else "an existing file or folder",
            suggestion=f"Correct {title_of(setting)}, or clear it.",
        )


def embeddings(plan: Plan) -> Iterator[Finding]:
    """Yield an error if an embedding is trained and the model type doesn't support embeddings."""
    config = plan.config
    if TrainingMethod.EMBEDDING in plan.facts.methods:
        return
    for index, embedding in enumerate(config.additional_embeddings):
        if embedding.train:
            path = f"additional_embeddings.{index}.train"
            yield found(
                "embeddings-for-type",
                path,
                f"{plan.facts.label} doesn't support embeddings, so “{embedding.placeholder}” can't be trained",
                value=True,
                expected="no additional embeddings for this model type",
                suggestion="Remove the embedding, or choose another model type.",
                fix={"additional_embeddings": []},
            )
            return

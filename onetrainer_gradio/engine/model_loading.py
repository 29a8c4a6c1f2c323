"""Load the components of a base model: from a folder in diffusers layout, a Hugging Face repository, or a single file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.labels import label_of
from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.families.published_configs import published
from onetrainer_gradio.config.model_files import BASE, Unfit, family_of, recognize, unfit, weights_unfit
from onetrainer_gradio.config.repository_files import SMALL, shards_of
from onetrainer_gradio.engine.component_weights import FAILURES, ComponentWeights, class_of, identities, weight_names, weights_of
from onetrainer_gradio.engine.data.cache import file_identity
from onetrainer_gradio.engine.families.family import Component, FamilySpec
from onetrainer_gradio.engine.hub import Hub
from onetrainer_gradio.engine.original_config import scheduler_changes
from onetrainer_gradio.errors import ModelFormatError, ModelNotFoundError

Progress = Callable[[int, int, str], None]

_CHECKPOINTS = (".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Loaded:
    """The components and tokenizers of a model, and the identities of the files that they come from."""

    components: dict[str, Any]
    tokenizers: dict[str, Any]
    scheduler_config: dict[str, Any]
    identities: dict[str, Any]


@dataclass(frozen=True)
class _Wanted:
    """What must be loaded: the components that the settings include."""

    config: TrainConfig
    spec: FamilySpec
    source: str

    @property
    def label(self) -> str:
        return label_of(ModelType, self.config.model_type)

    @property
    def components(self) -> dict[str, Component]:
        optional = MODELS[self.config.model_type].optional
        return {
            name: component
            for name, component in self.spec.components.items()
            if name not in optional or getattr(self.config, name).include
        }

    @property
    def tokenizers(self) -> dict[str, str]:
        tokenizers = {one.tokenizer: one.tokenizer_class for one in self.spec.text if one.name in self.components}
        return tokenizers | dict(self.spec.processors)

    @property
    def weights(self) -> dict[str, ComponentWeights]:
        # a backup contains all components, trained ones too
        from_backup = self.source != self.config.base_model_name
        return weights_of(self.config, self.components, replaceable=not from_backup)

    @property
    def own(self) -> dict[str, Component]:
        """Return the components that the base model has to contain, because no other model replaces them."""
        return {name: one.component for name, one in self.weights.items() if not one.replacement}

    def unusable(self, message: str, suggestion: str = "Choose another base model or model type.") -> ModelFormatError:
        return ModelFormatError(
            message, path="base_model_name", value=self.source, expected=f"a full {self.label} model", suggestion=suggestion
        )


def load(config: TrainConfig, spec: FamilySpec, source: str, progress: Progress) -> Loaded:
    """Load the model at ``source``: a diffusers folder, a single file, or a Hugging Face model ID.

    :raises ModelNotFoundError: if it isn't found.
    :raises ModelFormatError: if it isn't a model of the configured type.
    """
    wanted = _Wanted(config, spec, source)
    hub = Hub.of(config, progress)
    first = (f"{name}/{weight_names(component)[0]}" for name, component in wanted.own.items())
    place = hub.locate(source, (*SMALL, *first))
    return _from_folder(wanted, place, hub, progress) if place.is_dir() else _from_file(wanted, place, hub, progress)


def _from_folder(wanted: _Wanted, folder: Path, hub: Hub, progress: Progress) -> Loaded:
    folder = _with_weights(wanted, folder, hub)
    tokenizers: dict[str, Any] = {}
    components: dict[str, Any] = {}
    found = {name: identities(folder / name) for name in (*wanted.tokenizers, *wanted.own)}
    steps = len(wanted.tokenizers) + len(wanted.components)
    for name in (*wanted.tokenizers, *reversed(wanted.components)):
        progress(len(tokenizers) + len(components), steps, name)
        if name not in wanted.own and name in wanted.components:
            components[name], found[name] = wanted.weights[name].replaced(hub, folder / name)
            continue
        try:
            if name in wanted.tokenizers:
                tokenizers[name] = _tokenizer(wanted.tokenizers[name], folder / name)
            else:
                components[name] = wanted.weights[name].from_folder(folder / name)
        except FAILURES as error:
            message = f"Can't load the component “{name}” of the base model “{wanted.source}”: {error}"
            raise wanted.unusable(message) from error
    progress(steps, steps, "")
    return Loaded(
        components={name: components[name] for name in wanted.components},
        tokenizers=tokenizers,
        scheduler_config=json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8")),
        identities=found,
    )


def _with_weights(wanted: _Wanted, folder: Path, hub: Hub) -> Path:
    """Return the folder with a weight file for each component, downloaded if the model is on the Hugging Face Hub.

    :raises ModelFormatError: if a component is missing or damaged.
    """
    if not Path(wanted.source).exists():  # downloaded: repositories have different weight files
        for part, component in wanted.own.items():
            names = weight_names(component)
            for name in names:
                if any((folder / part / known).exists() for known in names):
                    break
                shards = (f"{part}/{shards_of(name)}",) if shards_of(name) else ()
                folder = hub.locate(wanted.source, (*SMALL, f"{part}/{name}", *shards))
    # text encoders first: without them, the folder is most likely no model
    for part, component in sorted(wanted.own.items(), key=lambda item: not item[0].startswith("text_encoder")):
        names = weight_names(component)
        if not (folder / part / "config.json").is_file() or not any((folder / part / name).is_file() for name in names):
            raise ModelFormatError(
                f"“{wanted.source}” isn't a model of type {wanted.label} in diffusers layout: “{part}” is missing or has no "
                "weights.",
                path="base_model_name",
                value=wanted.source,
                expected=f"{part}/config.json and {part}/{names[0]}",
                suggestion="Choose another base model or model type.",
            )
        problem = weights_unfit(folder / part)
        if problem is not None:
            message = f"The base model “{wanted.source}” has the component {part}, which {problem.what}."
            raise wanted.unusable(message, problem.suggestion)
    return folder


def _tokenizer(class_name: str, folder: Path) -> Any:
    library, _, name = class_name.rpartition(":")
    return class_of(f"{library or 'transformers'}:{name}").from_pretrained(folder)


# -- single files ---------------------------------------------------------------------------------------------------------


def _from_file(wanted: _Wanted, file: Path, hub: Hub, progress: Progress) -> Loaded:
    from diffusers.loaders.single_file_utils import SingleFileComponentError

    _look_into(wanted, file)
    overrides = {} if MODELS[wanted.config.model_type].flow else scheduler_changes(file)
    try:
        layout = _layout_of_single_files(wanted, file, hub)
        progress(0, 1, file.name)
        replaced = {name: one.replaced(hub, layout.folder / name) for name, one in wanted.weights.items() if one.replacement}
        absent = (wanted.spec.components.keys() - wanted.components.keys()) | (
            wanted.spec.other_index.keys() & {"safety_checker"}
        )
        pipeline = class_of(wanted.spec.pipeline).from_single_file(
            str(file),
            config=str(layout.folder),
            local_files_only=True,
            torch_dtype=torch.float32,
            **dict.fromkeys(absent),
            **layout.tokenizers,
            **{name: module for name, (module, _) in replaced.items()},
        )
    except (*FAILURES, SingleFileComponentError) as error:
        raise wanted.unusable(f"Can't load the file “{file}” as {wanted.label}: {error}") from error
    progress(1, 1, "")
    identity = [file_identity(file)]
    return Loaded(
        components={
            name: replaced[name][0] if name in replaced else one.finished(getattr(pipeline, name))
            for name, one in wanted.weights.items()
        },
        tokenizers={name: getattr(pipeline, name) for name in wanted.tokenizers},
        scheduler_config=dict(pipeline.scheduler.config) | overrides,
        identities={
            **dict.fromkeys(wanted.components, identity),
            **layout.identities,
            **{name: found for name, (_, found) in replaced.items()},
        },
    )


def _look_into(wanted: _Wanted, file: Path) -> None:
    """Check the file before anything is downloaded for it.

    :raises ModelFormatError: if it isn't a model of the type.
    """
    problem = unfit(file, BASE)
    if problem is None and file.suffix not in (".safetensors", *_CHECKPOINTS):
        problem = Unfit("is not a model file", f"choose a file that ends in {', '.join(('.safetensors', *_CHECKPOINTS))}")
    if problem is None and not str(wanted.config.model_type).startswith(family_of(file)):
        problem = Unfit("is a checkpoint of another model type", f"choose a {wanted.label} model, or another model type")
    if problem is not None:
        raise wanted.unusable(f"The base model “{file}” {problem.what}.", problem.suggestion)


@dataclass(frozen=True)
class _Layout:
    """What a single file lacks: a folder with the configurations of its components, and its tokenizers."""

    folder: Path
    tokenizers: Mapping[str, Any]
    """None for one that isn't needed; empty if they are in the folder."""
    identities: Mapping[str, Any]


def _layout_of_single_files(wanted: _Wanted, file: Path, hub: Hub) -> _Layout:
    """Return the layout of single files: that of the usual base model, if it is on this machine, else the published one.

    :raises ModelNotFoundError: if this package has none for the type, and it can't be downloaded.
    """
    known = MODELS[wanted.config.model_type].base.hub
    found = _downloaded(wanted, known, replace(hub, offline=True)) or _published(wanted, file)
    if found is not None:
        return found
    try:
        folder = hub.locate(known, SMALL)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"The file “{file}” contains only weights, and their tokenizer and layout are not on this machine: {error.message}",
            path="base_model_name",
            value=str(file),
            expected=f"a model in diffusers layout, or access to '{known}' once",
            suggestion="Turn off Offline mode, check the connection, or choose a model in diffusers layout.",
        ) from error
    return _in_folder(wanted, folder)


def _in_folder(wanted: _Wanted, folder: Path) -> _Layout:
    return _Layout(folder, {}, {name: identities(folder / name) for name in wanted.tokenizers})


def _downloaded(wanted: _Wanted, known: str, hub: Hub) -> _Layout | None:
    """Return the layout of a repository that was downloaded before, if nothing of it is missing."""
    try:
        folder = hub.locate(known, SMALL)
    except ModelNotFoundError:
        return None
    needed = [*(f"{name}/config.json" for name in wanted.components), *wanted.tokenizers, "scheduler", "model_index.json"]
    return _in_folder(wanted, folder) if all((folder / name).exists() for name in needed) else None


def _published(wanted: _Wanted, file: Path) -> _Layout | None:
    recognized = recognize(file)
    found = published(wanted.config.model_type, recognized.keys if recognized else ())
    if found is None:
        return None
    names = {one.tokenizer for one in wanted.spec.text}
    loaded = {
        name: class_of(f"transformers:{wanted.tokenizers[name]}").from_pretrained(one.folder, **one.options)
        for name, one in found.tokenizers.items()
        if name in wanted.tokenizers
    }
    files = {name: [*identities(one.folder), *one.options.items()] for name, one in found.tokenizers.items() if name in loaded}
    return _Layout(found.folder, dict.fromkeys(names) | loaded, files)

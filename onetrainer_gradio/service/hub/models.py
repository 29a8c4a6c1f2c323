"""Search the Hugging Face Hub for base models, and describe what each is and needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onetrainer_gradio.config.enums import ModelType
from onetrainer_gradio.config.families.base_models import PUBLISHED
from onetrainer_gradio.config.families.models import MODELS, pipeline_types
from onetrainer_gradio.config.repository_files import is_complete, training_files
from onetrainer_gradio.errors import ConfigValueError, ForbiddenPathError
from onetrainer_gradio.service.hub.client import HubClient, raising_hub_error

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

MAX_FOUND = 50
_MAX_LETTERS = 200
_PROPERTIES = ("downloads", "gated", "tags", "config", "pipeline_tag", "library_name", "lastModified")
_ADAPTERS = ("lora", "controlnet", "textual_inversion", "template:sd-lora")
Trainable = Callable[[str], tuple[bool, str]]
"""Returns whether a model type can be trained here, and why not."""


class HubModels:
    """Base models on the Hugging Face Hub. Safe from any thread.

    ``cache`` returns the cache folder of the library that training reads ("": the usual one).
    """

    def __init__(self, hub: HubClient, trainable: Trainable, cache: Callable[[], str] = str) -> None:
        self._hub, self._trainable, self._cache = hub, trainable, cache

    def search(self, words: str, model_type: str = "", limit: int = 20) -> list[dict[str, Any]]:
        """Return models with the words in their name that have a diffusers pipeline, the most downloaded first.

        With ``model_type``, only those that this type can be loaded from. ``bytes`` is None: ``describe`` has it.

        :raises HubError: if the hub doesn't answer.
        :raises ConfigValueError: if there is nothing to search for.
        """
        words = words.strip()[:_MAX_LETTERS]
        if not words:
            raise ConfigValueError("There is nothing to search for", path="search", suggestion="Enter a part of a name.")
        found = self._hub.search(words, MAX_FOUND, _PROPERTIES)
        known: dict[str, tuple[bool, str]] = {}
        rows = [self._row(info, known) for info in found if not _is_adapter(info)]
        if model_type:
            rows = [row for row in rows if model_type in row["model_types"]]
        rows = [row for row in rows if row["model_types"]]
        return sorted(rows, key=lambda row: not row["trainable"])[: max(1, limit)]

    def describe(self, repository: str, model_type: str = "", revision: str = "main") -> dict[str, Any]:
        """Return a model as ``search`` does, with ``bytes`` (what is downloaded for training), ``files`` and ``missing`` parts.

        :raises HubError: if the hub doesn't answer, or has no such repository.
        :raises ConfigValueError: if the name isn't valid.
        """
        with raising_hub_error(repository):
            info = self._hub.api().model_info(repository, revision=revision, files_metadata=True)
        row = self._row(info, {})
        chosen, missing = files_to_train(info, model_type)
        sizes = {each.rfilename: each.size or 0 for each in info.siblings or ()}
        return {**row, "bytes": sum(sizes[path] for path in chosen), "files": list(chosen), "missing": list(missing)}

    def is_local(self, repository: str, model_type: str = "") -> bool:
        """Return whether everything that training needs of a repository is on this machine."""
        try:
            folder = local_folder(repository, self._cache())
        except ForbiddenPathError:
            return False
        return folder is not None and is_complete(folder, _needed_parts([model_type] if model_type else []))

    def _row(self, info: ModelInfo, known: dict[str, tuple[bool, str]]) -> dict[str, Any]:
        types = _types(info)
        known.update({name: self._trainable(name) for name in types if name not in known})
        states = [(name, *known[name]) for name in types]
        usable = next((name for name, can, _ in states if can), "")
        gated = info.gated
        published = PUBLISHED.get(info.id)
        return {
            "id": info.id,
            "downloads": info.downloads or 0,
            "license": published.license if published else _license(info),
            "gated": bool(gated),
            "model_types": types,
            "model_type": usable or next(iter(types), ""),
            "label": MODELS[ModelType(usable or types[0])].label if types else "",
            "bytes": None,
            "local": self.is_local(info.id, usable or next(iter(types), "")),
            "trainable": bool(usable),
            "reason": "" if usable else next((why for _, _, why in states if why), "No known model type is loaded from it."),
        }


def files_to_train(info: ModelInfo, model_type: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths of a repository that training needs, and the components without weights; empty if it isn't a model."""
    paths = [each.rfilename for each in info.siblings or ()]
    if "model_index.json" not in paths:
        return (), ()
    types = [model_type] if model_type in MODELS else _types(info)
    parts = _parts(types) or tuple(dict.fromkeys(path.partition("/")[0] for path in paths if path.endswith("/config.json")))
    return training_files(paths, parts)


def local_folder(repository: str, cache: str = "") -> Path | None:
    """Return the snapshot of a repository in the cache of the Hugging Face Hub, or None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(repository, local_files_only=True, allow_patterns="model_index.json", cache_dir=cache or None)
        )
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None


def _types(info: ModelInfo) -> list[str]:
    """Return the model types that can be loaded from a repository, from the name of its pipeline."""
    names = [tag.removeprefix("diffusers:") for tag in info.tags or () if tag.startswith("diffusers:")]
    config: Mapping[str, Any] = info.config or {}
    diffusers = config.get("diffusers")
    if isinstance(diffusers, Mapping) and isinstance(diffusers.get("_class_name"), str):
        names.append(str(diffusers["_class_name"]))
    possible = list(dict.fromkeys(str(each) for name in names for each in pipeline_types(name)))
    # one pipeline loads several types: the base model that it was made from shows which one it is
    bases = {info.id, *(tag.rpartition(":")[2] for tag in info.tags or () if tag.startswith("base_model:"))}
    known = [str(name) for name, facts in MODELS.items() if facts.base.hub in bases and (str(name) in possible or not possible)]
    return known or possible


def _parts(types: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for name in types for part in MODELS[ModelType(name)].parts if part not in _apart(name)))


def _needed_parts(types: list[str]) -> tuple[str, ...]:
    optional = {part for name in types for part in MODELS[ModelType(name)].optional}
    return tuple(part for part in _parts(types) if part not in optional)


def _apart(name: str) -> tuple[str, ...]:
    return MODELS[ModelType(name)].apart


def _is_adapter(info: ModelInfo) -> bool:
    return any(tag in _ADAPTERS or tag.startswith("base_model:adapter:") for tag in info.tags or ())


def _license(info: ModelInfo) -> str:
    return next((tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")), "")

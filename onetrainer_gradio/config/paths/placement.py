"""Check that the folders of a run aren't inside each other, so that its output is neither trained on nor removed with a cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from onetrainer_gradio.config.declarations.file_names import unusable_names
from onetrainer_gradio.config.declarations.setting import declared
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.files.resolve import absolute
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.config.paths import cache_files
from onetrainer_gradio.config.paths.destinations import DESTINATION, PANEL_FOLDERS, WORKSPACE_FOLDERS, Destinations
from onetrainer_gradio.config.paths.real_paths import RealPaths, Relation
from onetrainer_gradio.errors import ConfigInvalidError, Finding, OutputProtectedError

CLEARS_BY_NAME = frozenset({"onetrainer"})
"""Backends that remove folders of the cache by their names."""

_WRITTEN = {
    "workspace_dir": ("workspace-in-concept", "workspace", "Its samples would be trained on in the next run"),
    "cache_dir": ("cache-in-concept", "workspace-cache", "Encoded images would be mixed with the images to train on"),
    "debug_dir": ("workspace-in-concept", "debug", "Its debug images would be trained on in the next run"),
}
"""Setting of a folder that the run writes to -> code of the finding, folder to suggest, reason."""


def protect_places(config: TrainConfig, options: RunOptions, *, by_name: bool = False) -> None:
    """Raise an error before a run writes anything if its files would replace, or be mixed with, files that no run wrote.

    :raises OutputProtectedError: if its result would.
    :raises ConfigInvalidError: if a folder that it writes to is where it must not be, or a name leads to another folder.
    """
    if names := tuple(unusable_names(config)):
        raise ConfigInvalidError(names)
    destinations = Destinations.of_run(config, options)
    if (objection := destinations.objection()) is not None:
        raise OutputProtectedError(
            f"{objection.message}.",
            path=DESTINATION,
            value=config.output_model_destination,
            expected=objection.expected,
            suggestion=objection.suggestion,
        )
    if found := tuple(misplaced(config, destinations.base_folder, destinations.panel_folder, by_name=by_name)):
        raise ConfigInvalidError(found)


@dataclass(frozen=True)
class _Folder:
    """A folder of the settings: its path in the configuration, its value there, and its resolved path."""

    setting: str
    value: str
    real: Path
    title: str = ""
    nested: bool = False
    """For a concept: whether its subfolders are read, too."""


def misplaced(config: TrainConfig, base_folder: Path, panel_folder: Path | None = None, *, by_name: bool) -> Iterator[Finding]:
    """Yield an error for each folder that is where it must not be.

    ``panel_folder`` is the data folder of the panel. With ``by_name`` the engine clears the cache by the names of its folders.
    """
    paths = RealPaths()
    written = [folder for name in _written(config) if (folder := _folder(paths, base_folder, name, getattr(config, name)))]
    concepts = list(_concepts(config, base_folder, paths))
    for folder in written:
        yield from _in_panel(folder, paths, panel_folder)
    for folder in written:
        for concept in concepts:
            if paths.relation(folder.real, concept.real) in _reach(folder, concept):
                yield _in_concept(folder, concept, base_folder, paths, concepts)
                break
    for folder in written:
        harmless: set[Path] = set()  # many concepts may share a folder
        for concept in concepts:
            if concept.real in harmless:
                continue
            if (finding := _concept_in(folder, concept, paths)) is not None:
                yield finding
            else:
                harmless.add(concept.real)
    if by_name and config.latent_caching and config.clear_cache_before_training:
        yield from _cleared(config, base_folder)


def _written(config: TrainConfig) -> Iterator[str]:
    yield "workspace_dir"
    if config.latent_caching:
        yield "cache_dir"
    if config.debug_mode:
        yield "debug_dir"


def _folder(paths: RealPaths, base_folder: Path, setting: str, value: str, title: str = "") -> _Folder | None:
    text = value.replace("\0", "")
    if not text:
        return None
    try:
        return _Folder(setting, value, paths.of(absolute(text, base_folder)), title)
    except (OSError, ValueError):  # links in a circle are another finding
        return None


def _concepts(config: TrainConfig, base_folder: Path, paths: RealPaths) -> Iterator[_Folder]:
    for index, concept in enumerate(config.concepts or ()):
        title = f"“{concept.name or f'Concept {index + 1}'}”"
        if concept.enabled and (folder := _folder(paths, base_folder, f"concepts.{index}.path", concept.path, title)):
            yield replace(folder, nested=concept.include_subdirectories)


def _reach(folder: _Folder, concept: _Folder) -> tuple[Relation, ...]:
    """Return the forbidden relations to a concept's folder. Samples in subfolders that it doesn't read are harmless."""
    return ("is", "is inside") if concept.nested or folder.setting == "cache_dir" else ("is",)


def _in_concept(folder: _Folder, concept: _Folder, base_folder: Path, paths: RealPaths, concepts: list[_Folder]) -> Finding:
    code, usual, reason = _WRITTEN[folder.setting]
    label = _label(folder.setting)
    free = _elsewhere(folder, usual, base_folder, paths, concepts)
    message = f"{label} {folder.value} is inside the image folder of {concept.title} ({concept.value}). {reason}"
    suggestion = f"Set {label} to {free}." if free else f"Choose another path for {label}, outside {concept.value}."
    return Finding(
        "error",
        folder.setting,
        message,
        folder.value,
        "a folder outside of all concepts",
        suggestion,
        code,
        {folder.setting: free} if free else {},
    )


def _elsewhere(folder: _Folder, usual: str, base_folder: Path, paths: RealPaths, concepts: list[_Folder]) -> str:
    name = folder.real.name or "run"
    for value in (f"{usual}/{name}", f"{usual}/run"):
        place = _folder(paths, base_folder, folder.setting, value)
        if place and not any(paths.relation(place.real, concept.real) in ("is", "is inside") for concept in concepts):
            return value
    return ""


def _concept_in(folder: _Folder, concept: _Folder, paths: RealPaths) -> Finding | None:
    """Return an error for a concept in a folder that the run fills, or whose content is removed."""
    if folder.setting == "cache_dir":
        if paths.relation(concept.real, folder.real) != "is inside":
            return None
        code, where = "concept-in-cache", "the cache, whose files are removed"
    elif folder.setting == "workspace_dir":
        inside = (name for name in WORKSPACE_FOLDERS if paths.relation(concept.real, folder.real / name) in ("is", "is inside"))
        name = next(inside, "")
        if not name:
            return None
        code, where = "concept-in-workspace", f"the {name} folder of the workspace, which this run writes to"
    else:
        return None
    message = f"The image folder of {concept.title} ({concept.value}) is inside {where}"
    suggestion = f"Move the images, or choose another path for {_label(folder.setting)}."
    return Finding("error", concept.setting, message, concept.value, f"a folder outside of {folder.value}", suggestion, code)


def _in_panel(folder: _Folder, paths: RealPaths, panel_folder: Path | None) -> Iterator[Finding]:
    """Yield an error if the workspace would share folder names with the panel's folder."""
    if panel_folder is None or folder.setting != "workspace_dir":
        return
    own = paths.of(panel_folder)
    inside = any(paths.relation(folder.real, own / name) in ("is", "is inside") for name in PANEL_FOLDERS)
    if not inside and paths.relation(folder.real, own) != "is":
        return
    free = "workspace/run"
    label = _label(folder.setting)
    message = f"{label} {folder.value} is reserved for the panel"
    suggestion = f"Set {label} to {free}."
    yield Finding(
        "error",
        folder.setting,
        message,
        folder.value,
        "a separate folder",
        suggestion,
        "workspace-in-panel",
        {folder.setting: free},
    )


def _cleared(config: TrainConfig, base_folder: Path) -> Iterator[Finding]:
    """Yield an error for files that OneTrainer would remove with the cache by folder names."""
    if not config.cache_dir:
        return
    cache = absolute(config.cache_dir.replace("\0", ""), base_folder)
    foreign = cache_files.foreign_file(cache)
    if foreign is None:
        return
    free = next(
        (name for number in range(2, 100) if not os.path.lexists(absolute(name := f"workspace-cache/run-{number}", base_folder))),
        "",
    )
    label = _label("cache_dir")
    folder = foreign.relative_to(cache).parts[0]
    message = f"OneTrainer deletes the folder {folder} in {config.cache_dir} at the start, but {foreign} isn't a cache file"
    suggestion = f"Set {label} to {free}." if free else f"Choose another path for {label}."
    fix = {"cache_dir": free} if free else {}
    yield Finding(
        "error",
        "cache_dir",
        message,
        config.cache_dir,
        "a folder that contains only a cache",
        suggestion,
        "cache-foreign",
        fix,
    )


def _label(setting: str) -> str:
    return declared(TrainConfig.model_fields[setting]).label

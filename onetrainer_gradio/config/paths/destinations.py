"""Decide where the result of a run may be written, for the pre-flight check and the engines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from onetrainer_gradio.config.declarations.setting import declared
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.walk import leaves
from onetrainer_gradio.config.families.models import FOLDER_FORMATS
from onetrainer_gradio.config.files.resolve import absolute, looks_like_hub_name
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.config.paths import marker
from onetrainer_gradio.config.paths.real_paths import RealPaths, Relation

DESTINATION = "output_model_destination"
SUFFIX = ".safetensors"
PANEL_FOLDERS = ("runs", "config", "configs", "cache", "migrations")
WORKSPACE_FOLDERS = ("backup", "samples", "tensorboard", "config", "save")

_PACKAGE = Path(__file__).resolve().parents[2]
_LONGEST_NAME = 255  # bytes in a file name on nearly every file system
_MAX_NAMES = 3  # of files that a message lists
_USUAL_FOLDER = "models"
_INPUT = "the input"
# Folders that the run itself fills.
_OWN_FOLDERS = frozenset({DESTINATION, "workspace_dir", "cache_dir", "debug_dir", "huggingface_cache_dir"})
_LABEL = declared(TrainConfig.model_fields[DESTINATION]).label


@dataclass(frozen=True)
class Protected:
    """A file or folder that no result may replace; with ``sealed``, nothing may be saved inside it either."""

    path: Path
    title: str
    sealed: bool = False


@dataclass(frozen=True)
class Objection:
    """Why a destination can't be used: the code of the finding, what is wrong, what is expected, and a name that can be used."""

    code: str
    message: str
    expected: str
    free: str = ""

    @property
    def suggestion(self) -> str:
        """Return the suggestion."""
        return f"Set {_LABEL} to {self.free}." if self.free else f"Choose another path for {_LABEL}."


@dataclass(frozen=True, eq=False)
class Destinations:
    """The rule for the destinations of one run, whose relative paths are below ``base_folder``.

    ``panel_folder`` is the data folder of the panel, ``checkout`` the OneTrainer installation that trains, if one does.
    """

    config: TrainConfig
    base_folder: Path
    panel_folder: Path | None = None
    checkout: Path | None = None
    resume_from: Path | None = None
    _paths: RealPaths = field(default_factory=RealPaths)

    @classmethod
    def of_run(cls, config: TrainConfig, options: RunOptions) -> Destinations:
        """Return the rule for a starting run. A relative path starts at the current directory, where the engine writes."""
        panel = Path(options.panel_folder) if options.panel_folder else None
        checkout = Path(options.checkout) if options.checkout else None
        resumed = Path(options.resume_from) if options.resume_from else None
        return cls(config, panel or Path.cwd(), panel, checkout, resumed)

    @property
    def is_folder(self) -> bool:
        """Return whether the result is a folder of files."""
        return self.config.output_model_format in FOLDER_FORMATS

    def objection(self) -> Objection | None:
        """Return why the result can't go where the settings say, or None if it can."""
        value = self.config.output_model_destination
        found = self._objection_to(value.replace("\0", ""), single=not self.is_folder)
        return found and Objection(found.code, found.message, found.expected, self._free_name(value))

    def objection_to(self, place: Path, *, single: bool) -> Objection | None:
        """Return why a model can't be written to a place, or None if it can."""
        return self._objection_to(str(place), single=single)

    def _objection_to(self, value: str, *, single: bool) -> Objection | None:
        target = absolute(value, self.base_folder)
        try:
            real = self._paths.of(target)
            by_name = single and target.name != ".."
            places = {real, self._paths.of(target.parent) / target.name} if by_name else {real}
        except (OSError, ValueError) as error:
            message = f"{_quoted(value)} can't be resolved: {error}"
            return Objection("output-protected", message, "a path without links in a circle")
        if len(os.fsencode(real.name)) > _LONGEST_NAME:
            message = f"The name of the output file must have at most {_LONGEST_NAME} bytes, not {len(os.fsencode(real.name))}"
            return Objection("output-name", message, f"a name of at most {_LONGEST_NAME} bytes")
        into = single and os.path.isdir(real)
        if single and self.checkout is not None and os.path.islink(target) and not into:
            message = f"{_quoted(value)} is a link to {real}, and OneTrainer would write into that file"
            return Objection("output-protected", message, "a file that isn't a link")
        for place in self.protected():
            for each in places:
                relation = self._paths.relation(each, place.path)
                if relation in _refused(place, single=single, into=into):
                    return Objection(
                        "output-protected",
                        f"{_quoted(value)} {relation} {place.title} ({place.path})",
                        "a place where nothing else is replaced",
                    )
        return _unusable_parent(value, real) or (None if single else _unusable_folder(value, real))

    def _free_name(self, value: str) -> str:
        """Return a valid name of the same kind: next to the destination, else in the panel's or workspace's folder."""
        suffix = "" if self.is_folder else SUFFIX
        stem = value.replace("\0", "").rstrip("/\\").removesuffix(SUFFIX)
        last = Path(stem).name
        named = last not in ("", "..") and not last.startswith("~")
        writable = last.encode("utf-8", "ignore")[: _LONGEST_NAME - 40].decode("utf-8", "ignore")
        tail = (writable if named else "") or "model"
        next_to_it = [f"{stem}-{number}{suffix}" for number in range(2, 100)] if named else []
        workspace = absolute(self.config.workspace_dir, self.base_folder)
        folder = _USUAL_FOLDER if self.panel_folder is not None else f"{workspace}/{_USUAL_FOLDER}"
        usual = f"{folder}/{tail}{suffix}"
        numbered = [f"{folder}/{tail}-{number}{suffix}" for number in range(2, 100)]
        for name in (*next_to_it, usual, *numbered):
            try:
                taken = os.path.lexists(absolute(name, self.base_folder))
            except (OSError, ValueError):
                continue
            if not taken and self._objection_to(name, single=not self.is_folder) is None:
                return name
        return ""

    def protected(self) -> tuple[Protected, ...]:
        """Return everything that no result may replace. Paths that can't be resolved are omitted."""
        if not self._protected:
            self._protected.extend(self._resolved())
        return tuple(self._protected)

    _protected: list[Protected] = field(default_factory=list)

    def _resolved(self) -> Iterator[Protected]:
        # the message names the first obstacle: the folder itself rather than a list in it
        for place in sorted(self._named(), key=lambda place: place.title.startswith(_INPUT)):
            try:
                yield Protected(self._paths.of(place.path), place.title, place.sealed)
            except (OSError, ValueError):
                continue

    def _named(self) -> Iterator[Protected]:
        config = self.config
        yield from self._trained_from()
        if self.panel_folder is not None:
            yield Protected(self.panel_folder, "the panel's data folder")
            yield from (Protected(self.panel_folder / name, "a folder of the panel", sealed=True) for name in PANEL_FOLDERS)
        workspace = self._at(config.workspace_dir)
        if workspace is not None:
            yield Protected(workspace, "the workspace")
            for name in WORKSPACE_FOLDERS:
                yield Protected(workspace / name, f"the workspace's {name} folder", sealed=name != "save")
        for value, title in ((config.cache_dir, "the cache"), (config.quantization.cache_dir, "the quantization cache")):
            if (place := self._at(value)) is not None:
                yield Protected(place, title, sealed=True)
        if config.debug_mode and (debug := self._at(config.debug_dir)) is not None:
            yield Protected(debug, "the debug folder")
        for hub in self._hub_caches():
            yield Protected(hub, "the Hugging Face cache", sealed=True)
        yield Protected(_PACKAGE, "the panel's program folder", sealed=True)
        if self.checkout is not None:
            yield Protected(self.checkout, "the OneTrainer installation")
        if self.resume_from is not None:
            yield Protected(self.resume_from, "the backup that the run resumes from", sealed=True)
        if (home := _home()) is not None:
            yield Protected(home, "the home folder")
        yield Protected(Path.cwd(), "the current directory")

    def _trained_from(self) -> Iterator[Protected]:
        """Return everything that the settings read: images, captions, models, lists."""
        for concept in self.config.concepts or ():
            if (place := self._at(concept.path)) is not None:
                yield Protected(place, f"the image folder of the concept {_quoted(concept.name or concept.path)}", sealed=True)
            if (place := self._at(concept.text.prompt_path)) is not None:
                yield Protected(place, "a file of captions")
        for sample in self.config.samples or ():
            for value in (sample.base_image_path, sample.mask_image_path):
                if (place := self._at(value)) is not None:
                    yield Protected(place, "an image of a sample prompt")
        # the lists are done already: walking through thousands of concepts setting by setting takes seconds
        for leaf in leaves(self.config.model_copy(update={"concepts": None, "samples": None})):
            if not leaf.setting.path or leaf.path in _OWN_FOLDERS or not isinstance(leaf.value, str):
                continue
            place = self._at(leaf.value)
            if place is None or (leaf.setting.path == "model" and looks_like_hub_name(leaf.value) and not os.path.lexists(place)):
                continue
            title = "the base model" if leaf.path == "base_model_name" else f"{_INPUT} {_quoted(leaf.setting.label or leaf.path)}"
            yield Protected(place, title, sealed=leaf.setting.path == "model")

    def _hub_caches(self) -> Iterator[Path]:
        chosen = self._at(self.config.huggingface_cache_dir)
        if chosen is not None:
            yield chosen
        for variable in ("HF_HOME", "HF_HUB_CACHE"):
            if usual := os.environ.get(variable):
                yield Path(os.path.expandvars(usual)).expanduser()
        home = _home()
        if not os.environ.get("HF_HOME") and home is not None:
            yield Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface"

    def _at(self, value: str | None) -> Path | None:
        text = (value or "").replace("\0", "")
        return absolute(text, self.base_folder) if text else None


def _refused(place: Protected, *, single: bool, into: bool) -> tuple[Relation, ...]:
    """Return the forbidden relations of a destination to a protected place; ``into``: a file is added to a folder."""
    if place.sealed:
        return ("is", "is inside") if single else ("is", "is inside", "contains")
    return (() if into else ("is",)) if single else ("is", "contains")


def _unusable_parent(value: str, real: Path) -> Objection | None:
    """Return an objection if the nearest parent that exists isn't a folder."""
    above = real.parent
    while not os.path.lexists(above) and above != above.parent:
        above = above.parent
    if os.path.isdir(above):
        return None
    return Objection("folder-is-file", f"{_quoted(value)} is inside {above}, which is a file", "a folder above it")


def _unusable_folder(value: str, real: Path) -> Objection | None:
    """Return an objection to a folder unless a run of the panel wrote it, and no one has changed it since."""
    if not os.path.lexists(real):
        return None
    if not os.path.isdir(real):
        return Objection(
            "folder-is-file", f"{_quoted(value)} is a file, but the output format is a folder", "a folder or a new name"
        )
    if os.path.ismount(real):
        return Objection("output-protected", f"{_quoted(value)} is the root of a disk", "a folder in it")
    expected = "a new name, an empty folder, or a model folder that a run wrote"
    try:
        if not any(True for _ in marker.entries(real)):
            return None
        made = marker.read(real)
        if made is None or made.kind != marker.MODEL:
            message = f"{_quoted(value)} contains files that no run wrote. Saving a model would replace them"
            return Objection("output-foreign", message, expected)
        changed = marker.contents(real, made).changed
    except OSError as error:
        return Objection("output-foreign", f"Can't read {_quoted(value)}: {error.strerror or error}", expected)
    if changed:
        more = f" and {len(changed) - _MAX_NAMES} more" if len(changed) > _MAX_NAMES else ""
        names = ", ".join(changed[:_MAX_NAMES]) + more
        message = f"{_quoted(value)} was changed after a run wrote it ({names}). Saving a model would replace the changes"
        return Objection("output-foreign", message, expected)
    return None


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user that doesn't exist on this machine
        return None


def _quoted(value: str) -> str:
    return f"“{value}”"

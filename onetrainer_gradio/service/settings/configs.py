"""Manage the current settings, saved configurations and presets."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.declarations.bounds import out_of_bounds
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.enums import ModelType, TrainingMethod
from onetrainer_gradio.config.families.models import output_formats
from onetrainer_gradio.config.files.documents import LISTS_OF_A_PACK, SECRET_KEYS, from_document, parse, read_file, to_document
from onetrainer_gradio.config.files.newer import NOTHING_NEWER, Newer, newer_names, unknown_name
from onetrainer_gradio.config.files.overlay import Opened, apply_overlay
from onetrainer_gradio.config.files.presets import (
    FORMER_NAMES,
    current_name,
    describe,
    load_preset,
    nearest,
    preset_files,
    preset_summaries,
)
from onetrainer_gradio.config.files.resolve import LIST_FILES, pack
from onetrainer_gradio.config.form.optimizer_memory import default_parameters, remembered, switched, with_default_parameters
from onetrainer_gradio.config.form.patch import apply
from onetrainer_gradio.errors import (
    ConfigError,
    ConfigFileError,
    ConfigInvalidError,
    ConfigNotFoundError,
    Finding,
    NothingToUndoError,
    RevisionConflictError,
)
from onetrainer_gradio.service.engines.preflight import Preflight
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json
from onetrainer_gradio.service.settings.history import REDO, UNDO, History, Step, entries_between, with_entries
from onetrainer_gradio.service.settings.libraries import Libraries
from onetrainer_gradio.service.settings.saved import SavedConfigs

log = logging.getLogger(__name__)

# Kinds of opened settings that belong to the user, including their lists of concepts and samples.
_OWN_KINDS = frozenset({"saved", "import", "document", ""})

# How many paths of a change are noted in the history.
_MAX_PATHS = 20

_FIRST_PRESET = "SD 1.5/LoRA 8 GB"


@dataclass(frozen=True)
class ConfigDocument:
    """The current settings: packed document, revision, the name of their source, and their problems.

    ``was`` contains the value in the source for each changed path. ``undo`` and ``redo`` describe the change that would be
    undone or redone, or are None.
    """

    config: dict[str, Any]
    revision: int
    name: str | None
    problems: tuple[Finding, ...] = ()
    changed: tuple[str, ...] = ()
    was: Mapping[str, Any] = field(default_factory=dict)
    undo: Mapping[str, Any] | None = None
    redo: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the document as a JSON object."""
        return {
            "config": self.config,
            "revision": self.revision,
            "name": self.name,
            "problems": [asdict(problem) for problem in self.problems],
            "changed": list(self.changed),
            "was": dict(self.was),
            "undo": self.undo,
            "redo": self.redo,
        }


Found = list[dict[str, Any]]


@dataclass(frozen=True)
class _Draft:
    """``kind`` is that of the opened source, ``lists`` are its lists from a preset, ``opening`` is the revision of opening."""

    config: TrainConfig
    revision: int
    name: str | None
    origin: Mapping[str, Any]
    kind: str = ""
    lists: tuple[str, ...] = ()
    opening: int = 1

    def opened(self) -> dict[str, Any]:
        """Return what was opened, for the history."""
        return {
            "name": self.name,
            "kind": self.kind,
            "lists": list(self.lists),
            "opening": self.opening,
        }


class ConfigStore:
    """One draft that everyone edits; each change is based on a revision. Safe from any thread.

    With ``roots``, lists of concepts and samples are read only from files inside of them. ``changed`` is called after each
    change, outside of the lock, with the new document and its author. ``newer`` returns the additional settings of the
    checkout that the form follows.
    """

    def __init__(
        self,
        folder: Path,
        *,
        preflight: Preflight | None = None,
        roots: tuple[Path, ...] = (),
        libraries: Libraries | None = None,
        newer: Callable[[], Newer] = lambda: NOTHING_NEWER,
        start_with: str | None = None,
        changed: Callable[[ConfigDocument, str], None] = lambda document, by: None,
    ) -> None:
        self.base_folder = folder
        self.roots = roots
        self.libraries = libraries or Libraries(folder / "config" / "libraries.json")
        self._current_path = folder / "config" / "current.json"
        self._saved = SavedConfigs(folder / "configs")
        self._history = History(folder / "config" / "history.jsonl")
        self._preflight = preflight or Preflight(folder)
        self._newer = newer
        self._lock = threading.RLock()
        self._notify = changed
        self._draft = self._opened(start_with)

    def train_config(self) -> TrainConfig:
        """Return the current settings as a configuration, with concepts and samples."""
        return self._draft.config

    def name(self) -> str | None:
        """Return the name of the settings' source."""
        return self._draft.name

    def origin(self) -> dict[str, Any]:
        """Return the document of the settings' source; ``changed`` compares with it."""
        return dict(self._draft.origin)

    def revision(self) -> int:
        """Return the number of the newest change."""
        return self._draft.revision

    def current(self, by: str = "") -> ConfigDocument:
        """Return the current settings, with their problems and the differences from their source.

        ``undo`` and ``redo`` refer to the changes of ``by``, or to all changes if it is empty.
        """
        draft = self._draft
        document = to_document(draft.config, packed=True)
        newer = self._newer()
        changed = tuple(paths_in_form(settings_that_differ(draft.origin, document), draft.origin, document, newer))
        return ConfigDocument(
            config=document,
            revision=draft.revision,
            name=draft.name,
            problems=tuple(out_of_bounds(draft.config)),
            changed=changed,
            was={path: value_in_form(draft.origin, path, newer) for path in changed},
            undo=self._about(self._history.undoable(by)),
            redo=self._about(self._history.redoable(by)),
        )

    def newer(self) -> Newer:
        """Return the additional settings of the checkout that the form follows."""
        return self._newer()

    def patch(self, changes: Mapping[str, Any], revision: int | None = None, *, by: str = "") -> ConfigDocument:
        """Change single settings; the change is based on ``revision`` (None: the current one).

        :raises ConfigInvalidError: with one finding for each value that does not fit; nothing is changed then.
        :raises RevisionConflictError: when the settings changed since that revision.
        """
        with self._lock:
            self._expect(revision)
            draft = self._draft
            config = _edited(draft.config, changes, self._newer())
            self._add(replace(draft, config=config), "edit", by)
        return self._notified(by)

    def reset_optimizer(self, revision: int | None = None, *, by: str = "") -> ConfigDocument:
        """Reset the parameters of the selected optimizer to its defaults, and remove its stored parameters.

        :raises RevisionConflictError: when the settings changed since that revision.
        """
        with self._lock:
            self._expect(revision)
            draft = self._draft
            self._add(replace(draft, config=with_default_parameters(draft.config)), "edit", by)
        return self._notified(by)

    def replace(
        self,
        config: TrainConfig | Mapping[str, Any],
        name: str | None = None,
        *,
        revision: int | None = None,
        by: str = "",
        kind: str = "document",
    ) -> ConfigDocument:
        """Replace the current settings; ``changed`` compares with the new ones.

        :raises ConfigInvalidError: when a document has values of a wrong type.
        """
        config = config if isinstance(config, TrainConfig) else from_document(dict(config))[0]
        config = _without_secrets(pack(config, self.base_folder, self.roots))
        with self._lock:
            self._expect(revision)
            self._open(Opened(config, config, ()), name, kind, by)
        return self._notified(by)

    def reset(self, revision: int | None = None, *, by: str = "") -> ConfigDocument:
        """Return to the opened configuration; concepts and samples stay unless the opened file contained them.

        :raises RevisionConflictError: when the settings changed since that revision.
        """
        with self._lock:
            self._expect(revision)
            draft = self._draft
            origin = dict(draft.origin) or self.defaults(draft.config.model_type.value, draft.config.training_method.value)
            config = _with_lists_of(draft.config, from_document(origin)[0], always=draft.kind not in _OWN_KINDS)
            self._open(Opened(config, config, draft.lists), draft.name, draft.kind, by, change="reset")
        return self._notified(by)

    def undo(self, revision: int | None = None, *, by: str = "") -> ConfigDocument:
        """Undo the last change of ``by`` (empty: of anyone): an edit, an opened preset or file, a reset.

        Later changes of others stay.

        :raises NothingToUndoError: if there is none.
        :raises RevisionConflictError: when the settings changed since that revision.
        """
        return self._travel(UNDO, revision, by)

    def redo(self, revision: int | None = None, *, by: str = "") -> ConfigDocument:
        """Redo a change that was undone.

        :raises NothingToUndoError: if there is none.
        :raises RevisionConflictError: when the settings changed since that revision.
        """
        return self._travel(REDO, revision, by)

    def list(self) -> Found:
        """Return presets, those of libraries and saved configurations by name, with a summary."""
        found = [{"name": name, "kind": "preset", "summary": dict(summary)} for name, summary in preset_summaries().items()]
        found += [{"name": name, "kind": "library", "summary": summary} for name, summary in self.libraries.presets()]
        for name, path in self._saved.files().items():
            try:
                summary: dict[str, Any] = {**describe(read_file(path)), "modified_at": path.stat().st_mtime}
            except (ConfigError, OSError) as error:
                summary = {"note": str(error)}
            found.append({"name": name, "kind": "saved", "summary": summary})
        return found

    def kind_of(self, name: str, kind: str = "") -> str:
        """Return the kind of a name: ``saved``, ``preset`` or ``library``; a saved one precedes a preset of the same name.

        :raises ConfigNotFoundError: if there is none with this name (and kind, if given).
        """
        known: dict[str, Iterable[str]] = {
            "saved": self._saved.files(),
            "preset": preset_files(),
            "library": self.libraries.files(),
        }
        asked = [each for each in known if kind in ("", each)]
        found = next((each for each in asked if name in known[each]), None)
        if found is None and "preset" in asked and name in FORMER_NAMES:
            return "preset"
        if found is None:
            names = [other for each in asked for other in known[each]]
            raise ConfigNotFoundError(f"The configuration {name!r} doesn't exist", value=name, expected=nearest(name, names))
        return found

    def read(self, name: str, kind: str = "") -> dict[str, Any]:
        """Return the document of a saved configuration or preset; without a kind, a saved one precedes a preset.

        :raises ConfigNotFoundError: if there is none with this name.
        """
        readers = {"saved": self._saved.read, "preset": load_preset, "library": self.libraries.read}
        return readers[self.kind_of(name, kind)](name)

    def with_preset(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document that opening a preset now would give.

        :raises ConfigInvalidError: if it has values of a wrong type.
        """
        return to_document(self._with_preset(document).config, packed=True)

    def as_opened(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document that opening another one would give: in the current version, packed, without secrets.

        :raises ConfigInvalidError: if it has values of a wrong type.
        """
        config, _ = from_document(dict(document))
        return to_document(_without_secrets(pack(config, self.base_folder, self.roots)), packed=True)

    def load(self, name: str, kind: str = "", *, by: str = "") -> ConfigDocument:
        """Open a saved configuration or preset; without a kind, a saved one comes first.

        A preset changes only the settings that it contains; concepts, samples and other edits stay.

        :raises ConfigNotFoundError: if there is none with this name.
        """
        kind = self.kind_of(name, kind)
        document = self.read(name, kind)
        if kind == "saved":
            config, _ = from_document(document)
            return self._opened_file(config, name, kind, by)
        with self._lock:
            self._open(self._with_preset(document), current_name(name) if kind == "preset" else name, kind, by)
        return self._notified(by)

    def save(self, name: str, *, over: bool = True, by: str = "") -> ConfigDocument:
        """Save the current settings under a name; ``over`` allows overwriting.

        :raises ConfigValueError: if the name is invalid.
        :raises ConfigExistsError: if the name exists, without ``over``.
        """
        with self._lock:
            document = to_document(self._draft.config, packed=True)
            name = self._saved.write(name, document, over=over)
            revision = self._draft.revision + 1
            # everything belongs to the user now, and undoing an earlier opening keeps this name
            draft = replace(self._draft, revision=revision, name=name, origin=document)
            self._put(replace(draft, kind="saved", lists=(), opening=revision))
        return self._notified(by)

    def rename(self, name: str, to: str, *, by: str = "") -> str:
        """Rename a saved configuration; the settings in the form follow it. Return its new name.

        :raises ConfigNotFoundError: if there is no saved one with this name (presets keep their names).
        :raises ConfigExistsError: if the new name exists.
        """
        with self._lock:
            to = self._saved.rename(name, to)
            follows = self._draft.name == name
            if follows:
                self._put(replace(self._draft, revision=self._draft.revision + 1, name=to))
        if follows:
            self._notified(by)
        return to

    def duplicate(self, name: str, to: str = "", kind: str = "") -> str:
        """Save a copy of a saved configuration or preset under another name (empty: generated). Return that name.

        :raises ConfigNotFoundError: if there is none with this name.
        :raises ConfigExistsError: if a saved one with the new name exists.
        """
        kind = self.kind_of(name, kind)
        document = {key: value for key, value in self.read(name, kind).items() if key not in SECRET_KEYS}
        if kind != "saved":
            document = self.as_opened(document)
        with self._lock:
            return self._saved.write(to or self._saved.free_name(name), document, over=False)

    def delete(self, name: str) -> None:
        """Delete a saved configuration.

        :raises ConfigNotFoundError: if there is no saved one with this name (presets can't be deleted).
        """
        with self._lock:
            self._saved.delete(name)

    def import_json(self, text: str | bytes, *, name: str | None = None, file_name: str = "", by: str = "") -> ConfigDocument:
        """Open the configuration in a text; the result's problems include unknown keys.

        The settings are named after ``file_name``, or another name if it exists, so that Save never replaces that one.

        :raises ConfigFileError: if it isn't a JSON object.
        :raises ConfigInvalidError: if it has values of a wrong type.
        """
        if isinstance(text, bytes):
            try:
                text = text.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise ConfigFileError(f"The file isn't text: {error}", expected="a JSON file in UTF-8") from error
        config, findings = from_document(parse(text, name=name or file_name or "the file"))
        name = name or self._saved.name_for_file(file_name, list(preset_files())) or None
        document = self._opened_file(config, name, "import", by)
        return replace(document, problems=(*findings, *document.problems))

    def export(self, packed: bool = True, name: str = "", kind: str = "") -> dict[str, Any]:
        """Return settings as a document for OneTrainer, never with secrets: the current ones, or those with a name.

        :raises ConfigNotFoundError: if there is none with this name.
        """
        if not name:
            return to_document(self._draft.config, packed=packed)
        config, _ = from_document(self.as_opened(self.read(name, kind)))
        return to_document(config, packed=packed)

    def validate(self, config: TrainConfig | Mapping[str, Any] | None = None, *, backend: str = "", checkout: str = "") -> Found:
        """Return the findings for a configuration (None: the current one).

        It is checked for the selected engine, or for the given one.

        :raises CheckoutNotFoundError: if the checkout isn't registered.
        """
        findings: tuple[Finding, ...] = ()
        if config is None:
            config = self._draft.config
        elif not isinstance(config, TrainConfig):
            try:
                config, findings = from_document(dict(config))
            except ConfigInvalidError as error:
                return [asdict(finding) for finding in error.findings()]
        findings += self._preflight(config, backend, checkout)
        return [asdict(finding) for finding in findings]

    def defaults(self, model_type: str | None = None, method: str | None = None) -> dict[str, Any]:
        """Return the default document for a model type and a method.

        :raises ConfigInvalidError: if either is unknown.
        """
        chosen = {"model_type": model_type, "training_method": method}
        config, _ = from_document({key: value for key, value in chosen.items() if value})
        unknown = [unknown_name(leaf) for leaf in newer_names(config) if not self._newer().knows(leaf.path, leaf.value)]
        if unknown:
            raise ConfigInvalidError(unknown)
        formats = output_formats(config.model_type, config.training_method)
        if formats and config.output_model_format not in formats:
            config = config.model_copy(update={"output_model_format": formats[0]})
        return to_document(config, packed=True)

    def _expect(self, revision: int | None) -> None:
        if revision is not None and revision != self._draft.revision:
            raise RevisionConflictError(
                "Someone else changed the settings after this page loaded them",
                value=revision,
                expected=f"revision {self._draft.revision}",
                suggestion="Reload the settings and repeat the change.",
            )

    def _with_preset(self, preset: Mapping[str, Any]) -> Opened:
        draft = self._draft
        return apply_overlay(preset, draft.config, draft.origin, own=draft.kind in _OWN_KINDS, lists=draft.lists)

    def _opened_file(self, config: TrainConfig, name: str | None, kind: str, by: str) -> ConfigDocument:
        """Open the content of a file; lists that it doesn't contain stay."""
        packed = _without_secrets(pack(config, self.base_folder, self.roots))
        with self._lock:
            silent = [name for name in LISTS_OF_A_PACK if getattr(config, name) is None]
            packed = _with_lists_of(self._draft.config, packed, names=silent)
            self._open(Opened(packed, packed, ()), name, kind, by)
        return self._notified(by)

    def _open(self, opened: Opened, name: str | None, kind: str, by: str, *, change: str = "open") -> None:
        """Replace the current settings; the lock is held."""
        config, origin = _without_secrets(opened.config), to_document(opened.origin, packed=True)
        revision = self._draft.revision
        self._add(_Draft(config, revision, name, origin, kind, opened.lists, revision + 1), change, by)

    def _add(self, draft: _Draft, kind: str, by: str) -> None:
        """Make a change, and record the replaced values in the history; the lock is held."""
        before, after = self._draft, replace(draft, revision=draft.revision + 1)
        self._put(after)
        self._noted(before, after, kind, by)

    def _noted(self, before: _Draft, after: _Draft, kind: str, by: str) -> None:
        old, new = (to_document(each.config, packed=True) for each in (before, after))
        entries = list(entries_between(old, new))
        change: dict[str, Any] = {"paths": settings_that_differ(old, new)[:_MAX_PATHS], "entries": entries}
        if after.opening != before.opening:
            origin = list(entries_between(before.origin, after.origin))
            change |= {"name": after.name, "of": after.kind, "origin": origin}
            change["opened"] = {"before": before.opened(), "after": after.opened()}
        if entries or "opened" in change:
            self._history.add(change, kind=kind, by=by)

    def _travel(self, what: str, revision: int | None, by: str) -> ConfigDocument:
        with self._lock:
            self._expect(revision)
            while step := self._history.undoable(by) if what == UNDO else self._history.redoable(by):
                change = self._history.change(step)
                if change is None:
                    continue
                try:
                    draft = self._traveled(change, "before" if what == UNDO else "after")
                except (AttributeError, KeyError, TypeError, ValueError, ConfigError):
                    self._history.forget(step)
                    continue
                self._put(draft)
                self._history.add({}, kind=what, by=by, of=step.number)
                return self._notified(by)
        raise NothingToUndoError(f"There is nothing to {what}", suggestion="Change a setting first.")

    def _traveled(self, change: Mapping[str, Any], side: str) -> _Draft:
        """Return the draft with one side of a change; the opened source is that of the time, unless another was opened since."""
        now = self._draft
        config, _ = from_document(with_entries(to_document(now.config, packed=True), change["entries"], side))
        draft = replace(now, config=config, revision=now.revision + 1)
        opened = change.get("opened")
        if opened is None or opened["after" if side == "before" else "before"]["opening"] != now.opening:
            return draft
        to = opened[side]
        origin = with_entries(dict(now.origin), change["origin"], side)
        lists, opening = _list_names(to["lists"]), int(to["opening"])
        return replace(draft, name=to["name"], kind=str(to["kind"]), lists=lists, origin=origin, opening=opening)

    def _about(self, step: Step | None) -> Mapping[str, Any] | None:
        """Return the description of a step of the history: the changed settings, or what was opened."""
        if step is None or (change := self._history.change(step)) is None:
            return None
        return {"kind": step.kind, **{name: change[name] for name in ("paths", "of", "name") if name in change}}

    def _put(self, draft: _Draft) -> None:
        kept = {
            "revision": draft.revision,
            "name": draft.name,
            "kind": draft.kind,
            "lists": list(draft.lists),
            "opening": draft.opening,
            "config": to_document(draft.config, packed=True),
            "origin": draft.origin,
        }
        with raising_storage_error("the settings"):
            write_json(self._current_path, kept)
        self._draft = draft

    def _notified(self, by: str) -> ConfigDocument:
        document = self.current(by)
        self._notify(document, by)
        return document

    def _opened(self, start_with: str | None) -> _Draft:
        kept = self._restored()
        if kept is None:
            self._move_aside()
            return self._first(start_with)
        if start_with and start_with in preset_files() and kept.name != start_with:
            # requested by name at the start: earlier edits are moved aside, not lost
            with raising_storage_error("the last edited settings"):
                write_json(self._current_path.with_name("previous.json"), read_json(self._current_path))
            first = replace(self._first(start_with), revision=kept.revision + 1, opening=kept.revision + 1)
            self._put(first)
            self._noted(kept, first, "open", "")
            return first
        return kept

    def _restored(self) -> _Draft | None:
        kept = read_json(self._current_path)
        if not isinstance(kept, dict):
            return None
        try:
            config, _ = from_document(kept["config"])
            name, origin, kind = kept.get("name"), kept.get("origin"), kept.get("kind")
            if not isinstance(kind, str):  # written by a version that did not note it
                kind = "preset" if isinstance(name, str) and current_name(name) in preset_files() else ""
            if isinstance(name, str) and kind == "preset":
                name = current_name(name)
            return _Draft(
                config,
                int(kept["revision"]),
                name if isinstance(name, str) else None,
                origin if isinstance(origin, dict) else {},
                kind,
                _list_names(kept.get("lists")),
                int(kept.get("opening", 1)),
            )
        except (AttributeError, KeyError, TypeError, ValueError, ConfigError):
            return None  # edited manually, or from a newer version: the panel starts with the defaults

    def _move_aside(self) -> None:
        """Move unreadable settings aside instead of overwriting them, so that they can be recovered."""
        aside = self._current_path.with_name("unreadable.json")
        with contextlib.suppress(OSError):  # there are none
            os.replace(self._current_path, aside)
            log.warning(
                "Can't read the last edited settings. They were moved to %s, and the form starts with default settings.", aside
            )

    def _first(self, start_with: str | None) -> _Draft:
        presets = preset_files()
        name = next((name for name in (start_with, _FIRST_PRESET) if name in presets), None)
        document = load_preset(name) if name else self.defaults(ModelType.STABLE_DIFFUSION_15, TrainingMethod.LORA)
        config = _without_secrets(pack(from_document(document)[0], self.base_folder, self.roots))
        lists = tuple(each for each in LISTS_OF_A_PACK if getattr(config, each))
        kind = "preset" if name else "defaults"
        return _Draft(config, 1, name, to_document(config, packed=True), kind, lists)


def _edited(config: TrainConfig, changes: Mapping[str, Any], newer: Newer) -> TrainConfig:
    """Return the configuration with the changes, and an optimizer with its last parameters.

    :raises ConfigInvalidError: with one finding for each path or value that does not fit.
    """
    changed = apply(config, changes, newer)
    if changed.optimizer.optimizer != config.optimizer.optimizer and "optimizer" not in changes:
        # values that were set without an edit, as by a preset, are restored as well
        before = config if config.optimizer == default_parameters(config.optimizer.optimizer) else remembered(config)
        return apply(switched(before, changed.optimizer.optimizer), changes, newer)
    edited = any(path.startswith("optimizer.") and path != "optimizer.optimizer" for path in changes)
    return remembered(changed) if edited else changed


def _list_names(value: Any) -> tuple[str, ...]:
    return tuple(name for name in LISTS_OF_A_PACK if isinstance(value, list) and name in value)


def _with_lists_of(
    now: TrainConfig, opened: TrainConfig, *, names: Iterable[str] = LISTS_OF_A_PACK, always: bool = False
) -> TrainConfig:
    """Return opened settings, with the current concepts and samples if they have none (``always``: in any case)."""
    kept = [name for name in names if getattr(now, name) and (always or not getattr(opened, name))]
    files = {LIST_FILES[name]: getattr(now, LIST_FILES[name]) for name in kept}
    return opened.model_copy(update={**{name: getattr(now, name) for name in kept}, **files})


def _without_secrets(config: TrainConfig) -> TrainConfig:
    return config.model_copy(update={"secrets": type(config.secrets)()})


def value_at(document: Any, path: str) -> Any:
    """Return the value at a dotted path of a document, or None."""
    for key in path.split("."):
        document = document[int(key)] if isinstance(document, list) else document.get(key) if document else None
    return document


def value_in_form(document: Any, path: str, newer: Newer) -> Any:
    """Return the same as ``value_at``, but a missing setting that only the checkout has gets its default."""
    value = value_at(document, path)
    setting = newer.setting(path)
    return setting.default if value is None and setting is not None else value


def paths_in_form(paths: Iterable[str], before: Any, after: Any, newer: Newer) -> list[str]:
    """Return the differing paths as the form shows them.

    For an object that only the checkout has, these are the settings in it; for a place in a list or object that is one
    setting of the checkout, that setting.
    """
    found: dict[str, None] = {}
    for path in paths:
        whole = newer.around(path) or path
        inside = [each for each in newer.settings if each.startswith(f"{whole}.")] or [whole]
        for each in inside:
            if not newer.setting(each) or value_in_form(before, each, newer) != value_in_form(after, each, newer):
                found[each] = None
    return list(found)


def settings_that_differ(before: Any, after: Any) -> list[str]:
    """Return the same as ``different_paths``, without the stored parameters of other optimizers."""
    return [path for path in different_paths(before, after) if not path.startswith("optimizer_defaults")]


def different_paths(before: Any, after: Any, prefix: str = "") -> list[str]:
    """Return the dotted paths at which two documents differ; lists of different length differ as a whole."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = list(dict.fromkeys([*before, *after]))
        return [
            path
            for key in keys
            for path in different_paths(before.get(key), after.get(key), f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [path for index, (old, new) in pairs for path in different_paths(old, new, f"{prefix}.{index}")]
    same = before == after and isinstance(before, bool) == isinstance(after, bool)
    return [] if same else [prefix]

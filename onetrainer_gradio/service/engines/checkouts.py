"""Manage the registered OneTrainer checkouts: set at startup, added by the user, or detected in common locations.

Inspecting one reads a few files. Its own Python reads its models and settings, which takes as long as importing OneTrainer.
This happens once per revision, in a thread, one checkout after the other.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from onetrainer_gradio.backends.onetrainer import checkout as checkouts
from onetrainer_gradio.backends.onetrainer import facts as checkout_facts
from onetrainer_gradio.backends.onetrainer.checkout import Checkout, default_places
from onetrainer_gradio.backends.onetrainer.facts import CheckoutFacts
from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.visibility import MODEL_TYPE
from onetrainer_gradio.config.declarations.walk import without_none
from onetrainer_gradio.config.enums import ModelType, Name
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import read_json_list
from onetrainer_gradio.config.files.newer import NOTHING_NEWER, Newer
from onetrainer_gradio.errors import CheckoutError, CheckoutNotFoundError, ConfigNotFoundError, ForbiddenPathError
from onetrainer_gradio.service.engines.newer_settings import newer_fields, newer_settings
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json

# How long a scan of a checkout's files is reused for the page: git checks whether anything was changed.
_LOOK_S = 5.0

# Findings about a folder that is no checkout at all; with every other one it can be put in order.
_NOT_THERE = frozenset({"checkout_missing", "checkout_not_onetrainer"})

PRESET_FOLDER = "training_presets"

_NOT_READ = "Can't read the settings that this OneTrainer reports"
_LOOK_AT = "Check the terminal output of the panel, then check this installation again"

# list of the settings -> folder of the checkout that holds files of such lists
LIST_FOLDERS = {"concepts": "training_concepts", "samples": "training_samples"}

__all__ = [
    "LIST_FOLDERS",
    "PRESET_FOLDER",
    "Checkouts",
    "Known",
    "Sources",
    "about",
    "default_places",
    "newer_of",
    "version_note",
]

Look = Callable[[Path, Path | None], Checkout]
Read = Callable[[Checkout, Path], CheckoutFacts]


@dataclass(frozen=True)
class Known:
    """A registered checkout; ``origin`` is ``command line``, ``added`` or ``found``.

    ``python`` is an interpreter that the user set; None uses the one of its environment.
    """

    folder: Path
    python: Path | None = None
    origin: str = "added"

    @property
    def id(self) -> str:
        """Return a short name for URLs: the folder's name and a few digits of a hash of its path."""
        word = "".join(letter if letter.isalnum() else "-" for letter in self.folder.name.lower()).strip("-") or "checkout"
        return f"{word}-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:6]}"


@dataclass
class _Reading:
    """The state of a checkout's settings: ``state`` is ``unread``, ``reading``, ``ready`` or ``failed``."""

    state: str = "unread"
    facts: CheckoutFacts | None = None
    newer: Newer = NOTHING_NEWER
    error: str = ""
    suggestion: str = ""
    revision: str = ""


@dataclass(frozen=True)
class _Glance:
    at: float
    checkout: Checkout


@dataclass(frozen=True)
class Sources:
    """The sources of checkouts in addition to added ones: the command line, and common locations."""

    given: Sequence[Path] = ()
    search: Callable[[], Iterable[Path]] = field(default=tuple)


class Checkouts:
    """The registered checkouts, those of the command line first. Safe from any thread.

    With ``closed``, none can be added or removed, because adding one allows its Python to run on this machine. ``changed``
    is called, outside of the lock, when the list or the facts about a checkout changed.
    """

    def __init__(
        self,
        data_folder: Path,
        sources: Sources = Sources(),
        *,
        closed: bool = False,
        changed: Callable[[], None] = lambda: None,
        look: Look = checkouts.inspect,
        read: Read = checkout_facts.read_facts,
    ) -> None:
        self._file = data_folder / "checkouts.json"
        self._cache = data_folder / "cache" / "onetrainer"
        self._closed = closed
        self._notify = changed
        self._look = look
        self._read = read
        self._lock = threading.RLock()
        self._glances: dict[Path, _Glance] = {}
        self._readings: dict[Path, _Reading] = {}
        self._waiting: deque[Known] = deque()
        self._worker: threading.Thread | None = None
        self._ending = False
        self._idle = threading.Condition(self._lock)
        kept = read_json(self._file)
        kept = kept if isinstance(kept, dict) else {}
        forgotten = kept.get("forgotten")
        self._forgotten = {Path(text) for text in forgotten if isinstance(text, str)} if isinstance(forgotten, list) else set()
        self._known = {known.folder: known for known in self._first(sources, kept.get("checkouts", ()))}

    def _first(self, sources: Sources, kept: Any) -> Iterator[Known]:
        seen: set[Path] = set()
        added = [Known(Path(entry["folder"]), Path(entry["python"]) if entry.get("python") else None) for entry in _entries(kept)]
        named = {known.folder: known.python for known in added}
        folders = map(_absolute, sources.given)
        given = (Known(folder, named.get(folder), "command line") for folder in folders)
        found = (Known(_absolute(folder), origin="found") for folder in sources.search())
        for known in (*given, *added, *found):
            is_there = known.origin != "found" or os.path.isfile(known.folder / checkouts.NEEDED_FILES[0])
            if known.folder not in seen and is_there and not (known.origin == "found" and known.folder in self._forgotten):
                seen.add(known.folder)
                yield known

    @property
    def can_add(self) -> bool:
        """Return whether checkouts can be added and removed."""
        return not self._closed

    # which there are

    def all(self) -> tuple[Known, ...]:
        """Return every registered checkout, usable or not."""
        with self._lock:
            return tuple(self._known.values())

    def get(self, which: str | Path) -> Known:
        """Return a registered checkout by its ID or folder.

        :raises CheckoutNotFoundError: if it isn't registered.
        """
        text = str(which)
        every = self.all()
        for known in every:
            if text in (known.id, str(known.folder)) or (text and _absolute(Path(text)) == known.folder):
                return known
        folders = ", ".join(str(checkout.folder) for checkout in every)
        raise CheckoutNotFoundError(
            f"The OneTrainer installation {text!r} isn't registered",
            value=text,
            expected=f"one of: {folders}" if folders else "none is registered yet",
            suggestion=(f"Choose one of {folders}, or add it" if folders else "Add it")
            + " on the System tab, or start the panel with --onetrainer FOLDER.",
        )

    def add(self, folder: str | Path, python: str | Path = "") -> Known:
        """Register a checkout. One without an environment is registered, too, with a list of what is missing.

        :raises CheckoutError: if there is no OneTrainer in the folder.
        :raises ForbiddenPathError: if checkouts can only be set at startup.
        """
        if self._closed:
            raise ForbiddenPathError(
                "OneTrainer installations can't be added from the page",
                value=str(folder),
                expected="an installation that was set when the panel was started",
                suggestion="Start the panel with --onetrainer FOLDER.",
            )
        place = _absolute(Path(str(folder).strip() or "."))
        chosen_python = _absolute(Path(str(python).strip())) if str(python).strip() else None
        looked = self._look(place, chosen_python)
        if not str(folder).strip() or any(found.code in _NOT_THERE for found in looked.problems):
            raise _refusal(looked, named=bool(str(folder).strip()))
        with self._lock:
            before = self._known.get(place)
            origin = before.origin if before is not None and before.origin == "command line" else "added"
            known = self._known[place] = Known(place, chosen_python, origin)
            self._forgotten.discard(place)
            self._forget_facts(place)
            self._remember()
        self._notify()
        self.read(known)
        return known

    def remove(self, which: str) -> None:
        """Remove a checkout from the list; none of its files are deleted, and it isn't detected again.

        :raises CheckoutNotFoundError: if it isn't registered.
        :raises ForbiddenPathError: if checkouts can only be set at startup: it could not be added again.
        """
        known = self.get(which)
        if self._closed:
            raise ForbiddenPathError(
                "OneTrainer installations can't be removed from the page",
                value=str(known.folder),
                expected="the installations set at the start",
                suggestion="Start the panel without it (--no-find-onetrainer also omits detected ones).",
            )
        with self._lock:
            self._known.pop(known.folder, None)
            self._forgotten.add(known.folder)
            self._forget_facts(known.folder)
            self._remember()
        self._notify()

    def _remember(self) -> None:
        kept = [
            {"folder": str(known.folder), "python": str(known.python or "")}
            for known in self._known.values()
            if known.origin == "added" or known.python is not None
        ]
        with raising_storage_error("the list of OneTrainer installations"):
            write_json(self._file, {"checkouts": kept, "forgotten": sorted(map(str, self._forgotten))})

    def _forget_facts(self, folder: Path) -> None:
        self._glances.pop(folder, None)
        self._readings.pop(folder, None)

    # what they are

    def look(self, known: Known, *, not_older_s: float = math.inf) -> Checkout:
        """Return the checkout as of the last inspection, or one that is at most this many seconds old."""
        with self._lock:
            glance = self._glances.get(known.folder)
        if glance is not None and time.monotonic() - glance.at < not_older_s:
            return glance.checkout
        looked = self._look(known.folder, known.python)
        with self._lock:
            self._glances[known.folder] = _Glance(time.monotonic(), looked)
            reading = self._readings.get(known.folder)
            updated = reading is not None and reading.state == "ready" and reading.revision != looked.revision
        if updated:
            self.read(known)
        return looked

    def try_out(self, folder: str | Path, python: str | Path = "") -> Checkout:
        """Inspect a folder without registering it.

        :raises ForbiddenPathError: if checkouts can only be set at startup.
        """
        if self._closed:
            raise ForbiddenPathError("This panel doesn't inspect folders that aren't registered", value=str(folder))
        return self._look(_absolute(Path(folder)), _absolute(Path(python)) if str(python) else None)

    def reading(self, known: Known) -> _Reading:
        """Return the current facts about the checkout's settings."""
        with self._lock:
            return self._readings.get(known.folder, _Reading())

    def facts(self, known: Known) -> CheckoutFacts | None:
        """Return what the checkout supports, or None until it is read."""
        return self.reading(known).facts

    def newer(self, known: Known) -> Newer:
        """Return how its configuration differs from ours; nothing until it is read."""
        return self.reading(known).newer

    def usable(self) -> tuple[Known, ...]:
        """Return the checkouts without known problems."""
        return tuple(known for known in self.all() if self.look(known).usable and self.reading(known).state != "failed")

    def title(self, known: Known) -> str:
        """Return the title of the checkout: ``OneTrainer 23df383``, with the folder's name if there are several."""
        return _title(known, self.look(known), alone=len(self.all()) == 1)

    # reading settings

    def read_all(self) -> None:
        """Read the settings of every usable checkout, in the background."""
        for known in self.all():
            if self.look(known).usable:
                self.read(known)

    def read(self, known: Known) -> None:
        """Read the checkout's settings in the background, unless they are known for its current revision."""
        looked = self.look(known)
        if not looked.usable:
            return
        with self._lock:
            if self._ending:
                return
            reading = self._readings.setdefault(known.folder, _Reading())
            if reading.state == "reading" or (reading.state == "ready" and reading.revision == looked.revision):
                return
            reading.state = "reading"
            self._waiting.append(known)
            self._read_on()
        self._notify()

    def check(self, which: str) -> Known:
        """Inspect a checkout again and read its settings if it changed.

        :raises CheckoutNotFoundError: if it isn't registered.
        """
        known = self.get(which)
        self.look(known, not_older_s=0)
        with self._lock:
            reading = self._readings.get(known.folder)
            if reading is not None and reading.state != "reading":
                del self._readings[known.folder]  # what has not changed comes from the cache
        self.read(known)
        return known

    def wait(self, timeout_s: float) -> bool:
        """Wait until all reading is done. Return whether it is done in time."""
        with self._idle:
            return self._idle.wait_for(lambda: self._worker is None, timeout_s)

    def close(self) -> None:
        """Start no further reading."""
        with self._lock:
            self._ending = True
            self._waiting.clear()

    def _read_waiting(self) -> None:
        try:
            while (known := self._next()) is not None:
                reading = None
                try:
                    reading = self._read_one(known)
                finally:
                    with self._lock:
                        if known.folder in self._known:
                            self._readings[known.folder] = reading or _Reading("failed", error=_NOT_READ, suggestion=_LOOK_AT)
                self._notify()
        finally:  # an unexpected error ends this thread: waiting scans start another
            with self._idle:
                self._worker = None
                self._read_on()
                self._idle.notify_all()

    def _next(self) -> Known | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _read_on(self) -> None:
        """Start a thread for waiting checkouts; the lock is held."""
        if self._worker is None and self._waiting:
            self._worker = threading.Thread(target=self._read_waiting, name="checkouts", daemon=True)
            self._worker.start()

    def _read_one(self, known: Known) -> _Reading:
        looked = self.look(known, not_older_s=0)
        try:
            facts = self._read(looked, self._cache)
        except CheckoutError as error:
            return _Reading("failed", error=error.message, suggestion=error.suggestion, revision=looked.revision)
        newer = newer_of(facts, _title(known, looked, alone=True))
        return _Reading("ready", facts, newer, revision=looked.revision)

    # reporting

    def describe(self, known: Known) -> dict[str, Any]:
        """Return a checkout as a JSON object."""
        looked = self.look(known, not_older_s=_LOOK_S)
        return {
            "id": known.id,
            "title": self.title(known),
            "folder": str(known.folder),
            "origin": known.origin,
            "named_python": str(known.python or ""),
            **about(looked),
            "settings": self._about_settings(known),
            "lists": {kind: [path.stem for path in _files(known.folder / folder)] for kind, folder in LIST_FOLDERS.items()},
            "presets": len(_files(known.folder / PRESET_FOLDER, deep=True)),
        }

    def _about_settings(self, known: Known) -> dict[str, Any]:
        reading = self.reading(known)
        facts = reading.facts
        description: dict[str, Any] = {"state": reading.state, "error": reading.error, "suggestion": reading.suggestion}
        if facts is None:
            return description
        differences = checkout_facts.compare_fields(facts)
        newer = newer_fields(differences.newer)
        return description | {
            "problem": facts.problem,
            "versions": dict(facts.versions),
            "model_types": len(facts.model_types),
            "newer_model_types": list(reading.newer.names.get(MODEL_TYPE, ())),
            "newer": [{"path": path, "type": item.type, "default": item.default} for path, item in newer.items()],
            "lacking": list(differences.lacking),
            "defaults": [{"path": path, "here": here, "there": there} for path, (here, there) in differences.defaults.items()],
        }

    def record(self, known: Known) -> dict[str, Any]:
        """Return what a run records of its checkout."""
        looked = self.look(known, not_older_s=_LOOK_S)
        facts = self.facts(known)
        return {
            "folder": str(known.folder),
            "title": self.title(known),
            "python": str(looked.python or ""),
            "revision": looked.revision,
            "branch": looked.branch,
            "modified": looked.modified,
            "config_version": looked.config_version,
            "versions": dict(facts.versions) if facts else {},
        }

    def read_list(self, which: str, kind: str, name: str) -> list[Any]:
        """Return a list of concepts or samples from a file of the checkout, with absolute paths.

        :raises CheckoutNotFoundError: if the checkout isn't registered.
        :raises ConfigNotFoundError: if it has no such file.
        :raises ConfigFileError: if the file isn't a list.
        """
        known = self.get(which)
        files = {path.stem: path for path in _files(known.folder / LIST_FOLDERS.get(kind, "-"))}
        if name not in files:
            raise ConfigNotFoundError(
                f"{self.title(known)} has no list {name!r} of {kind}", value=name, expected=f"one of: {', '.join(files)}"
            )
        return [_at_home(item, known.folder) for item in read_json_list(files[name])]


def about(looked: Checkout) -> dict[str, Any]:
    """Return the facts from a checkout's files as a JSON object."""
    return {
        "usable": looked.usable,
        "python": str(looked.python or ""),
        "revision": looked.revision,
        "branch": looked.branch,
        "modified": looked.modified,
        "config_version": looked.config_version,
        "panel_config_version": TrainConfig.config_version,
        "version_note": version_note(looked.config_version),
        "problems": [asdict(problem) for problem in looked.problems],
    }


def version_note(version: int | None) -> str:
    """Return what it means that a checkout's settings have another version than ours; empty for the same version."""
    here = TrainConfig.config_version
    if version is None or version == here:
        return ""
    if version > here:
        return (
            f"Its settings have version {version}, this panel's version {here}. When a run starts, OneTrainer translates the "
            "panel's settings into its own. Settings that only OneTrainer has are in the group “Newer settings” under Expert. "
            "Settings that it has dropped are marked in the form and have no effect. "
            "A newer release of this panel may support them."
        )
    return (
        f"Its settings have version {version}, this panel's version {here}. OneTrainer reads the panel's settings by their "
        "names, without translation. Settings that it doesn't have yet are marked in the form and have no effect. A setting that "
        "it changes is a warning of the run. Update OneTrainer to use all settings."
    )


def newer_of(facts: CheckoutFacts, source: str) -> Newer:
    """Return how the configuration of a checkout differs from ours, in the terms of the form."""
    compared = checkout_facts.compare_fields(facts)
    methods = {name: tuple(methods) for name, methods in facts.methods.items() if set(methods) - set(_our_methods(name))}
    found = Newer(
        source=source,
        settings=newer_settings(facts),
        lacking=frozenset(compared.lacking),
        names=dict(_newer_names(facts)),
        methods={name: tuple(dict.fromkeys((*_our_methods(name), *theirs))) for name, theirs in methods.items()},
        samples=facts.sample_defaults,
    )
    content = (str(facts.folder), source, found.settings, sorted(found.lacking), found.names, found.methods, found.samples)
    return replace(found, key=hashlib.sha256(repr(content).encode()).hexdigest()[:16])


def _newer_names(facts: CheckoutFacts) -> Iterator[tuple[str, tuple[str, ...]]]:
    for path, entry in CATALOGUE.items():
        kind = without_none(entry.annotation)
        theirs = facts.model_types if path == MODEL_TYPE else facts.fields[path].choices if path in facts.fields else ()
        if isinstance(kind, type) and issubclass(kind, Name):
            unknown = tuple(name for name in theirs if name not in kind.__members__)
            if unknown:
                yield path, unknown


def _our_methods(model_type: str) -> tuple[str, ...]:
    return tuple(MODELS[ModelType(model_type)].methods) if model_type in ModelType.__members__ else ()


def _title(known: Known, looked: Checkout, *, alone: bool) -> str:
    revision = looked.revision[:7]
    folder = "" if alone or known.folder.name == "OneTrainer" else f" in {known.folder.name}"
    return f"OneTrainer{f' {revision}' if revision else ''}{folder}"


def _refusal(looked: Checkout, *, named: bool) -> CheckoutError:
    wrong = next((found for found in looked.problems if found.severity == "error"), None)
    if not named or wrong is None:
        return CheckoutError("No folder is set", path="folder", expected="the folder that OneTrainer was cloned or unpacked into")
    return CheckoutError(
        wrong.message, path="folder", value=str(looked.folder), expected=wrong.expected, suggestion=wrong.suggestion
    )


def _entries(kept: Any) -> Iterator[Mapping[str, Any]]:
    for entry in kept if isinstance(kept, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("folder"), str) and isinstance(entry.get("python") or "", str):
            yield entry


def _absolute(path: Path) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:  # ~name of an unknown user
        return Path(path).absolute()


def _files(folder: Path, *, deep: bool = False) -> list[Path]:
    try:
        return sorted(path for path in folder.glob("**/*.json" if deep else "*.json") if path.is_file())
    except OSError:
        return []


def _at_home(item: Any, folder: Path) -> Any:
    """Return an element of a list with its path relative to the checkout, as in OneTrainer."""
    path = item.get("path") if isinstance(item, dict) else None
    if isinstance(path, str) and path and not Path(path).is_absolute() and (folder / path).exists():
        return item | {"path": str(folder / path)}
    return item

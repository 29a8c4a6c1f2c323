"""Compare two sources of settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from onetrainer_gradio.config.declarations.catalog import CATALOGUE, pattern, title_of
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.resolve import pack, resolve_paths
from onetrainer_gradio.errors import ConfigValueError, RunNotFoundError
from onetrainer_gradio.service.runs.record import RunStore
from onetrainer_gradio.service.settings.configs import ConfigStore, paths_in_form, settings_that_differ, value_in_form

SourceKind = Literal["current", "opened", "defaults", "preset", "library", "saved", "run", "document"]
KINDS: tuple[str, ...] = get_args(SourceKind)
LATEST = "latest"
MAX_SETTINGS = 200
_MAX_TEXT = 200
# Where runs write: these differ often and explain no result.
_PLACES = frozenset({"workspace_dir", "cache_dir", "debug_dir", "output_model_destination", "save_filename_prefix"})

_TITLES = {
    "current": "the settings in the form",
    "opened": "the opened configuration",
    "defaults": "the defaults",
    "document": "a document",
}
_NAMELESS = frozenset(_TITLES)


@dataclass(frozen=True)
class Source:
    """One side of a comparison.

    ``name`` is that of a preset, a preset of a library or a saved configuration, the ID of a run, or ``latest`` for the newest.
    ``document`` is used only with the kind ``document``.
    """

    kind: str
    name: str = ""
    document: Mapping[str, Any] | None = None

    @classmethod
    def parse(cls, text: str) -> Source:
        """Parse a source written as ``kind`` or ``kind:name``.

        :raises ConfigValueError: if the kind doesn't exist, or a name is missing.
        """
        kind, _, name = text.partition(":")
        return cls(kind.strip(), name.strip()).checked()

    def checked(self) -> Source:
        """Return the source itself.

        :raises ConfigValueError: if the kind doesn't exist, or a required value is missing.
        """
        if self.kind not in KINDS:
            expected = ", ".join(KINDS)
            raise ConfigValueError(f"{self.kind!r} isn't a source of settings", path="kind", value=self.kind, expected=expected)
        if not self.name and self.kind not in _NAMELESS:
            raise ConfigValueError(
                f"A {self.kind} needs a name",
                path="name",
                value=self.name,
                expected=f"{self.kind}:NAME",
                suggestion="Add the name.",
            )
        if self.kind == "document" and self.document is None:
            raise ConfigValueError("The document to compare is missing", path="document", expected="a configuration")
        return self


@dataclass(frozen=True)
class Side:
    """A source that was read: its full name, a title, and its document as opening it would give it."""

    kind: str
    name: str
    title: str
    document: dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """A setting that differs between two sides, with both values."""

    path: str
    left: Any
    right: Any


@dataclass(frozen=True)
class RunTable:
    """The settings in which ``runs`` differ: ``path``, ``title`` and one of ``values`` per run. ``total`` counts all of them."""

    runs: list[str]
    settings: list[dict[str, Any]]
    total: int


def shortened(value: Any) -> Any:
    """Return a value as it is if it is short, else the beginning of its text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return value if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


class Comparison:
    """Compare any two of: the settings in the form, where they came from, presets, saved configurations, runs, documents."""

    def __init__(self, configs: ConfigStore, runs: RunStore) -> None:
        self._configs = configs
        self._runs = runs

    def compare(self, left: Source, right: Source) -> tuple[Side, Side, list[Difference]]:
        """Return both sides, and an entry for each path that differs.

        A relative path equals the absolute path that it resolves to, because a run stores absolute ones.

        :raises ConfigNotFoundError: when there is no preset or saved configuration of a name.
        :raises RunNotFoundError: when there is no run of an id.
        :raises ConfigInvalidError: when a document has values of a wrong type.
        """
        one, newer = self.read(left), self._configs.newer()
        two = self.read(right, over_current=left.kind == "current")
        before, after = self._absolute(one.document), self._absolute(two.document)
        paths = paths_in_form(settings_that_differ(before, after), before, after, newer)
        values = ((path, *(value_in_form(side.document, path, newer) for side in (one, two))) for path in paths)
        return one, two, [Difference(path, left_value, right_value) for path, left_value, right_value in values]

    def of_runs(self, run_ids: Sequence[str]) -> RunTable:
        """Return the settings in which runs differ, in the order of the form, with the value of each run.

        :raises RunNotFoundError: if one of the runs doesn't exist.
        :raises ConfigInvalidError: if the settings of a run have values of a wrong type.
        """
        newer = self._configs.newer()
        sides = [self.read(Source("run", run_id)) for run_id in dict.fromkeys(run_ids)]
        settled = [self._absolute(side.document) for side in sides]
        differing: dict[str, None] = {}
        for other in settled[1:]:
            differing |= dict.fromkeys(paths_in_form(settings_that_differ(settled[0], other), settled[0], other, newer))
        order = {path: number for number, path in enumerate(CATALOGUE)}
        paths = sorted(differing, key=lambda path: (pattern(path) in _PLACES, order.get(pattern(path), len(order))))
        rows = [
            {
                "path": path,
                "title": title_of(path),
                "values": [shortened(value_in_form(side.document, path, newer)) for side in sides],
            }
            for path in paths[:MAX_SETTINGS]
        ]
        return RunTable([side.name for side in sides], rows, len(paths))

    def named(self, name: str) -> Source:
        """Return the source for a name without a kind: a saved configuration, or else a preset.

        :raises ConfigNotFoundError: if there is none with this name.
        """
        return Source(self._configs.kind_of(name), name)

    def read(self, source: Source, *, over_current: bool = False) -> Side:
        """Return a source as one side of a comparison; with ``over_current``, a preset as opening it now would give it."""
        source = source.checked()
        name, title, document = source.name, _TITLES.get(source.kind, source.name), dict(source.document or {})
        if source.kind == "run":
            name, title, document = self._run(source.name)
        elif source.kind in ("preset", "library", "saved"):
            document = self._configs.read(source.name, source.kind)
        elif source.kind == "current":
            name, document = self._configs.name() or "", self._configs.export()
        elif source.kind == "opened":
            name, document = self._configs.name() or "", self._configs.origin()
            title = name or title
        elif source.kind == "defaults":
            now = self._configs.train_config()
            document = self._configs.defaults(now.model_type.value, now.training_method.value)
        preset = over_current and source.kind in ("preset", "library")
        opened = self._configs.with_preset(document) if preset else self._configs.as_opened(document)
        return Side(source.kind, name, title, opened)

    def _run(self, run_id: str) -> tuple[str, str, dict[str, Any]]:
        if run_id == LATEST:
            newest = next(iter(self._runs.ids()), None)
            if newest is None:
                raise RunNotFoundError("No runs yet", value=run_id, suggestion="Start a run.")
            run_id = newest
        run = self._runs.get(run_id)
        return run.id, run.name or run.id, run.config()

    def _absolute(self, document: dict[str, Any]) -> dict[str, Any]:
        base = self._configs.base_folder
        config, _ = from_document(document)
        return to_document(resolve_paths(pack(config, base, self._configs.roots), base), packed=True)

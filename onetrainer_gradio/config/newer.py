"""What the configuration of a OneTrainer checkout has and ours has not, and the other way round.

A checkout may be newer or older than this release. Its additional settings and names are kept in the document as they are,
offered by the form with their type and default, and checked against what the checkout says of them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from onetrainer_gradio.config.catalogue import CATALOGUE, pattern
from onetrainer_gradio.config.enums import Name
from onetrainer_gradio.config.train import TrainConfig
from onetrainer_gradio.config.visibility import METHOD, MODEL_TYPE
from onetrainer_gradio.config.walk import Leaf, leaves, without_none
from onetrainer_gradio.errors import Finding

Kind = Literal["boolean", "integer", "number", "string"]

GROUP = "checkout"

_WORDS: dict[Kind, str] = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "a text"}


@dataclass(frozen=True)
class NewerSetting:
    """A setting that only the checkout has: path (``[]`` for list elements), type, default, and names to choose from."""

    path: str
    kind: Kind
    default: Any = None
    nullable: bool = False
    choices: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its own name in words, after the label of the object that it stands in."""
        parent, _, name = self.path.rpartition(".")
        words = name.replace("_", " ").capitalize()
        owner = CATALOGUE.get(parent)
        label = owner.setting.label if owner else parent.rpartition(".")[2].removesuffix("[]").replace("_", " ").capitalize()
        return words if not parent or parent.endswith("[]") else f"{label}: {words.lower()}"

    def expected(self) -> str:
        """What a value has to be, in words."""
        words = f"one of {', '.join(self.choices)}" if self.choices else _WORDS[self.kind]
        return f"{words}, or empty" if self.nullable else words

    def accepts(self, value: Any) -> bool:
        """Whether the setting can have a value."""
        if value is None:
            return self.nullable
        if self.choices:
            return value in self.choices
        if self.kind == "boolean" or isinstance(value, bool):
            return self.kind == "boolean" and isinstance(value, bool)
        if self.kind == "integer":
            return isinstance(value, int)
        if self.kind == "number":
            return isinstance(value, (int, float)) and not math.isnan(value)
        return isinstance(value, str)


@dataclass(frozen=True)
class Newer:
    """How the configuration of a checkout differs from ours; empty where no checkout is followed.

    ``source`` names the checkout in sentences, ``key`` changes with anything here. ``lacking`` are the paths that it does not
    know, ``names`` the values that it knows beyond ours (path -> names), ``methods`` the training methods of each model type that
    has more there than here, ``samples`` what a new sample prompt of each model type begins with there.
    """

    source: str = ""
    key: str = ""
    settings: Mapping[str, NewerSetting] = field(default_factory=dict)
    lacking: frozenset[str] = frozenset()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def setting(self, path: str) -> NewerSetting | None:
        """The additional setting at a path."""
        return self.settings.get(pattern(path))

    def knows(self, path: str, value: str) -> bool:
        """Whether the checkout knows a name at a path."""
        return value in self.names.get(pattern(path), ())


NOTHING_NEWER = Newer()


def newer_names(config: TrainConfig) -> Iterator[Leaf]:
    """The values of a configuration that this release does not know: names of a newer OneTrainer, or mistakes."""
    return (leaf for leaf in leaves(config) if isinstance(leaf.value, Name) and not leaf.value.known)


def unknown_name(leaf: Leaf) -> Finding:
    """The finding about a name that nobody knows."""
    known = ", ".join(member.value for member in without_none(leaf.annotation))
    expected = f"one of {known}"
    return Finding(
        "error", leaf.path, f"{leaf.path} is {leaf.value.value!r}", leaf.value.value, expected, f"set {leaf.path} to {expected}"
    )


def with_known_names(config: TrainConfig) -> TrainConfig:
    """The configuration with the default in the place of every name that is not known here, but for the model type.

    For checks that look names up in tables; nothing is trained with it.
    """
    for leaf in list(newer_names(config)):
        if leaf.path != MODEL_TYPE and not any(part.isdigit() for part in leaf.path.split(".")):
            config = _with(config, leaf.path.split("."), CATALOGUE[leaf.path].default)
    return config


def _with(at: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    return at.model_copy(update={name: _with(getattr(at, name), rest, value) if rest else value})


def follow(schema: dict[str, Any], newer: Newer) -> dict[str, Any]:
    """The schema of the form as it is for a checkout: with its additional settings and names, and with what it lacks marked."""
    if newer == NOTHING_NEWER:
        return schema
    schema = copy.deepcopy(schema)
    schema["x-follows"] = {"key": newer.key, "title": newer.source}
    _name_types(schema, newer)
    for path, names in newer.names.items():
        if path != MODEL_TYPE and (place := _place(schema, path)) is not None:
            _add_names(place, names)
    for path in newer.lacking:
        if (place := _place(schema, path)) is not None:
            place["x-lacking"] = True
    for setting in newer.settings.values():
        _add(schema, setting, newer.source)
    samples = schema["properties"]["samples"]
    for model_type, begins in newer.samples.items():
        known = {name: value for name, value in begins.items() if name in samples["items"]["properties"]}
        samples["x-new-by"]["values"].setdefault(model_type, {}).update(known)
    if any("[]" not in path for path in newer.settings):
        schema["x-tabs"].append({"key": GROUP, "title": "Newer settings"})
        about = f"Settings that {newer.source} has and this panel does not describe yet. They go to OneTrainer as they are."
        schema["x-groups"].append({"key": GROUP, "title": "Newer settings", "about": about, "x-tab": GROUP})
    return schema


def _place(schema: dict[str, Any], path: str, *, make: bool = False) -> dict[str, Any] | None:
    """The schema of the setting at a path; with ``make``, objects on the way are made where there are none."""
    at = schema
    for part in path.split("."):
        name = part.removesuffix("[]")
        properties = at.setdefault("properties", {})
        if name not in properties:
            if not make:
                return None
            properties[name] = {"title": name, "type": "object", "properties": {}, "additionalProperties": True}
        at = properties[name]
        if part.endswith("[]"):
            if "items" not in at:
                return None
            at = at["items"]
    return at


def _add(schema: dict[str, Any], setting: NewerSetting, source: str) -> None:
    parent, _, name = setting.path.rpartition(".")
    at = _place(schema, parent, make=True) if parent else schema
    if at is None:
        return
    described: dict[str, Any] = {
        "title": setting.title,
        "description": f"A setting of {source} that this panel does not describe yet. Its name there: {setting.path}.",
        "type": [setting.kind, "null"] if setting.nullable else setting.kind,
        "default": setting.default,
        "x-group": _group(schema, setting.path),
        "x-level": "expert",
        "x-newer": True,
    }
    if setting.choices:
        described["enum"] = [*setting.choices, None] if setting.nullable else [*setting.choices]
    at.setdefault("properties", {})[name] = described


def _group(schema: dict[str, Any], path: str) -> str:
    of = path.rpartition("[]")[0].replace("[]", "")
    return next((str(group["key"]) for group in schema["x-groups"] if of and group.get("x-of") == of), GROUP)


def _name_types(schema: dict[str, Any], newer: Newer) -> None:
    """Additional model types, and additional methods of known ones, in every table that goes by them."""
    types = newer.names.get(MODEL_TYPE, ())
    place = _place(schema, MODEL_TYPE)
    if place is not None and types:
        place["enum"] = [*place["enum"], *types]
    methods = {**dict.fromkeys(types, ()), **newer.methods}
    for described in _settings(schema):
        shown = described.get("x-shown", {})
        if MODEL_TYPE in shown:
            shown[MODEL_TYPE] = [*shown[MODEL_TYPE], *types]  # what such a type does not have is OneTrainer's to pass over
        depends = described.get("x-choices-by")
        if not depends or depends["by"][0] != MODEL_TYPE:
            continue
        every = _every(depends["choices"])
        for name, their_methods in methods.items():
            if depends["by"] == [MODEL_TYPE, METHOD]:
                table = depends["choices"].setdefault(name, {})
                for method in their_methods:
                    table.setdefault(method, every)
            elif described is _place(schema, METHOD):
                depends["choices"][name] = list(their_methods) or every
            elif name in types:
                depends["choices"][name] = every


def _settings(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for described in schema.get("properties", {}).values():
        yield described
        yield from _settings(described)
        yield from _settings(described.get("items", {}))


def _every(choices: Any) -> list[str]:
    if isinstance(choices, Mapping):
        return list(dict.fromkeys(name for inner in choices.values() for name in _every(inner)))
    return list(choices)


def _add_names(place: dict[str, Any], names: tuple[str, ...]) -> None:
    if "enum" in place:
        empty = [None] if None in place["enum"] else []
        place["enum"] = [*(name for name in place["enum"] if name is not None), *names, *empty]
    if "x-choices-by" in place:
        _widen(place["x-choices-by"]["choices"], names)


def _widen(choices: dict[str, Any], names: tuple[str, ...]) -> None:
    for key, inner in choices.items():
        if isinstance(inner, dict):
            _widen(inner, names)
        else:
            choices[key] = [*inner, *names]

"""Compare the configuration of a OneTrainer checkout with ours: additional and lacking settings and names.

A checkout may be newer or older than this release. Its additional settings and names are kept in the document unchanged,
offered by the form with their type and default, and checked against the checkout's declarations.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from onetrainer_gradio.config.declarations.catalog import CATALOGUE, pattern, title_of
from onetrainer_gradio.config.declarations.labels import names_of
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.visibility import METHOD, MODEL_TYPE
from onetrainer_gradio.config.declarations.walk import Leaf, is_name, leaves, without_none
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.enums import Name
from onetrainer_gradio.errors import Finding

Kind = Literal["boolean", "integer", "number", "string", "array", "object"]

GROUP = "checkout"

# kind -> (what one value is, what several are, the values of a small example)
_WORDS: dict[Kind, tuple[str, str, tuple[Any, ...]]] = {
    "boolean": ("true or false", "true or false values", (True, False)),
    "integer": ("a whole number", "whole numbers", (1, 2)),
    "number": ("a number", "numbers", (0.5, 2)),
    "string": ("a text", "texts", ("one", "two")),
    "array": ("a list", "lists", ([], [])),
    "object": ("an object", "objects", ({}, {})),
}
# kinds whose values are edited as JSON
AS_JSON: frozenset[Kind] = frozenset({"array", "object"})
_PYTHON: dict[Kind, type] = {"boolean": bool, "string": str, "array": list, "object": dict}
_MAX_SHOWN = 80


@dataclass(frozen=True)
class Wrong:
    """The first invalid place in a value: its path, its value, and what is expected, as text."""

    path: str
    value: Any
    expected: str
    message: str = ""

    def finding(self, setting: str, *, as_json: bool) -> Finding:
        """Return it as a finding at its setting."""
        message = self.message or f"{self.path} must be {self.expected}, not {_short(self.value)}"
        suggestion = f"Enter {self.expected}, or reset the setting." if as_json else f"Set {self.path} to {self.expected}."
        return Finding("error", setting, message, self.value, self.expected, suggestion)


@dataclass(frozen=True)
class NewerSetting:
    """A setting that only the checkout has: path (``[]`` for list elements), type, default, and names to choose from.

    ``items`` describes each element of a list, or each value of an object with arbitrary keys; ``inside`` are the settings of an
    object with known keys. If neither is given (or None for one of them), any value is allowed.
    """

    path: str
    kind: Kind
    default: Any = None
    nullable: bool = False
    choices: tuple[str, ...] = ()
    items: NewerSetting | None = None
    inside: Mapping[str, NewerSetting | None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return its name as text, after the label of the object that contains it."""
        parent, _, name = self.path.rpartition(".")
        words = name.replace("_", " ").capitalize()
        owner = CATALOGUE.get(parent)
        label = owner.setting.label if owner else parent.rpartition(".")[2].removesuffix("[]").replace("_", " ").capitalize()
        return words if not parent or parent.endswith("[]") else f"{label}: {words.lower()}"

    def expected(self) -> str:
        """Return the expected value as text."""
        if self.choices:
            words = f"one of {', '.join(self.choices)}"
        elif self.kind in AS_JSON:
            words = f"{self.several()}, as {json.dumps(self.example(), ensure_ascii=False)}"
        else:
            words = _WORDS[self.kind][0]
        return f"{words}, or empty" if self.nullable else words

    def several(self) -> str:
        """Return the content of a list or an object as text."""
        one = _WORDS[self.kind][0]
        if self.inside:
            return f"{one} with {', '.join(self.inside)}"
        if self.items is None:
            return one
        of = self.items
        what = f"{_WORDS[of.kind][1]} with {', '.join(of.inside)}" if of.inside else _WORDS[of.kind][1]
        if of.choices:
            what = f"the names {', '.join(of.choices)}"
        return f"{one} of {what}"

    def example(self) -> Any:
        """Return a small example value of the setting."""
        if self.choices:
            return self.choices[0]
        if self.kind == "array":
            return self._examples() or ["one", 2]
        if self.kind == "object":
            named = {name: each.example() for name, each in self.inside.items() if each is not None and each.kind not in AS_JSON}
            return named or dict(zip(("name", "other"), self._examples(), strict=False)) or {"name": "value"}
        return _WORDS[self.kind][2][0]

    def _examples(self) -> list[Any]:
        of = self.items
        if of is None:
            return []
        if of.choices:
            return list(of.choices[:2])
        return [of.example()] if of.kind in AS_JSON else list(_WORDS[of.kind][2])

    def wrong(self, value: Any, path: str) -> Wrong | None:
        """Return why the setting at a path can't have a value, or None if it can."""
        if value is None:
            return None if self.nullable else Wrong(path, value, self.expected())
        if not self._is_one(value):
            if self.kind in AS_JSON and isinstance(value, str):
                return Wrong(path, value, self.expected(), _no_json(path, value))
            return Wrong(path, value, self.expected())
        if self.kind not in AS_JSON:
            return None
        for key, each in enumerate(value) if isinstance(value, list) else value.items():
            setting = self.items
            if self.inside:
                if key not in self.inside:
                    return Wrong(path, each, self.expected(), f"{path} has no setting {_short(key)}")
                setting = self.inside[str(key)]
            if setting is not None and (found := setting.wrong(each, f"{path}.{key}")) is not None:
                return found
        return None

    def _is_one(self, value: Any) -> bool:
        """Return whether the value itself has the setting's type, regardless of its content."""
        if self.choices:
            return isinstance(value, str) and value in self.choices
        if self.kind in _PYTHON:
            return isinstance(value, _PYTHON[self.kind])
        if isinstance(value, bool):
            return False
        if isinstance(value, float):
            return self.kind == "number" and not math.isnan(value)
        return isinstance(value, int)  # of any size: OneTrainer, too, counts without a bound

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of its values."""
        described: dict[str, Any] = {"type": [self.kind, "null"] if self.nullable else self.kind}
        if self.choices:
            described["enum"] = [*self.choices, None] if self.nullable else [*self.choices]
        if self.items is not None:
            described["items" if self.kind == "array" else "additionalProperties"] = self.items.schema()
        if self.inside:
            described["properties"] = {name: each.schema() if each else {} for name, each in self.inside.items()}
            described["additionalProperties"] = False
        return described


@dataclass(frozen=True)
class Newer:
    """How the configuration of a checkout differs from ours; empty without a selected checkout.

    ``source`` names the checkout in sentences, ``key`` changes with any of these values. ``lacking`` are the paths that it
    doesn't have, ``names`` its additional values (path -> names), ``methods`` the training methods of each model type that has
    more there than here, ``samples`` the values of its new sample prompts for each model type.
    """

    source: str = ""
    key: str = ""
    settings: Mapping[str, NewerSetting] = field(default_factory=dict)
    lacking: frozenset[str] = frozenset()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def setting(self, path: str) -> NewerSetting | None:
        """Return the additional setting at a path."""
        return self.settings.get(pattern(path))

    def around(self, path: str) -> str:
        """Return the path of the additional setting whose list or object contains a path; empty if there is none."""
        parts = path.split(".")
        every = (".".join(parts[:end]) for end in range(1, len(parts)))
        return next((each for each in every if (held := self.setting(each)) is not None and held.kind in AS_JSON), "")

    def knows(self, path: str, value: str) -> bool:
        """Return whether the checkout has a name at a path."""
        return value in self.names.get(pattern(path), ())


NOTHING_NEWER = Newer()


def _short(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def _no_json(path: str, text: str) -> str:
    """Return why and where a text isn't valid JSON, or that it doesn't match the setting."""
    if not text.strip():
        return f"{path} is empty"
    try:
        json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return f"{path} isn't valid JSON: {error.msg} in line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError) as error:
        return f"{path} isn't valid JSON: {error}"
    return f"{path} is {_short(text)}"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} isn't a JSON number")


def newer_names(config: TrainConfig) -> Iterator[Leaf]:
    """Return the unknown values of a configuration: names of a newer OneTrainer, or mistakes."""
    return (leaf for leaf in leaves(config, is_name) if isinstance(leaf.value, Name) and not leaf.value.known)


def unknown_name(leaf: Leaf) -> Finding:
    """Return the finding about an unknown name."""
    known = ", ".join(member.value for member in without_none(leaf.annotation))
    expected, title = f"one of {known}", title_of(leaf.path)
    return Finding(
        "error",
        leaf.path,
        f"{title} {leaf.value.value} isn't supported",
        leaf.value.value,
        expected,
        f"Set {title} to {names_of(without_none(leaf.annotation))}.",
    )


def with_known_names(config: TrainConfig) -> TrainConfig:
    """Return the configuration with the default in place of every unknown name, except for the model type.

    Used for checks that look up names in tables, not for training.
    """
    for leaf in list(newer_names(config)):
        if leaf.path != MODEL_TYPE and not any(is_whole(part) for part in leaf.path.split(".")):
            config = _with(config, leaf.path.split("."), CATALOGUE[leaf.path].default)
    return config


def _with(at: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    return at.model_copy(update={name: _with(getattr(at, name), rest, value) if rest else value})


def follow(schema: dict[str, Any], newer: Newer) -> dict[str, Any]:
    """Return the schema of the form for a checkout: with its additional settings and names, and lacking settings marked."""
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
    """Return the schema of the setting at a path; with ``make``, missing parent objects are created."""
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
        **setting.schema(),
        "default": setting.default,
        "x-group": _group(schema, setting.path),
        "x-level": "expert",
        "x-newer": True,
    }
    if setting.kind in AS_JSON:
        default = "empty" if setting.default is None else json.dumps(setting.default, ensure_ascii=False)
        described["description"] += f" Written as JSON: {setting.expected()}. Default: {default}."
        described["x-kind"] = "json"
    at.setdefault("properties", {})[name] = described


def _group(schema: dict[str, Any], path: str) -> str:
    of = path.rpartition("[]")[0].replace("[]", "")
    return next((str(group["key"]) for group in schema["x-groups"] if of and group.get("x-of") == of), GROUP)


def _name_types(schema: dict[str, Any], newer: Newer) -> None:
    """Add model types, and methods of known types, to every table that depends on them."""
    types = newer.names.get(MODEL_TYPE, ())
    place = _place(schema, MODEL_TYPE)
    if place is not None and types:
        place["enum"] = [*place["enum"], *types]
    methods = {**dict.fromkeys(types, ()), **newer.methods}
    for described in _settings(schema):
        shown = described.get("x-shown", {})
        if MODEL_TYPE in shown:
            shown[MODEL_TYPE] = [*shown[MODEL_TYPE], *types]  # OneTrainer ignores what such a type does not have
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

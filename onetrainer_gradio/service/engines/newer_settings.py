"""Describe the settings that only a checkout has, from the types that its own Python reports."""

from __future__ import annotations

import re
from collections.abc import Mapping

from onetrainer_gradio.backends.onetrainer.facts import CheckoutFacts, FieldFacts, compare_fields
from onetrainer_gradio.config.files.newer import Kind, NewerSetting

_KINDS: Mapping[str, Kind] = {"bool": "boolean", "int": "integer", "float": "number", "str": "string"}
_LISTS = frozenset({"list", "tuple", "set"})
_UNIONS = frozenset({"Union", "UnionType", "Optional"})
_NOTHING = "NoneType"
_WITH_ARGUMENTS = re.compile(r"(\w+)\[(.*)\]$", re.DOTALL)


def newer_settings(facts: CheckoutFacts) -> dict[str, NewerSetting]:
    """Return each additional setting by its path. Settings in the elements of an additional list belong to the list."""
    every = compare_fields(facts).newer
    found = (_setting(path, item, every, facts.enums) for path, item in newer_fields(every).items())
    return {setting.path: setting for setting in found if setting is not None}


def newer_fields(newer: Mapping[str, FieldFacts]) -> dict[str, FieldFacts]:
    """Return the additional fields of a checkout without those within the elements of additional lists."""
    lists = tuple(f"{path}[]." for path in newer)
    return {path: item for path, item in newer.items() if not path.startswith(lists)}


def _setting(
    path: str, item: FieldFacts, fields: Mapping[str, FieldFacts], enums: Mapping[str, tuple[str, ...]]
) -> NewerSetting | None:
    made = _typed(path, item.type, fields, enums)
    if made is None:
        kind = _by_default(item)
        made = NewerSetting(path, kind) if kind else None
    if made is None:
        return None
    return NewerSetting(path, made.kind, item.default, item.nullable or made.nullable, made.choices, made.items, made.inside)


def _typed(
    path: str, type_name: str, fields: Mapping[str, FieldFacts], enums: Mapping[str, tuple[str, ...]]
) -> NewerSetting | None:
    """Return the setting for a type as the checkout writes it (``list[str]``), without its default, None if generic."""
    if type_name in enums:
        return NewerSetting(path, "string", choices=enums[type_name])
    if type_name in _KINDS:
        return NewerSetting(path, _KINDS[type_name])
    matched = _WITH_ARGUMENTS.match(type_name)
    name, arguments = (matched[1], _arguments(matched[2])) if matched else (type_name, [])
    if name in _UNIONS:
        others = [each for each in arguments if each != _NOTHING]
        one = _typed(path, others[0], fields, enums) if len(others) == 1 else None
        nullable = len(others) < len(arguments)
        return one and NewerSetting(path, one.kind, None, nullable, one.choices, one.items, one.inside)
    if name in _LISTS:
        same = set(arguments) - {"...", "Ellipsis"}
        items = _typed(f"{path}[]", same.pop(), fields, enums) if len(same) == 1 else None
        return NewerSetting(path, "array", items=items)
    if name == "dict":
        return NewerSetting(
            path, "object", items=_typed(f"{path}[]", arguments[1], fields, enums) if len(arguments) == 2 else None
        )
    inside = _inside(f"{path}.", fields, enums)
    return NewerSetting(path, "object", inside=inside) if inside or name.endswith("Config") else None


def _inside(
    prefix: str, fields: Mapping[str, FieldFacts], enums: Mapping[str, tuple[str, ...]]
) -> dict[str, NewerSetting | None]:
    """Return the settings whose path begins with a prefix, by name, including nested ones. None: its type is generic."""
    found: dict[str, NewerSetting | None] = {}
    for path, item in fields.items():
        name, _, rest = path.removeprefix(prefix).partition(".")
        if not path.startswith(prefix) or name.endswith("[]") or name in found:
            continue
        if rest:
            found[name] = NewerSetting(f"{prefix}{name}", "object", inside=_inside(f"{prefix}{name}.", fields, enums))
        else:
            found[name] = _setting(path, item, fields, enums)
    return found


def _by_default(item: FieldFacts) -> Kind | None:
    """Return the kind of a setting with a generic type: that of its default, if only JSON can represent it."""
    if isinstance(item.default, list):
        return "array"
    return "object" if isinstance(item.default, dict) else None


def _arguments(text: str) -> list[str]:
    """Split ``str, dict[str, int]`` at its outer commas."""
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]

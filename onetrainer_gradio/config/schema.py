"""The JSON schema of the settings that the form offers, derived from their declarations.

JSON Schema 2020-12 with additions that a validator passes over:

``x-group``, ``x-level`` (basic, advanced, expert), ``x-kind`` (text, path, list), ``x-path`` (folder, file, model, output),
``x-unit``, ``x-unit-of`` (path of the setting that holds the unit), ``x-shown`` (path -> values under which the setting applies;
all must hold; inside a list the path is relative to the element), ``x-groups`` at the root.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

from pydantic.fields import FieldInfo

from onetrainer_gradio.config.groups import GROUPS
from onetrainer_gradio.config.part import TrainModelPartConfig
from onetrainer_gradio.config.setting import Setting, Settings, declared
from onetrainer_gradio.config.train import TrainConfig
from onetrainer_gradio.config.walk import element_class, fields_of, is_nullable, settings_class, without_none

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TYPES: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def form_schema() -> dict[str, Any]:
    """The schema of the offered settings, with the groups in order under ``x-groups``."""
    return {
        "$schema": DIALECT,
        "title": "TrainConfig",
        **_object(TrainConfig, TrainConfig(), Setting(), ""),
        "x-groups": [{"key": group.key, "title": group.title, "about": group.about} for group in GROUPS],
    }


def _object(kind: type[Settings], default: Settings, parent: Setting, prefix: str) -> dict[str, Any]:
    properties = {}
    for name, field in fields_of(kind).items():
        setting = declared(field)
        if not setting.label or (parent.fields and name not in parent.fields):
            continue
        properties[name] = _property(kind, name, field, getattr(default, name), parent, prefix)
    return {"type": "object", "properties": properties, "additionalProperties": True}


def _property(kind: type[Settings], name: str, field: FieldInfo, default: Any, parent: Setting, prefix: str) -> dict[str, Any]:
    setting = declared(field)
    path = f"{prefix}{name}"
    described: dict[str, Any] = {"title": setting.label, "description": setting.help}
    if nested := settings_class(field.annotation):
        return {**described, **_object(nested, default, setting, f"{path}."), "x-group": setting.group}
    if element := element_class(field.annotation):
        items = _object(element, element(), Setting(), "")
        return {**described, "type": ["array", "null"], "items": items, "x-group": setting.group, "x-kind": "list"}
    group = parent.group if setting.group == "part" else setting.group
    # a part that shares its group with other settings has to say whose setting this is
    owner = issubclass(kind, TrainModelPartConfig) and not prefix.startswith(f"{group}.")
    described["title"] = f"{parent.label}: {setting.label.lower()}" if owner else setting.label
    described.update(_value(field, setting))
    described["default"] = _json(default)
    described.update({"x-group": group, "x-level": setting.level})
    optional = {"x-kind": setting.kind, "x-path": setting.path, "x-unit": setting.unit}
    described.update({key: value for key, value in optional.items() if value})
    if setting.unit_of:
        described["x-unit-of"] = f"{prefix}{setting.unit_of}"
    if setting.shown:
        described["x-shown"] = {path: [_json(value) for value in values] for path, values in setting.shown.items()}
    return described


def _value(field: FieldInfo, setting: Setting) -> dict[str, Any]:
    bare = without_none(field.annotation)
    choices = list(setting.choices)
    if isinstance(bare, type) and issubclass(bare, Enum):
        kind, choices = "string", choices or [member.value for member in bare]
    else:
        kind = _TYPES.get(bare, "string")
    nullable = is_nullable(field.annotation)
    described: dict[str, Any] = {"type": [kind, "null"] if nullable else kind}
    if choices:
        described["enum"] = [*choices, None] if nullable else choices
    described.update({word: getattr(setting, name) for name, word in _BOUNDS.items() if getattr(setting, name) is not None})
    return described


def _json(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    return value

"""Create the JSON schema of the settings form from the catalog.

It is JSON Schema 2020-12. The properties have the order of the form. A validator ignores the additions for the form. For a
setting:

``x-group``
    key of the group in ``x-groups``. ``x-level``: basic, advanced or expert.
``x-kind``
    ``text`` (multiple lines), ``path``, ``list`` (objects, see ``items``), ``secret`` (never read back: the service keeps it),
    ``map`` (an object of ``x-keys``), ``pairs`` (a list of ``{"key", "value"}`` texts), ``layer_preset`` (selecting one sets
    ``x-writes``, too), ``json`` (a list or object as text; only with a selected checkout).
``x-path``
    the kind of path: folder, file, model (folder, file or Hugging Face repository), output.
``x-unit``, ``x-unit-of``
    the unit, or the path of the setting that contains it.
``x-shown``
    path -> values under which the setting applies; all must hold. At the root, paths are full. Inside the items of a list they
    start at the element; with a leading slash, at the root. ``x-shown-words``: path -> text that completes "only for ...".
``x-enum-labels``
    value -> label, for each value with a label.
``x-choices-by``
    ``{"by": [paths], "choices": {...}}``: choices that depend on other settings, one level of the table for each path.
    If present, it restricts ``enum``.
``x-writes``
    for a layer filter preset: name in ``x-layer-presets`` -> path of the setting that it sets.
``x-keys``
    key -> schema of the values of a map.
``x-fresh``
    a new element omits it, and the server generates a value.
``x-new-by``
    for a list: ``{"by": path, "values": {...}}``: values of a new element that differ from its defaults, by another setting.

At the root:

``x-tabs``
    ``[{"key", "title"}]`` in order.
``x-groups``
    ``[{"key", "title", "about", "x-tab", "x-of"}]`` in order; ``x-of`` is the list whose elements have the group.
``x-layer-presets``
    model type -> preset -> the values that it sets.
``x-optimizers``
    optimizer -> ``{"adaptive", "schedule_free", "fused_back_pass", "defaults", "auxiliary"}``: the defaults of its
    parameters, and of the auxiliary Adam.
``x-not-offered``
    path -> why it has no control.

With a selected OneTrainer checkout (``newer.follow``), settings that only the checkout has are marked ``x-newer``, and those that
it lacks ``x-lacking``. The root has ``x-follows``: ``{"key", "title"}`` of the checkout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from onetrainer_gradio.config.declarations.catalog import CATALOGUE, Entry, children, reason
from onetrainer_gradio.config.declarations.groups import GROUPS, TABS
from onetrainer_gradio.config.declarations.visibility import MODEL_TYPE, Only
from onetrainer_gradio.config.declarations.walk import is_nullable, without_none
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.optimizers import AUXILIARY_PARAMETERS, OPTIMIZERS

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TYPES: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def form_schema() -> dict[str, Any]:
    """Return the schema of the offered settings, with tabs, groups and other data for the form."""
    return {
        "$schema": DIALECT,
        "title": "TrainConfig",
        "type": "object",
        "properties": _properties(""),
        "additionalProperties": True,
        "x-tabs": [{"key": tab.key, "title": tab.title} for tab in TABS],
        "x-groups": [_group(group) for group in GROUPS],
        "x-layer-presets": _layer_presets(),
        "x-optimizers": _optimizers(),
        "x-not-offered": {path: reason(path) for path, entry in CATALOGUE.items() if not entry.offered and not entry.nested},
    }


def _group(group: Any) -> dict[str, str]:
    described = {"key": group.key, "title": group.title, "about": group.about, "x-tab": group.tab}
    return described | ({"x-of": group.of} if group.of else {})


def _optimizers() -> dict[str, Any]:
    return {
        name.value: {
            "adaptive": facts.adaptive,
            "schedule_free": facts.schedule_free,
            "fused_back_pass": facts.fused_back_pass,
            "defaults": {key: plain(value) for key, value in facts.defaults.items()},
            **({"auxiliary": AUXILIARY_PARAMETERS[name]} if name in AUXILIARY_PARAMETERS else {}),
        }
        for name, facts in OPTIMIZERS.items()
    }


def _properties(prefix: str) -> dict[str, Any]:
    """Return the offered settings directly below ``prefix`` (which ends with a dot), in the order of the form."""
    return {entry.name: _property(entry) for entry in children(prefix) if entry.offered}


def _property(entry: Entry) -> dict[str, Any]:
    setting = entry.setting
    described: dict[str, Any] = {"title": entry.title, "description": setting.help}
    if entry.nested:
        described |= {"type": "object", "properties": _properties(f"{entry.path}."), "additionalProperties": True}
    elif setting.kind == "list":
        items = {"type": "object", "properties": _properties(f"{entry.path}[]."), "additionalProperties": True}
        described |= {"type": _nullable(entry, "array"), "items": items}
    elif setting.kind == "pairs":
        pair = {"type": "object", "properties": {"key": {"type": "string"}, "value": {"type": "string"}}}
        described |= {"type": _nullable(entry, "array"), "items": pair}
    elif setting.kind == "map":
        described |= {"type": _nullable(entry, "object"), "x-keys": _keys(entry)}
    else:
        described |= _value(entry)
    if not entry.nested and not setting.fresh:
        described["default"] = plain(entry.default)
    return described | _additions(entry)


def _nullable(entry: Entry, kind: str) -> Any:
    return [kind, "null"] if is_nullable(entry.annotation) else kind


def _value(entry: Entry) -> dict[str, Any]:
    setting, bare = entry.setting, without_none(entry.annotation)
    kinds = [_TYPES.get(bare, "string")]
    if setting.infinite:
        kinds.append("string")
    nullable = is_nullable(entry.annotation)
    if nullable:
        kinds.append("null")
    described: dict[str, Any] = {"type": kinds if len(kinds) > 1 else kinds[0]}
    if values := entry.choices:
        described["enum"] = [*values, None] if nullable else [*values]
        labels = {value: words for value in values if (words := entry.choice_label(value)) != value}
        if labels:
            described["x-enum-labels"] = labels
    described |= {word: getattr(setting, name) for name, word in _BOUNDS.items() if getattr(setting, name) is not None}
    if setting.infinite:
        described["pattern"] = "^inf$"
    elif setting.pattern:
        described["pattern"] = setting.pattern
    if setting.required:
        described["minLength"] = 1
    if setting.kind == "secret":
        described["writeOnly"] = True
    return described


def _keys(entry: Entry) -> dict[str, Any]:
    """Return the schema of the values of a map: each key is declared as the field of this name next to it."""
    described = {}
    for name in entry.setting.keys:
        neighbour = CATALOGUE[f"{entry.owner}.{name}"]
        taking = tuple(optimizer for optimizer, usual in AUXILIARY_PARAMETERS.items() if name in usual)
        described[name] = {
            "title": neighbour.setting.label,
            "description": neighbour.setting.help,
            **_value(neighbour),
            "x-shown": {"optimizer.optimizer": plain(taking)},
        }
    return described


def _additions(entry: Entry) -> dict[str, Any]:
    setting = entry.setting
    added: dict[str, Any] = {} if entry.nested else {"x-group": setting.group, "x-level": setting.level}
    if not entry.nested:
        optional = {"x-kind": setting.kind, "x-path": setting.path, "x-unit": setting.unit, "x-fresh": setting.fresh}
        added |= {key: value for key, value in optional.items() if value}
    if setting.unit_of:
        added["x-unit-of"] = setting.unit_of
    if setting.choices_by:
        added["x-choices-by"] = {"by": list(setting.choices_by.by), "choices": plain(setting.choices_by.choices)}
    if setting.new_by_type:
        added["x-new-by"] = {"by": MODEL_TYPE, "values": plain(setting.new_by_type)}
    if setting.kind == "layer_preset":
        prefix = entry.path.removesuffix("layer_filter_preset")
        added["x-writes"] = {name: f"{prefix}{name}" for name in ("layer_filter", "layer_filter_regex")}
    if not entry.nested:
        added |= _shown(entry.conditions)
    return added


def _shown(conditions: Mapping[str, Only]) -> dict[str, Any]:
    narrow = {path: only for path, only in conditions.items() if path != MODEL_TYPE or len(only.values) < len(MODELS)}
    if not narrow:
        return {}
    words = {path: only.words for path, only in narrow.items() if only.words}
    shown = {"x-shown": {path: plain(only.values) for path, only in narrow.items()}}
    return shown | ({"x-shown-words": words} if words else {})


def _layer_presets() -> dict[str, Any]:
    return {
        name.value: {
            preset: {"layer_filter": ",".join(choice.patterns), "layer_filter_regex": choice.regex}
            for preset, choice in facts.layer_presets.items()
        }
        for name, facts in MODELS.items()
    }


def plain(value: Any) -> Any:
    """Return a value as a JSON value."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value

"""Open a preset over the current settings: it changes only the settings that it contains.

OneTrainer applies a preset to its defaults and never changes the lists of concepts and samples. The same happens here, and
the user's edits of other settings stay. A setting that an earlier preset changed and no one edited returns to its default, so
that two presets don't mix.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.declarations.setting import Settings
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.walk import shapes_of
from onetrainer_gradio.config.files.documents import (
    LISTS_OF_A_PACK,
    VERSION_KEY,
    from_document,
    in_present_version,
    read_over,
    to_document,
)
from onetrainer_gradio.config.files.resolve import LIST_FILES

# A preset with neither is partial and doesn't set the rest.
_OF_A_WHOLE = ("model_type", "training_method")

# An optimizer's parameters mean something for that optimizer only.
_OPTIMIZER = ("optimizer",)

# Never changed by opening: what was last used for each optimizer, and the identity of an embedding.
_REMEMBERED = ("optimizer_defaults", "embedding.uuid")

Document = dict[str, Any]
Place = tuple[str, ...]


class Opened(NamedTuple):
    """Settings after opening a preset, the reference for later edits, and the lists that came from a preset."""

    config: TrainConfig
    origin: TrainConfig
    lists: tuple[str, ...]


def apply_overlay(
    preset: Mapping[str, Any], current: TrainConfig, origin: Mapping[str, Any], *, own: bool, lists: Collection[str] = ()
) -> Opened:
    """Open a preset over the current settings.

    ``origin`` is the document that ``current`` came from (empty: unknown). With ``own``, it is the user's file and not a preset,
    so all of it stays unless the preset sets it. ``lists`` are those of its lists that came from a preset.

    :raises ConfigInvalidError: when the preset has values of a wrong type.
    """
    named, _ = in_present_version(dict(preset))
    whole = any(name in named for name in _OF_A_WHOLE)
    defaults = TrainConfig()
    base = from_document(dict(origin))[0] if origin and not whole else defaults
    fresh = to_document(read_over(base, dict(preset))[0], packed=True)
    before = dict(origin) if origin and not (own and whole) else to_document(defaults, packed=True)
    now = to_document(current, packed=True)
    others = {name for name in lists if now[name] == origin.get(name)}
    brought = tuple(name for name in LISTS_OF_A_PACK if named.get(name) and (not now[name] or name in others))
    opened = _with_lists(fresh, now, brought)
    set_by_preset = {_group(place) for place, _ in _values(TrainConfig, named)}
    values, old = dict(_values(TrainConfig, now)), dict(_values(TrainConfig, before))
    edited = {_group(place) for place, value in values.items() if value != old.get(place)} - set_by_preset
    kept = {place: value for place, value in values.items() if _group(place) in edited and place not in _ALWAYS}
    return Opened(from_document(_put(opened, kept))[0], from_document(opened)[0], tuple(sorted({*brought, *others})))


def _with_lists(fresh: Document, now: Document, brought: Collection[str]) -> Document:
    """Keep the user's concepts and samples. Use a preset's if there are none, or only those of an earlier preset."""
    opened = dict(fresh)
    for name in LISTS_OF_A_PACK:
        if name not in brought:
            opened[name] = now[name]
            opened[LIST_FILES[name]] = now[LIST_FILES[name]]
    opened["optimizer_defaults"] = {**now["optimizer_defaults"], **fresh["optimizer_defaults"]}
    opened["embedding"] = {**fresh["embedding"], "uuid": now["embedding"]["uuid"]}
    return opened


_ALWAYS = frozenset(
    {
        *((name,) for name in LISTS_OF_A_PACK),
        *((name,) for name in LIST_FILES.values()),
        *(tuple(path.split(".")) for path in _REMEMBERED),
    }
)


def _values(kind: type[Settings], document: Mapping[str, Any], within: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield each value of a document with its place; lists and the optimizer are one value each."""
    shapes = shapes_of(kind)
    for key, value in document.items():
        if key == VERSION_KEY:
            continue
        place, shape = (*within, key), shapes.get(key)
        if shape and shape.nested and isinstance(value, Mapping) and place != _OPTIMIZER:
            yield from _values(shape.nested, value, place)
        else:
            yield place, value


def _group(place: Place) -> str:
    """Return the group of settings that belong together: a number and its unit, a layer filter preset and its patterns."""
    path = ".".join(place)
    return _GROUPS.get(path, path)


def _groups() -> dict[str, str]:
    found: dict[str, str] = {}
    for path, entry in CATALOGUE.items():
        if entry.setting.unit_of:
            found[entry.setting.unit_of] = path
        if entry.setting.kind == "layer_preset":
            owner = path.removesuffix("layer_filter_preset")
            found |= {f"{owner}{name}": path for name in ("layer_filter", "layer_filter_regex")}
    return found


_GROUPS = _groups()


def _put(document: Document, values: Mapping[Place, Any]) -> Document:
    """Return the document with values at their places, without changing the given one."""
    changed = dict(document)
    for (*parents, last), value in values.items():
        at = changed
        for part in parents:
            at[part] = dict(at[part])
            at = at[part]
        at[last] = value
    return changed

"""Walk the tree of settings. This is the only module that handles the nesting of objects and lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from onetrainer_gradio.config.declarations.setting import Setting, Settings, declared

_S = TypeVar("_S", bound=Settings)


class Leaf(NamedTuple):
    """A value of a configuration with its dotted path, declaration and annotation."""

    path: str
    value: Any
    setting: Setting
    annotation: Any


# Validations, patches and comparisons need the annotations of a few hundred fields repeatedly, so they are cached.


@cache
def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation


@cache
def _element_class(annotation: Any) -> type[Settings] | None:
    bare = without_none(annotation)
    return settings_class(get_args(bare)[0]) if get_origin(bare) is tuple else None


def without_none(annotation: Any) -> Any:
    """Return the annotation of a nullable field without its None."""
    return _without_none(annotation)


def is_nullable(annotation: Any) -> bool:
    """Return whether the annotation allows None."""
    return get_origin(annotation) in (Union, UnionType) and type(None) in get_args(annotation)


def settings_class(annotation: Any) -> type[Settings] | None:
    """Return the class of a nested object, or None for a plain value."""
    bare = without_none(annotation)
    return bare if isinstance(bare, type) and issubclass(bare, Settings) else None


def element_class(annotation: Any) -> type[Settings] | None:
    """Return the class of the elements of a list of objects, or None for anything else."""
    return _element_class(annotation)


def fields_of(kind: type[Settings]) -> dict[str, FieldInfo]:
    """Return the declared fields of a class in order."""
    return kind.model_fields


class Shape(NamedTuple):
    """Type of a declared field, with the classes of its ``nested`` object, list ``element`` or mapping ``values``."""

    annotation: Any
    setting: Setting
    nested: type[Settings] | None
    element: type[Settings] | None
    values: type[Settings] | None


@cache
def shapes_of(kind: type[Settings]) -> Mapping[str, Shape]:
    """Return the declared fields of a class in order. Cached, because reading a document needs each of them many times."""
    return {
        name: Shape(
            field.annotation,
            declared(field),
            settings_class(field.annotation),
            element_class(field.annotation),
            _value_class(field.annotation),
        )
        for name, field in fields_of(kind).items()
    }


def _value_class(annotation: Any) -> type[Settings] | None:
    bare = without_none(annotation)
    return settings_class(get_args(bare)[1]) if get_origin(bare) is dict else None


Wanted = Callable[[Setting, Any], bool]
"""Selects leaves by declaration and annotation. Must be a module-level function, because its results are cached per class."""


def is_name(setting: Setting, annotation: Any) -> bool:
    """Select settings that hold one of a list of names."""
    bare = without_none(annotation)
    return not isinstance(bare, type) or issubclass(bare, Enum)


def is_path(setting: Setting, annotation: Any) -> bool:
    """Select settings that hold a path."""
    return bool(setting.path)


def _is_any(setting: Setting, annotation: Any) -> bool:
    return True


def leaves(config: Settings, wanted: Wanted = _is_any) -> Iterator[Leaf]:
    """Yield every value below ``config`` that is ``wanted``.

    Objects of long lists are visited only if their class has a field that is wanted.
    """
    found: list[Leaf] = []
    _collect(config, "", wanted, found)
    return iter(found)


def _collect(config: Settings, prefix: str, wanted: Wanted, found: list[Leaf]) -> None:
    for name, shape in _chosen(type(config), wanted):
        value = getattr(config, name)
        if shape.nested and value is not None:
            _collect(value, f"{prefix}{name}.", wanted, found)
        elif shape.element and value is not None:
            for index, element in enumerate(value):
                _collect(element, f"{prefix}{name}.{index}.", wanted, found)
        elif wanted(shape.setting, shape.annotation):
            found.append(Leaf(f"{prefix}{name}", value, shape.setting, shape.annotation))


def replaced(config: _S, changes: Mapping[str, Any]) -> _S:
    """Return a copy with new values at dotted paths; a number in a path is a position in a list. Nothing is validated."""
    update, inner = _by_head(changes)
    for name, values in inner.items():
        old = getattr(config, name)
        if isinstance(old, Settings):
            update[name] = replaced(old, values)
        else:
            _, elements = _by_head(values)
            update[name] = tuple(
                replaced(element, elements[str(index)]) if str(index) in elements else element
                for index, element in enumerate(old)
            )
    return config.model_copy(update=update)


def _by_head(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Changes of an object's own values, and those of the objects in it."""
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        head, dot, rest = path.partition(".")
        if dot:
            inner.setdefault(head, {})[rest] = value
        else:
            own[head] = value
    return own, inner


@cache
def _chosen(kind: type[Settings], wanted: Wanted) -> tuple[tuple[str, Shape], ...]:
    """Return the fields of a class that are wanted, or contain one that is."""
    return tuple(
        (name, shape)
        for name, shape in shapes_of(kind).items()
        if wanted(shape.setting, shape.annotation)
        or any(inside is not None and _chosen(inside, wanted) for inside in (shape.nested, shape.element))
    )

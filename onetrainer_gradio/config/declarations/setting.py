"""Declare a setting once, with everything that the form, the REST schema, the validation and the docs need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from onetrainer_gradio.config.declarations.visibility import ChoicesBy, Only, OwnerRule

Level = Literal["basic", "advanced", "expert"]
Kind = Literal["", "text", "path", "list", "object", "secret", "map", "pairs", "layer_preset"]
PathKind = Literal["", "folder", "file", "model", "output"]

# The group of a component's settings that are shown with the component itself.
OWN_GROUP = "part"


@dataclass(frozen=True)
class Setting:
    """The declaration of a setting, in addition to its name, type and default.

    ``shown``
        path of another setting -> the values for which this setting applies. All must be true. A path that begins with a dot is
        in the same object. In the elements of a list, paths are relative to the element, or begin at the root with a slash.
        Instead of values, there can be a rule that depends on the object of the setting (see ``visibility``).
    ``choices``
        values to choose from if the type doesn't define them, or a function of object and name that returns them.
    ``choices_by``
        choices that depend on other settings.
    ``labels``
        labels of choices that are plain text.
    ``unit``, ``unit_of``
        the unit, or the path of the setting that holds it.
    ``pattern``
        regular expression that the form checks while the user types.
    ``named``
        the label follows that of its object: "UNet: weight data type".
    ``fresh``
        each new object gets a random value.
    ``new_by_type``
        of a list: model type -> values of a new element that differ from the defaults.
    ``infinite``
        ``inf`` is a value, too.
    ``keys``
        of a ``map``: its keys. Each is declared as the setting of that name in the same object.
    ``file_name``
        the value becomes part of a file name, so it must not contain a path (see ``file_names``).
    ``levels``
        of an object: its settings that have another level here.

    A setting without a label is kept in files but has no control. ``catalog.NOT_OFFERED`` lists the reasons.
    """

    label: str = ""
    help: str = ""
    group: str = ""
    level: Level = "basic"
    unit: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[str, ...] | Callable[[str, str], tuple[str, ...]] = ()
    choices_by: ChoicesBy | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = ""
    path: PathKind = ""
    pattern: str = ""
    required: bool = False
    unit_of: str = ""
    shown: Mapping[str, tuple[Any, ...] | Only | OwnerRule] = field(default_factory=dict)
    named: bool = False
    fresh: bool = False
    new_by_type: Mapping[Any, Mapping[str, Any]] = field(default_factory=dict)
    infinite: bool = False
    keys: tuple[str, ...] = ()
    file_name: bool = False
    levels: Mapping[str, Level] = field(default_factory=dict)


# What the form checks of a text that becomes part of a file name. ``file_names`` has the complete rule.
FILE_NAME_PATTERN = r"^([^./\\:\u0000-\u001f][^/\\:\u0000-\u001f]*)?$"

_UNDECLARED = Setting()


def setting(
    default: Any = ...,
    *,
    factory: Callable[[], Any] | None = None,
    **declared: Any,
) -> Any:
    """Return a field of a configuration with its default (or ``factory``) and the attributes of ``Setting``."""
    extra = {"setting": Setting(**declared)}
    if factory is not None:
        return Field(default_factory=factory, json_schema_extra=extra)  # type: ignore[arg-type]
    return Field(default=default, json_schema_extra=extra)  # type: ignore[arg-type]


def declared(field: FieldInfo) -> Setting:
    """Return the declaration of a field."""
    extra = field.json_schema_extra
    found = extra.get("setting") if isinstance(extra, dict) else None
    return found if isinstance(found, Setting) else _UNDECLARED


class Settings(BaseModel):
    """Base of all configuration objects. They are frozen and keep unknown keys."""

    model_config = ConfigDict(frozen=True, extra="allow", coerce_numbers_to_str=True, protected_namespaces=())

    config_version: ClassVar[int] = 0

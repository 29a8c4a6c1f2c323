"""How a setting is declared: one line that carries everything that form, REST schema, validation and docs derive."""

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

# The group of a part's setting that is shown with the part itself.
OWN_GROUP = "part"


@dataclass(frozen=True)
class Setting:
    """What a setting says about itself beside its name, type and default.

    ``shown``
        path of another setting -> the values under which this one applies; all must hold. A path that begins with a dot is a
        neighbour in the same object. Inside the elements of a list, paths begin at the element, and at the root with a slash.
        Instead of values there can be a rule that looks at the object the setting stands in (see ``visibility``).
    ``choices``
        values to choose from where the type alone does not say them, or a function of object and name that gives them.
    ``choices_by``
        choices that depend on other settings.
    ``labels``
        words for choices that are plain texts.
    ``unit``, ``unit_of``
        the unit, or the neighbour that holds it.
    ``pattern``
        regular expression that the form holds a text against while it is typed.
    ``named``
        the label follows that of the object it stands in: "UNet: weight precision".
    ``fresh``
        each new object draws a value of its own.
    ``new_by_type``
        of a list: model type -> what a new element has other than its defaults.
    ``infinite``
        the word ``inf`` is a value too.
    ``keys``
        of a ``map``: the keys that it can hold; each is declared as the neighbour of that name.
    ``file_name``
        the value becomes part of the name of a file, so it must not hold a path; see ``names``.
    ``levels``
        of an object: names of its settings that have another level here.

    A setting without a label is kept and passed on, but not offered; ``catalogue.NOT_OFFERED`` says why.
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


# What the form holds a text against that becomes part of a file's name; ``names`` has the whole rule.
FILE_NAME_PATTERN = r"^([^./\\:\u0000-\u001f][^/\\:\u0000-\u001f]*)?$"

_UNDECLARED = Setting()


def setting(
    default: Any = ...,
    *,
    factory: Callable[[], Any] | None = None,
    **declared: Any,
) -> Any:
    """A field of a configuration: its default (or ``factory``) and the attributes of ``Setting``."""
    extra = {"setting": Setting(**declared)}
    if factory is not None:
        return Field(default_factory=factory, json_schema_extra=extra)  # type: ignore[arg-type]
    return Field(default=default, json_schema_extra=extra)  # type: ignore[arg-type]


def declared(field: FieldInfo) -> Setting:
    """The declaration of a field."""
    extra = field.json_schema_extra
    found = extra.get("setting") if isinstance(extra, dict) else None
    return found if isinstance(found, Setting) else _UNDECLARED


class Settings(BaseModel):
    """Base of all configuration objects: frozen, and faithful to keys that this version does not know."""

    model_config = ConfigDict(frozen=True, extra="allow", coerce_numbers_to_str=True, protected_namespaces=())

    config_version: ClassVar[int] = 0

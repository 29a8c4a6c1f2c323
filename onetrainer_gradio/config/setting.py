"""How a setting is declared: one line that carries everything that form, REST schema, validation and docs derive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Level = Literal["basic", "advanced", "expert"]
Kind = Literal["", "text", "path", "list", "object"]
PathKind = Literal["", "folder", "file", "model", "output"]


@dataclass(frozen=True)
class Setting:
    """What a setting says about itself beside its name, type and default.

    ``shown`` maps dotted paths of other settings to the values under which this one applies; all must hold. ``fields`` names
    the settings of a nested object that are offered. A setting without a label is kept and passed on, but not offered.
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
    choices: tuple[str, ...] = ()
    kind: Kind = ""
    path: PathKind = ""
    unit_of: str = ""
    fields: tuple[str, ...] = ()
    shown: Mapping[str, tuple[Any, ...]] | None = None


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

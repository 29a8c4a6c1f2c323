"""Read the facts of the checkout: settings, types, defaults, model types and methods."""

from __future__ import annotations

import contextlib
import enum
import math
import platform
from typing import Any, get_args, get_origin

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "mgds", "safetensors", "bitsandbytes")


def library_versions() -> dict[str, str]:
    """Return the versions of the training libraries, without importing them."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def plain(value: Any) -> Any:
    """Return a value of a setting as JSON."""
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if hasattr(value, "to_dict"):
        return {key: plain(item) for key, item in value.to_dict().items() if key != "__version"}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def type_name(kind: Any) -> str:
    """Return the name of a type, such as ``list[ConceptConfig]``."""
    if get_origin(kind) is not None:
        inner = ", ".join(type_name(item) for item in get_args(kind))
        return f"{get_origin(kind).__name__}[{inner}]"
    return getattr(kind, "__name__", str(kind))


def defaults_of(kind: Any) -> Any:
    """Return an object of a configuration class with its defaults, or None if the class has no such constructor."""
    try:
        return kind.default_values()
    except TypeError:  # it needs more arguments, such as the model type
        return None


def walk(config: Any, prefix: str, rows: list[list[Any]], enums: dict[str, list[str]]) -> None:
    """Add a row (path, type, nullable, default) for each setting below ``config``."""
    for name, kind in config.types.items():
        path = prefix + name
        value = getattr(config, name)
        if hasattr(value, "types"):
            walk(value, path + ".", rows, enums)
            continue
        rows.append([path, type_name(kind), bool(config.nullables.get(name)), plain(value)])
        note_enum(kind, enums)
        for inner in get_args(kind):
            note_enum(inner, enums)
            if hasattr(inner, "default_values") and get_origin(kind) is list:
                element = defaults_of(inner)
                if element is not None and hasattr(element, "types"):
                    walk(element, path + "[].", rows, enums)


def note_enum(kind: Any, enums: dict[str, list[str]]) -> None:
    """Record the values of an enum."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        enums[kind.__name__] = [str(item) for item in kind]


def read_facts() -> dict[str, Any]:
    """Return the settings of the checkout in the working directory, without importing its trainer."""
    from modules.util.config.TrainConfig import TrainConfig
    from modules.util.enum.ModelType import ModelType
    from modules.util.enum.TrainingMethod import TrainingMethod

    rows: list[list[Any]] = []
    enums: dict[str, list[str]] = {}
    config = TrainConfig.default_values()
    walk(config, "", rows, enums)
    for kind in (ModelType, TrainingMethod):
        note_enum(kind, enums)
    return {
        "type": "facts",
        "config_version": config.config_version,
        "fields": rows,
        "enums": enums,
        "model_types": [str(item) for item in ModelType],
        "sample_defaults": read_sample_defaults(ModelType),
        "versions": library_versions(),
    }


def read_methods() -> dict[str, list[str]]:
    """Return the methods of each model type, which imports all of OneTrainer."""
    from modules.util import create
    from modules.util.enum.ModelType import ModelType
    from modules.util.enum.TrainingMethod import TrainingMethod

    asked = getattr(create, "get_model_setup_class", None) or create.create_model_loader
    return {
        str(model_type): [str(method) for method in TrainingMethod if asked(model_type, method) is not None]
        for model_type in ModelType
    }


def read_sample_defaults(model_types: Any) -> dict[str, dict[str, Any]]:
    """Return the values of a new sample of each model type that differ between types."""
    from modules.util.config.SampleConfig import SampleConfig

    usual = plain(SampleConfig.default_values())
    try:
        every = {str(model_type): plain(SampleConfig.default_values(model_type)) for model_type in model_types}
    except TypeError:  # older revisions begin with the same values for every model
        return {}
    differ = [name for name in usual if any(each.get(name) != usual[name] for each in every.values())]
    return {model_type: {name: each[name] for name in differ} for model_type, each in every.items()} if differ else {}

"""Read and write configurations as JSON documents with OneTrainer's keys: lenient if nothing is lost, strict otherwise."""

from __future__ import annotations

import itertools
import json
import math
import stat
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.config.declarations.bounds import expectation
from onetrainer_gradio.config.declarations.catalog import CATALOGUE, pattern, title_of
from onetrainer_gradio.config.declarations.setting import Settings
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.declarations.walk import Leaf, is_name, leaves, shapes_of, without_none
from onetrainer_gradio.config.enums import Name
from onetrainer_gradio.config.files.demo_folders import with_moved_demo_folders
from onetrainer_gradio.config.files.migrations import looks_like_version_0, migrate, migrate_concept
from onetrainer_gradio.config.files.retired import without_retired
from onetrainer_gradio.config.suggestions import nearest_name
from onetrainer_gradio.errors import ConfigFileError, ConfigInvalidError, Finding

VERSION_KEY = "__version"

MAX_LEVELS = 60
"""How deep a document may be nested; OneTrainer needs five. Much deeper ones can't be written as JSON again."""

_MAX_UNKNOWN = 100
NOTE_KEY = "note"  # a preset's description
SECRET_KEYS = ("secrets",)
LISTS_OF_A_PACK = ("concepts", "samples")
# A packed configuration with 30,000 concepts has 150 MB.
_MAX_BYTES = 256 << 20

_TOKEN_NOT_KEPT = Finding(
    "warning",
    "secrets.huggingface_token",
    "The file contains a Hugging Face token, which was not imported because settings don't store secrets",
    suggestion="Enter the token on the System tab, or set the environment variable HF_TOKEN.",
)

_A_CONFIGURATION = "Choose a configuration that was saved by the panel or OneTrainer."

# type of a pydantic error -> the expected value as text
_EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}

_Kind = TypeVar("_Kind", bound=Settings)
_Found = TypeVar("_Found")


def from_document(document: dict[str, Any]) -> tuple[TrainConfig, tuple[Finding, ...]]:
    """Return the configuration of a document, with notes.

    A document of an older version is migrated. One without a version is applied to the defaults, as OneTrainer does with its
    presets, unless it has the keys of the first version. Missing keys keep their defaults. Unknown keys and names are kept and
    reported with the nearest known one.

    :raises ConfigInvalidError: with one finding for each value of a wrong type.
    """
    return read_over(TrainConfig(), document)


def read_over(base: TrainConfig, document: dict[str, Any]) -> tuple[TrainConfig, tuple[Finding, ...]]:
    """Like ``from_document``, but missing keys keep their values in ``base``.

    :raises ConfigInvalidError: with one finding for each value of a wrong type.
    """
    _refuse_deep(document)
    document, findings = in_present_version(with_moved_demo_folders(document))
    findings.extend(_few(_unknown_keys(TrainConfig, document, ""), _unknown_key, "keys are no known settings"))
    config = validated(TrainConfig, _overlay(base, document))
    unknown = (leaf for leaf in leaves(config, is_name) if isinstance(leaf.value, Name) and not leaf.value.known)
    findings.extend(_few(unknown, _unknown_name, "names are not known here"))
    if config.secrets.huggingface_token:
        findings.append(_TOKEN_NOT_KEPT)
    return config, tuple(findings)


def nested_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and objects are nested in more than ``levels`` levels; works without recursion."""
    inside: list[Any] = [value]
    for _ in range(levels + 1):
        inside = [
            item
            for each in inside
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, (dict, list, tuple))
        ]
        if not inside:
            return False
    return True


def _refuse_deep(document: dict[str, Any]) -> None:
    for key, value in document.items():
        if isinstance(value, (dict, list, tuple)) and nested_deeper(value, MAX_LEVELS):
            message = f"{_short(key)[1:-1]} is nested in more than {MAX_LEVELS} levels"
            expected = f"lists and objects in at most {MAX_LEVELS} levels"
            raise ConfigInvalidError([Finding("error", str(key), message, None, expected, "Correct the file.")])


def _few(found: Iterator[_Found], finding: Callable[[_Found], Finding], others: str) -> Iterator[Finding]:
    """Yield a finding for each of the first items, and one for the number of the others."""
    yield from map(finding, itertools.islice(found, _MAX_UNKNOWN))
    more = sum(1 for _ in found)
    if more:
        message = f"{more} more {others}; they are kept as they are"
        yield Finding("warning", "", message, None, "", "Check whether this is a configuration.")


def in_present_version(document: dict[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Return the document in the current version, with notes.

    :raises ConfigInvalidError: if its version isn't an integer.
    """
    newest = TrainConfig.config_version
    version = document.get(VERSION_KEY, 0 if looks_like_version_0(document) else newest)
    if not isinstance(version, int) or isinstance(version, bool):
        message = f"{VERSION_KEY} must be a whole number, not {version!r}"
        suggestion = f"Remove it, or set it to {newest}."
        raise ConfigInvalidError([Finding("error", VERSION_KEY, message, version, "a whole number", suggestion)])
    findings = []
    if version > newest:
        message = f"The file has the newer version {version}, but this panel supports version {newest}"
        suggestion = "Check the settings. Unknown keys are kept."
        findings.append(Finding("warning", VERSION_KEY, message, version, f"at most {newest}", suggestion))
    document = migrate(document, version)
    concepts = document.get("concepts")
    if isinstance(concepts, list):
        document = document | {"concepts": [_present_concept(concept) for concept in concepts]}
    document, about_retired = without_retired(document)
    return document, findings + about_retired


def _present_concept(concept: Any) -> Any:
    if not isinstance(concept, dict):
        return concept
    known = concept.get(VERSION_KEY, 0)
    return migrate_concept(concept, known if isinstance(known, int) else 0)


def validated(kind: type[_Kind], values: dict[str, Any]) -> _Kind:
    """Return an object of ``kind`` from plain values.

    :raises ConfigInvalidError: with one finding for each wrong value.
    """
    _refuse_deep(values)
    try:
        made = kind.model_validate(values)
    except ValidationError as error:
        raise ConfigInvalidError([_finding(item) for item in error.errors(include_url=False)]) from error
    if undefined := _not_numbers(made):
        # JSON cannot say it, and it is equal to nothing, not even to itself
        raise ConfigInvalidError([_undefined(path) for path in undefined])
    return made


def _undefined(path: str) -> Finding:
    entry = CATALOGUE.get(pattern(path))
    expected = (expectation(entry) if entry else "") or "a number"
    return Finding("error", path, f"{path} is not a number", "nan", expected, f"Set {path} to {expected}.")


def _not_numbers(value: Any, path: str = "") -> list[str]:
    """Return the paths of values that are NaN."""
    if isinstance(value, float):
        return [path] if math.isnan(value) else []
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Settings):
        inside = (*value.__dict__.items(), *(value.model_extra or {}).items())
    elif isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, (list, tuple)):
        inside = enumerate(value)
    return [
        undefined
        for key, item in inside
        if isinstance(item, (float, Settings, dict, list, tuple))
        for undefined in _not_numbers(item, f"{path}.{key}" if path else str(key))
    ]


def to_document(config: TrainConfig, *, packed: bool) -> dict[str, Any]:
    """Return the document of a configuration: with concepts and samples if ``packed``, never with secrets."""
    document = plain(config)
    for key in SECRET_KEYS:
        document.pop(key, None)
    if not packed:
        for key in LISTS_OF_A_PACK:
            document[key] = None
    return document


def plain(config: Settings) -> dict[str, Any]:
    """Return the object as plain JSON values, each nested object with its version first."""
    values: dict[str, Any] = {VERSION_KEY: config.config_version}
    for name in shapes_of(type(config)):
        values[name] = _plain_value(getattr(config, name))
    values.update(config.model_extra or {})
    return values


def _plain_value(value: Any) -> Any:
    if isinstance(value, Settings):
        return plain(value)
    if isinstance(value, (list, tuple)):
        return [_plain_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain_value(item) for key, item in value.items()}
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # JSON has no infinity; OneTrainer writes the word
    return value.value if isinstance(value, Enum) else value


def read_file(path: Path) -> dict[str, Any]:
    """Return the document in a file.

    :raises ConfigFileError: if the file doesn't exist or isn't a JSON object.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # reading a named pipe would block forever
            raise ConfigFileError(f"{path} isn't a file.", suggestion="Choose another file.")
        if found.st_size > _MAX_BYTES:
            raise ConfigFileError(f"{path} must be at most {_MAX_BYTES >> 20} MB.", suggestion="Choose another file.")
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFileError(f"Can't read {path}: {error}", suggestion="Choose another file.") from error
    return parse(text, name=path.name)


def parse(text: str, *, name: str) -> dict[str, Any]:
    """Return the document in a text; ``name`` is used in errors.

    :raises ConfigFileError: if the text isn't a JSON object.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigFileError(
            f"{name} isn't valid JSON: {error.msg} in line {error.lineno}.",
            expected="a configuration saved by the panel or OneTrainer",
            suggestion=_A_CONFIGURATION,
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise ConfigFileError(
            f"Can't read {name}: {error}",
            expected="a configuration saved by the panel or OneTrainer",
            suggestion=_A_CONFIGURATION,
        ) from error
    if not isinstance(document, dict):
        raise ConfigFileError(
            f"{name} contains a JSON {type(document).__name__}, not an object with settings.",
            expected="a JSON object with settings",
            suggestion=_A_CONFIGURATION,
        )
    return document


def read_json_list(path: Path) -> list[Any]:
    """Return the list in a file of concepts or samples.

    :raises ConfigFileError: if the file isn't a JSON list.
    """
    try:
        items = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigFileError(f"Can't read {path}: {error}", expected="a JSON list") from error
    if not isinstance(items, list):
        raise ConfigFileError(f"{path} contains a JSON {type(items).__name__}, not a list", expected="a JSON list")
    return items


def write_file(path: Path, document: dict[str, Any]) -> None:
    """Write a document atomically: the file has either the old or the new content."""
    text = json.dumps(document, indent=4, ensure_ascii=False)
    try:
        data = text.encode()
    except UnicodeEncodeError:  # the name of a file that isn't UTF-8
        data = json.dumps(document, indent=4).encode()
    write_atomic(path, data)


def _overlay(base: Settings, document: dict[str, Any]) -> dict[str, Any]:
    shapes = shapes_of(type(base))
    values: dict[str, Any] = {name: getattr(base, name) for name in shapes}
    for key, value in document.items():
        if key == VERSION_KEY:
            continue
        shape = shapes.get(key)
        current = values.get(key)
        if isinstance(current, Settings) and isinstance(value, dict):
            values[key] = _overlay(current, value)
        elif shape and shape.element and isinstance(value, list):
            element = shape.element
            values[key] = [_overlay(element(), item) if isinstance(item, dict) else item for item in value]
        elif key == "optimizer_defaults" and isinstance(value, dict):
            values[key] = {name: _without_version(item) for name, item in value.items()}
        else:
            values[key] = value
    return values


def _without_version(value: Any) -> Any:
    return {key: item for key, item in value.items() if key != VERSION_KEY} if isinstance(value, dict) else value


class _UnknownKey(NamedTuple):
    """A key that isn't a setting of its object."""

    kind: type[Settings]
    prefix: str
    key: str
    value: Any


def _unknown_keys(kind: type[Settings], document: dict[str, Any], prefix: str) -> Iterator[_UnknownKey]:
    known = shapes_of(kind)
    for key, value in document.items():
        path = f"{prefix}{key}"
        if key == VERSION_KEY or path == NOTE_KEY:
            continue
        if key not in known:
            yield _UnknownKey(kind, prefix, key, value)
            continue
        shape = known[key]
        if shape.nested and isinstance(value, dict):
            yield from _unknown_keys(shape.nested, value, f"{path}.")
        elif shape.element and isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _unknown_keys(shape.element, item, f"{path}.{index}.")


def _unknown_key(unknown: _UnknownKey) -> Finding:
    path = f"{unknown.prefix}{unknown.key}"
    nearest = nearest_name(unknown.key, shapes_of(unknown.kind))
    suggestion = f"Use {unknown.prefix}{nearest} if you meant that." if nearest else "Remove it if it is a mistake."
    message = f"{path} isn't a known setting and is kept unchanged"
    return Finding("warning", path, message, unknown.value, "a known setting", suggestion)


def _unknown_name(leaf: Leaf) -> Finding:
    known = [member.value for member in without_none(leaf.annotation)]
    nearest = nearest_name(leaf.value.value, known)
    suggestion = f"Use {nearest} if you meant that." if nearest else "Train with a OneTrainer version that supports it."
    message = f"{title_of(leaf.path)} is {leaf.value.value}, which isn't a known name and is kept unchanged"
    return Finding("warning", leaf.path, message, leaf.value.value, "a known name", suggestion)


def _finding(item: Any) -> Finding:
    path = ".".join(str(part) for part in item["loc"])
    expected = _EXPECTED.get(item["type"]) or item["msg"].removeprefix("Input should be ")
    if item["type"] == "enum":
        expected = "one of " + item["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
    value = item["input"]
    title = title_of(path)
    return Finding(
        "error", path, f"{title} must be {expected}, not {_short(value)}", value, expected, f"Set {title} to {expected}."
    )


def _short(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

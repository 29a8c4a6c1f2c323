"""Change a configuration: dotted paths and their new values, all or nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from onetrainer_gradio.config.declarations.bounds import out_of_bounds
from onetrainer_gradio.config.declarations.catalog import pattern
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.files.newer import AS_JSON, NOTHING_NEWER, Newer, NewerSetting, newer_names, unknown_name
from onetrainer_gradio.config.suggestions import nearest_name
from onetrainer_gradio.errors import ConfigInvalidError, Finding

# Comparing a path with all settings takes a while.
_MAX_SUGGESTIONS = 10
_MAX_SHOWN = 120
_MAX_CHARACTERS = 1000


def apply(config: TrainConfig, changes: Mapping[str, Any], newer: Newer = NOTHING_NEWER) -> TrainConfig:
    """Return the configuration with the changes.

    A path is dotted (``unet.learning_rate``, ``concepts.0.path``); a whole list or object may be given as value. ``newer`` are
    additional settings and names of a checkout: they are kept with the others, without their defaults.

    :raises ConfigInvalidError: with one finding for each path or value that does not fit; nothing is changed then.
    """
    document = to_document(config, packed=True)
    problems = [problem for path, value in changes.items() if (problem := _put(document, path, value, newer))]
    if problems:
        raise ConfigInvalidError(_with_suggestions(problems, document))
    changed, _ = from_document(document)
    unknown = [unknown_name(leaf) for leaf in newer_names(changed) if not newer.knows(leaf.path, leaf.value)]
    bad = [finding for finding in (*unknown, *out_of_bounds(changed)) if _touched(finding.path, changes)]
    if bad:
        raise ConfigInvalidError(bad)
    return changed.model_copy(update={"secrets": config.secrets})


def _touched(path: str, changes: Iterable[str]) -> bool:
    return any(path == change or path.startswith(f"{change}.") for change in changes)


def _put(document: dict[str, Any], path: str, value: Any, newer: Newer) -> Finding | None:
    if len(path) > _MAX_CHARACTERS:
        return _unknown(path)
    if (setting := newer.setting(path)) is not None:
        return _put_newer(document, path, value, setting)
    if whole := newer.around(path):
        return _put_within(document, whole, path, value, newer)
    *parents, last = path.split(".")
    at: Any = document
    for part in parents:
        at = _child(at, part)
        if at is None:
            return _unknown(path)
    if isinstance(at, dict) and last in at:
        at[last] = value
        return None
    if isinstance(at, list) and is_whole(last) and int(last) < len(at):
        at[int(last)] = value
        return None
    return _unknown(path)


def _put_newer(document: dict[str, Any], path: str, value: Any, setting: NewerSetting) -> Finding | None:
    """Keep a setting that only the checkout has. Omit its default, because a missing value has this meaning there."""
    if (wrong := setting.wrong(value, path)) is not None:
        return wrong.finding(path, as_json=setting.kind in AS_JSON)
    *parents, last = path.split(".")
    at: Any = document
    for part in parents:
        if isinstance(at, dict) and part not in at:
            at[part] = {}  # an object that only the checkout has
        at = _child(at, part)
    if not isinstance(at, dict):
        return _unknown(path)
    if value == setting.default:
        at.pop(last, None)
    else:
        at[last] = value
    return None


def _put_within(document: dict[str, Any], whole: str, path: str, value: Any, newer: Newer) -> Finding | None:
    """Change a value in a list or object that only the checkout has; the complete value must be valid afterwards."""
    setting = newer.settings[pattern(whole)]
    held: Any = document
    for part in whole.split("."):
        held = _child(held, part)
    held = copy.deepcopy(setting.default if held is None else held)
    *parents, last = path[len(whole) + 1 :].split(".")
    at = held
    for part in parents:
        at = _child(at, part)
    if isinstance(at, dict):
        at[last] = value
    elif isinstance(at, list) and is_whole(last) and int(last) < len(at):
        at[int(last)] = value
    else:
        return _unknown(path)
    return _put_newer(document, whole, held, setting)


def _child(at: Any, part: str) -> Any:
    if isinstance(at, dict):
        return at.get(part)
    if isinstance(at, list) and is_whole(part) and int(part) < len(at):
        return at[int(part)]
    return None


def _unknown(path: str) -> Finding:
    return Finding("error", path, f"{_short(path)} isn't a setting", None, "the path of a setting")


def _with_suggestions(problems: list[Finding], document: dict[str, Any]) -> list[Finding]:
    """Add suggestions for the first few unknown paths."""
    unknown = [at for at, problem in enumerate(problems) if not problem.suggestion]
    known = list(_paths(document, "")) if unknown else []
    for number, at in enumerate(unknown):
        nearest = nearest_name(problems[at].path, known) if number < _MAX_SUGGESTIONS else ""
        suggestion = f"Use {nearest} if you meant that." if nearest else "Check the name in docs/settings.md."
        problems[at] = replace(problems[at], suggestion=suggestion)
    return problems


def _short(path: str) -> str:
    return path if len(path) <= _MAX_SHOWN else f"{path[:_MAX_SHOWN]}…"


def _paths(value: Any, prefix: str) -> Iterable[str]:
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield f"{prefix}{key}"
        yield from _paths(item, f"{prefix}{key}.")

"""Read the settings of a checkout with types and defaults, its enums, model types, methods and presets, in its own Python.

Reading takes as long as OneTrainer needs to import; the answer is kept in a file per revision and state of its modules.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onetrainer_gradio.atomic_file import write_atomic
from onetrainer_gradio.backends.onetrainer.bridge import WORKER, run_script
from onetrainer_gradio.backends.onetrainer.checkout import CONFIG_FOLDERS, Checkout, require
from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.setting import Settings
from onetrainer_gradio.config.declarations.walk import element_class, fields_of, settings_class
from onetrainer_gradio.config.files.documents import plain
from onetrainer_gradio.errors import CheckoutError

FORMAT = 2
_NOT_COMPARED = ("secrets", "cloud")


@dataclass(frozen=True)
class FieldFacts:
    """One setting of the checkout: its type name, whether it may be empty, its default, and its choices."""

    type: str
    nullable: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckoutFacts:
    """The facts of a checkout.

    ``fields`` are by dotted path (``concepts[].image.enable_crop_jitter`` for the elements of lists); ``methods`` gives for each
    model type the training methods that it can train, ``sample_defaults`` what a new sample prompt of it begins with (empty for
    revisions that make no difference). ``problem`` is the reason why it can't train although its settings load
    but its trainer not. ``presets``, ``concept_files`` and ``sample_files`` are absolute.
    """

    folder: Path
    revision: str
    config_version: int
    fields: Mapping[str, FieldFacts]
    enums: Mapping[str, tuple[str, ...]]
    model_types: tuple[str, ...]
    methods: Mapping[str, tuple[str, ...]]
    presets: tuple[Path, ...] = ()
    concept_files: tuple[Path, ...] = ()
    sample_files: tuple[Path, ...] = ()
    sample_defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class FieldComparison:
    """The differences between the settings of a checkout and those of this release.

    ``newer`` are known there and not here, ``lacking`` known here and not there, ``defaults`` have another default there
    (here, there).
    """

    newer: Mapping[str, FieldFacts]
    lacking: tuple[str, ...]
    defaults: Mapping[str, tuple[Any, Any]]


def read_facts(checkout: Checkout, cache_folder: Path, timeout_s: float = 120) -> CheckoutFacts:
    """Return what the checkout knows, from the cache where it has not changed.

    :raises CheckoutError: if its Python can't report them; the message gives the reason.
    """
    python = require(checkout)
    cached = cache_folder / f"{_fingerprint(checkout)}.json"
    body = _read(cached)
    if body is None:
        body = run_script(python, "facts", checkout.folder, timeout_s=timeout_s)
        if not body.get("problem"):
            _keep(cached, body)
    try:
        return _facts(checkout, body)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckoutError(f"OneTrainer in {checkout.folder} reported its settings in an unknown format ({error!r}).") from error


def compare_fields(facts: CheckoutFacts) -> FieldComparison:
    """Return how the settings of the checkout differ from those of this release; secrets and cloud machines are omitted."""
    here = dict(_own_fields(TrainConfig, "", TrainConfig()))
    there = {path: item for path, item in facts.fields.items() if path.split(".")[0] not in _NOT_COMPARED}
    newer = {path: item for path, item in there.items() if path not in here}
    lacking = tuple(path for path in here if path not in there)
    defaults = {
        path: (here[path], item.default)
        for path, item in there.items()
        if path in here and not _same(here[path], item.default) and not _differs_by_machine(path)
    }
    return FieldComparison(newer=newer, lacking=lacking, defaults=defaults)


def _same(here: Any, there: Any) -> bool:
    if isinstance(here, (int, float)) and isinstance(there, (int, float)) and not isinstance(here, bool):
        return float(here) == float(there)
    return bool(here == there) or (here in (None, [], {}) and there in (None, [], {}))


def _differs_by_machine(path: str) -> bool:
    return path.rpartition(".")[2] in ("uuid", "seed", "train_device")


def _own_fields(kind: type[Settings], prefix: str, example: Settings) -> Iterator[tuple[str, Any]]:
    values = plain(example)
    for name, info in fields_of(kind).items():
        path = f"{prefix}{name}"
        if path.split(".")[0] in _NOT_COMPARED:
            continue
        nested, element = settings_class(info.annotation), element_class(info.annotation)
        value = getattr(example, name)
        if nested is not None:
            yield from _own_fields(nested, f"{path}.", value if isinstance(value, Settings) else nested())
            continue
        yield path, values[name]
        if element is not None:
            yield from _own_fields(element, f"{path}[].", element())


def _fingerprint(checkout: Checkout) -> str:
    parts = [str(FORMAT), str(checkout.folder), str(checkout.python), checkout.revision, _stamp(WORKER)]
    for folder in CONFIG_FOLDERS:
        for path in sorted((checkout.folder / folder).glob("*.py")):
            parts.append(f"{path.name} {_stamp(path)}")
    environment = checkout.python.parent.parent if checkout.python else checkout.folder
    for libraries in (*sorted(environment.glob("lib/python*/site-packages")), environment / "Lib" / "site-packages"):
        parts.append(_stamp(libraries))  # a library that came, went or was exchanged
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_mtime_ns} {status.st_size}"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def _keep(path: Path, body: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # without the cache the next reading only takes longer
        write_atomic(path, json.dumps(body), durable=False)


def _facts(checkout: Checkout, body: Mapping[str, Any]) -> CheckoutFacts:
    enums = {name: tuple(values) for name, values in body["enums"].items()}
    fields = {
        path: FieldFacts(type=kind, nullable=bool(nullable), default=default, choices=enums.get(kind, ()))
        for path, kind, nullable, default in body["fields"]
    }
    folder = checkout.folder
    return CheckoutFacts(
        folder=folder,
        revision=checkout.revision,
        config_version=int(body["config_version"]),
        fields=fields,
        enums=enums,
        model_types=tuple(body["model_types"]),
        methods={name: tuple(methods) for name, methods in body["methods"].items()},
        presets=tuple(sorted((folder / "training_presets").rglob("*.json"))),
        concept_files=tuple(sorted((folder / "training_concepts").glob("*.json"))),
        sample_files=tuple(sorted((folder / "training_samples").glob("*.json"))),
        sample_defaults={name: dict(begins) for name, begins in body.get("sample_defaults", {}).items()},
        versions=dict(body.get("versions", {})),
        problem=str(body.get("problem", "")),
    )

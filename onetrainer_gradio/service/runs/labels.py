"""Store what people add to a run afterwards: another name, tags, a note, and whether it is archived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json

LABELS = "labels.json"
MAX_NAME, MAX_NOTE, MAX_TAG, MAX_TAGS = 200, 10_000, 100, 50
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Labels:
    """The labels of a run. ``name`` and ``tags`` replace those that it was started with; None keeps them."""

    name: str | None = None
    tags: tuple[str, ...] | None = None
    note: str = ""
    archived: bool = False


def read_labels(folder: Path) -> Labels:
    """Return the labels of a run; values of a wrong type are ignored."""
    document = read_json(folder / LABELS, _MAX_BYTES)
    body = document if isinstance(document, dict) else {}
    tags = body.get("tags")
    return Labels(
        name=body["name"] if isinstance(body.get("name"), str) else None,
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else None,
        note=body["note"] if isinstance(body.get("note"), str) else "",
        archived=body.get("archived") is True,
    )


def write_labels(folder: Path, labels: Labels) -> None:
    """Store the labels of a run in its folder.

    :raises StorageError: if they can't be written.
    """
    with raising_storage_error("the labels of the run"):
        write_json(folder / LABELS, asdict(labels), make_folder=False)


def changed(labels: Labels, changes: Mapping[str, Any]) -> Labels:
    """Return the labels with ``changes``: ``name``, ``tags``, ``note``, ``archived``. Spaces around names and tags are removed.

    :raises ConfigValueError: if a value is too long.
    """
    values = dict(changes)
    if values.get("name") is not None:
        values["name"] = _fits("name", values["name"].strip(), MAX_NAME)
    if values.get("tags") is not None:
        values["tags"] = tidy_tags(values["tags"])
    if values.get("note") is not None:
        values["note"] = _fits("note", values["note"], MAX_NOTE)
    return replace(labels, **values)


def tidy_tags(tags: Any) -> tuple[str, ...]:
    """Return the tags on one line each, without empty and repeated ones.

    :raises ConfigValueError: if there are too many, or one is too long.
    """
    tidy = tuple(dict.fromkeys(" ".join(tag.split()) for tag in tags if tag.strip()))
    if len(tidy) > MAX_TAGS:
        raise ConfigValueError(f"A run can have at most {MAX_TAGS} tags.", path="tags", suggestion="Remove some of the tags.")
    for tag in tidy:
        _fits("tags", tag, MAX_TAG)
    return tidy


def _fits(path: str, text: str, most: int) -> str:
    if len(text) > most:
        raise ConfigValueError(f"The text is longer than {most} characters.", path=path, suggestion="Shorten the text.")
    return text

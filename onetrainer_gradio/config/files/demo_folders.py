"""Find the demo's image folders in documents of earlier versions, where they had other names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DEMO_FOLDER = Path(__file__).resolve().parents[2] / "demo"
_FORMER_NAMES = {"pictures": "images", "reminders": "regularization"}
_MOVED = {str(DEMO_FOLDER / former): str(DEMO_FOLDER / now) for former, now in _FORMER_NAMES.items()}


def with_moved_demo_folders(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the current paths of the demo's image folders."""
    concepts = document.get("concepts")
    if not isinstance(concepts, list):
        return document
    return {**document, "concepts": [_moved(concept) for concept in concepts]}


def _moved(concept: Any) -> Any:
    path = concept.get("path") if isinstance(concept, dict) else None
    return {**concept, "path": _MOVED[path]} if isinstance(path, str) and path in _MOVED else concept

"""Define the names of cache files and folders, so that nothing else in the folder is mistaken for one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from onetrainer_gradio.config.paths import marker

OWN_SUBFOLDER = "onetrainer_gradio"
SUBFOLDERS = ("image", "text")
"""Folders of a cache; OneTrainer removes them by their names, and every folder that begins with ``epoch-``."""

_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
_THEIR_GROUP = re.compile(r"[0-9a-f]{64}")
_THEIR_FILE = re.compile(r"(variation-\d+/)?(aggregate|\d+|[0-9a-f]{64})\.(pt|safetensors)")
_EPOCH = "epoch-"


def is_entry(name: str) -> bool:
    """Return whether a file has the name of an encoded image or caption from this package."""
    return _NAME.fullmatch(name) is not None


def cleared_by_name(cache_dir: Path) -> Iterator[Path]:
    """Yield the folders of a cache that OneTrainer removes at the start, whatever is in them."""
    try:
        names = sorted(entry.name for entry in os.scandir(cache_dir) if entry.is_dir())
    except OSError:
        return
    yield from (cache_dir / name for name in names if name in SUBFOLDERS or name.startswith(_EPOCH))


def foreign_file(cache_dir: Path) -> Path | None:
    """Return a file that OneTrainer would remove although it isn't a cache file, or None."""
    for folder in cleared_by_name(cache_dir):
        try:
            for name, _ in marker.entries(folder):
                if not _is_cache_file(name) and not (folder / name).is_dir():
                    return folder / name
        except OSError:
            return folder
    return None


def _is_cache_file(name: str) -> bool:
    own = name.removeprefix(f"{OWN_SUBFOLDER}/")
    if is_entry(own) or own == marker.MARKER or _THEIR_FILE.fullmatch(own):
        return True
    group, _, rest = name.partition("/")
    if group.startswith((".unfinished-", ".tmp")):
        return True
    return bool(_THEIR_GROUP.fullmatch(group)) and _THEIR_FILE.fullmatch(rest) is not None

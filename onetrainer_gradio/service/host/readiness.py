"""Check whether the data folder can store what a run writes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# A run that starts with less can't write its first backup, and the panel can't even store its settings for long.
MIN_FREE_BYTES = 100_000_000


def storage_problems(folder: Path, min_free: int = MIN_FREE_BYTES) -> list[str]:
    """Return why the data folder can't be used; the texts contain no paths. Empty if it can."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return ["Can't write to the data folder."]
    free = shutil.disk_usage(folder).free
    if free < min_free:
        return [f"The disk of the data folder has {free // 1_000_000} MB free, and {min_free // 1_000_000} MB are needed."]
    return []

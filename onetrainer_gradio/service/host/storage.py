"""Find out whether a data folder survives a restart of the container or Space that it is in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# Set by the image in deploy/docker.
CONTAINER_VARIABLE = "ONETRAINER_GRADIO_CONTAINER"


def in_container(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process runs in a hosted Space or in our image."""
    return bool(environment.get("SPACE_ID") or environment.get(CONTAINER_VARIABLE))


def is_temporary(folder: Path, environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> bool:
    """Return whether a restart deletes the folder: it is on the container's own disk, and not on a volume.

    ``root`` is the root of the container's own disk.
    """
    if not in_container(environment):
        return False
    for place in (folder, *folder.parents):
        try:
            return os.stat(place).st_dev == os.stat(root).st_dev
        except OSError:  # not created yet
            continue
    return False

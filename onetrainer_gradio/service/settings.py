"""What a service is built with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def default_data_folder() -> Path:
    """``$ONETRAINER_GRADIO_DATA`` or ``onetrainer_gradio_data`` in the current folder."""
    return Path(os.environ.get("ONETRAINER_GRADIO_DATA") or "onetrainer_gradio_data").absolute()


@dataclass(frozen=True)
class ServiceSettings:
    """Where the service keeps its things and how it starts runs.

    ``allowed_roots`` are folders outside the data folder that settings may point into; empty allows every folder.
    """

    data_folder: Path
    in_process: bool = False
    backend: str = "builtin"
    allowed_roots: tuple[Path, ...] = ()
    demo: bool = False

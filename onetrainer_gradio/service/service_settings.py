"""Define the settings of a service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DATA_VARIABLE = "ONETRAINER_GRADIO_DATA"
# How much of the data folder is copied to the Hugging Face Hub, unless the environment sets another limit.
PUSH_LIMIT_BYTES = 20 * 10**9


def default_data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return ``$ONETRAINER_GRADIO_DATA``, or ``onetrainer_gradio`` in the home folder."""
    return Path(environment.get(DATA_VARIABLE) or "~/onetrainer_gradio").expanduser().absolute()


@dataclass(frozen=True)
class ServiceSettings:
    """Where the service stores its files and how it starts runs.

    ``allowed_roots`` are folders outside the data folder that settings may point into; empty allows every folder.
    ``checkouts`` are OneTrainer checkouts to register at the start; with ``find_checkouts``, common locations are searched.
    ``keep_loaded_s`` is how long the training process stays loaded after a run, so that the next one starts at once (0: not).
    With ``closed_checkouts``, none can be added later, because its Python would run on this machine. With ``runs_queue``, the
    service starts the runs of the queue. ``push_to`` is the repository of the Hugging Face Hub that the data folder is copied to,
    with at most ``push_limit_bytes``.
    """

    data_folder: Path
    in_process: bool = False
    backend: str = "builtin"
    allowed_roots: tuple[Path, ...] = ()
    demo: bool = False
    checkouts: tuple[Path, ...] = ()
    find_checkouts: bool = False
    closed_checkouts: bool = False
    keep_loaded_s: float = 0.0
    runs_queue: bool = True
    push_to: str = ""
    push_limit_bytes: int = PUSH_LIMIT_BYTES

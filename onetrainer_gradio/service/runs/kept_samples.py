"""Keep images that were generated after a run as its samples, with their parameters, in ``kept_samples`` in its folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.digits import is_whole
from onetrainer_gradio.service.host.atomic import raising_storage_error, read_json, write_json

FOLDER = "kept_samples"
FIRST = 10**12
"""The number of the first kept sample: above all positions in a journal, so that kept samples are the newest of a run."""
_SHOWN = (
    *("prompt", "negative_prompt", "width", "height", "seed", "diffusion_steps", "cfg_scale", "noise_scheduler"),
    *("global_step", "strength", "result"),
)


def keep(run_folder: Path, image: Path, source: str, facts: Mapping[str, Any]) -> int:
    """Copy an image into the folder of its run, and return the number of the sample: the same one if it is kept already.

    ``source`` identifies the image, ``facts`` are its parameters.

    :raises StorageError: if it can't be written, for instance because the disk is full.
    """
    known = kept_samples(run_folder)
    for number, body in known:
        if body.get("source") == source:
            return number
    number = max((each for each, _ in known), default=FIRST - 1) + 1
    body = {
        "kind": "custom",
        "index": 0,
        "epoch": 0,
        "epoch_step": 0,
        "global_step": 0,
        "ema": False,
        "kept": True,
        "at": time.time(),
        "source": source,
        **{name: facts[name] for name in _SHOWN if name in facts},
    }
    path = image_path(run_folder, number)
    with raising_storage_error("the sample"):
        path.parent.mkdir(exist_ok=True)
        try:
            shutil.copy2(image, path)
            write_json(path.with_suffix(".json"), body)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    return number


def kept_samples(run_folder: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return number and parameters of each kept sample, newest first."""
    found = []
    with suppress(OSError):
        for path in (run_folder / FOLDER).glob("*.json"):
            body = read_json(path, 1 << 20)
            if is_whole(path.stem) and isinstance(body, dict) and isinstance(body.get("prompt"), str):
                number = FIRST + int(path.stem)
                found.append((number, {**body, "path": str(image_path(run_folder, number))}))
    return sorted(found, key=lambda each: -each[0])


def image_path(run_folder: Path, number: int) -> Path:
    """Return where the image of a kept sample is."""
    return run_folder / FOLDER / f"{number - FIRST:06}.png"

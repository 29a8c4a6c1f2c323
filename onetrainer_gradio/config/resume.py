"""What is left to train after a backup, from its meta.json; the check before the start asks it."""

from __future__ import annotations

import json
from pathlib import Path

from onetrainer_gradio.config.train import TrainConfig
from onetrainer_gradio.errors import Finding


def epochs_done(backup: Path) -> int | None:
    """Return how many epochs a backup has behind it, or None if its meta.json can't be read."""
    try:
        meta = json.loads((backup / "meta.json").read_text(encoding="utf-8"))
        return int(meta["train_progress"]["epoch"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def nothing_left(config: TrainConfig, backup: Path) -> Finding | None:
    """Return the finding that a run from this backup would end at once, if it would."""
    done = epochs_done(backup)
    if done is None or done < config.epochs:
        return None
    return Finding(
        "error",
        "epochs",
        f"The backup {backup.name} is already at epoch {done} of {config.epochs}, so there is nothing left to train.",
        config.epochs,
        change=f"Raise Epochs above {done}",
    )

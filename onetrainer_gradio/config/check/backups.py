"""Read the settings of backups and the tensor names of LoRA files without loading weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.model_files import header_of


def backups(plan: Plan) -> list[Path]:
    """Return the backups in the workspace, oldest first, ordered by name as in OneTrainer."""
    folder = plan.path(plan.config.workspace_dir) / "backup"
    try:
        return sorted(path for path in folder.iterdir() if os.path.isdir(path))
    except OSError:
        return []


def last_backup(plan: Plan) -> Path | None:
    """Return the backup that a run would resume from."""
    found = backups(plan)
    return found[-1] if found else None


def setting_of(backup: Path | None, name: str) -> Any:
    """Return a setting of the run that created a backup; None if it is unknown."""
    if backup is None:
        return None
    try:
        document = json.loads((backup / "onetrainer_config" / "args.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document.get(name) if isinstance(document, dict) else None


def lora_keys(file: Path) -> tuple[str, ...]:
    """Return the names of the tensors in a .safetensors file; empty if it isn't one."""
    return tuple(key for key in header_of(file) if key != "__metadata__")

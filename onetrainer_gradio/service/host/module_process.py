"""Start modules of this package as separate processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from onetrainer_gradio.panel_secrets import without_panel_secrets

_PACKAGE_PARENT = Path(__file__).resolve().parents[3]


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this package, regardless of the current folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a process of a run: it finds this package and prints without delay."""
    environment = {**without_panel_secrets(os.environ), "PYTHONUNBUFFERED": "1", **(extra or {})}
    if _PACKAGE_PARENT.name not in ("site-packages", "dist-packages"):
        known = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
        environment["PYTHONPATH"] = os.pathsep.join([str(_PACKAGE_PARENT), *known])
    return environment


def own_session() -> dict[str, Any]:
    """Return the arguments that start a process apart from its parent's terminal and group."""
    if os.name == "nt":
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
        return {"creationflags": flags}
    return {"start_new_session": True}

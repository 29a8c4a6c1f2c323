"""Set up a stand-in checkout with its own environment."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
STANDIN = FIXTURES / "checkout_standin"


def set_up(folder: Path, *, newer: bool = False, python: bool = True, **behavior: object) -> Path:
    """Create a checkout in ``folder``; ``behavior`` is as listed in its ``modules/standin.py``."""
    shutil.copytree(STANDIN / "base", folder)
    for name in ("fields", "enums"):
        shutil.copyfile(FIXTURES / f"onetrainer_{name}.json", folder / f"{name}.json")
    if newer:
        shutil.copytree(STANDIN / "newer", folder, dirs_exist_ok=True)
    if python:
        environment(folder / "venv")
    behave(folder, **behavior)
    return folder


def behave(folder: Path, **behavior: object) -> None:
    """Set how it behaves from now on."""
    new = folder / "standin.json.new"
    new.write_text(json.dumps(behavior))
    new.replace(folder / "standin.json")  # a run that reads it in the meantime finds it complete


def environment(folder: Path, version: str = platform.python_version()) -> Path:
    """Create a virtual environment without any library, and return its interpreter."""
    (folder / "bin").mkdir(parents=True)
    interpreter = folder / "bin" / "python"
    base = getattr(sys, "_base_executable", sys.executable)
    interpreter.symlink_to(os.path.realpath(base))
    (folder / "pyvenv.cfg").write_text(f"home = {Path(os.path.realpath(base)).parent}\nversion = {version}\n")
    if os.environ.get("COVERAGE_PROCESS_CONFIG"):
        measure(folder)
    return interpreter


def measure(folder: Path) -> None:
    """Let coverage measure the processes of this environment, which has no other library."""
    import coverage

    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "coverage").symlink_to(Path(coverage.__file__).parent)
    (packages / "coverage.pth").write_text("import coverage; coverage.process_startup()\n")

"""Detect the default training device without importing torch."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path


def default_device() -> str:
    """Return ``cuda`` if an NVIDIA or AMD driver is installed, ``mps`` on Apple silicon, else ``cpu``."""
    drivers = (Path("/dev/nvidia0"), Path("/dev/kfd"))
    if any(driver.exists() for driver in drivers) or shutil.which("nvidia-smi"):
        return "cuda"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps"
    return "cpu"

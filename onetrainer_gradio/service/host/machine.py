"""Which versions a run is made with and on which machine; asks the installed metadata and the driver, imports no library."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

from onetrainer_gradio import __version__

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "gradio", "fastapi", "numpy", "pillow")


def versions() -> dict[str, str]:
    """The versions of Python, this project and the libraries that are there."""
    found = {"python": platform.python_version(), "onetrainer_gradio": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(gpus: tuple[str, ...] = ()) -> dict[str, str]:
    """The machine in words."""
    described = {"system": platform.platform(), "machine": platform.machine(), "cpu": _cpu_name()}
    described["cpu_count"] = str(os.cpu_count() or 0)
    described |= {f"gpu_{number}": name for number, name in enumerate(gpus)}
    return described


def _cpu_name() -> str:
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo") as file:
                for line in file:
                    if line.startswith("model name"):
                        return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()

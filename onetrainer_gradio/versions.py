"""Read the versions and the hardware of a run from installed metadata and the system, without importing libraries."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

from onetrainer_gradio import __version__

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "gradio", "fastapi", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Return the versions of Python, this package and the installed ones of the libraries it uses."""
    found = {"python": platform.python_version(), "onetrainer_gradio": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(gpus: tuple[str, ...] = (), device: str = "") -> dict[str, str]:
    """Return the machine as text: system, CPU and the given GPUs; ``device`` is the training device of a run."""
    described = {"device": device} if device else {}
    described |= {"system": platform.platform(), "machine": platform.machine(), "cpu": _cpu_name()}
    described["cpu_count"] = str(os.cpu_count() or 0)
    return described | {f"gpu_{number}": name for number, name in enumerate(gpus)}


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

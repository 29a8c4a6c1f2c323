"""Detect the hardware of this machine without torch and without using VRAM."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onetrainer_gradio.config.device import default_device

GIGABYTE = 1024**3


@dataclass(frozen=True)
class Gpu:
    """A GPU; ``capability`` is NVIDIA's compute capability, or None if it is unknown."""

    name: str
    memory_bytes: int = 0
    capability: tuple[int, int] | None = None


def free_bytes(path: Path) -> int | None:
    """Return the free bytes on the disk of ``path``, or None if they are unknown; the path doesn't have to exist."""
    place = existing_ancestor(path)
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def existing_ancestor(path: Path) -> Path:
    """Return the path itself, or its nearest parent that exists."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path


@dataclass(frozen=True)
class Machine:
    """Devices and disk of a machine.

    ``gpus`` is None if the GPUs can't be counted (no driver library for them). ``device`` is the default device of a run.
    ``free`` returns the free bytes at a path, ``allowed`` whether this user has the access that ``os.R_OK`` and similar flags
    describe.
    """

    device: str = "cpu"
    gpus: tuple[Gpu, ...] | None = ()
    free: Callable[[Path], int | None] = free_bytes
    allowed: Callable[[Path, int], bool] = os.access

    @classmethod
    def here(cls) -> Machine:
        """Return the machine that this process runs on."""
        device = default_device()
        return cls(device, _nvidia() if device == "cuda" else ())


def _nvidia() -> tuple[Gpu, ...] | None:
    """Return NVIDIA's GPUs from the driver's library, which uses no VRAM."""
    if importlib.util.find_spec("pynvml") is None:
        return None
    import pynvml

    return cards_of(pynvml)


def cards_of(nvml: Any) -> tuple[Gpu, ...] | None:
    """Return the GPUs that NVIDIA's management library lists, or None if it can't (an AMD GPU, a driver that isn't loaded)."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        return tuple(_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    total = nvml.nvmlDeviceGetMemoryInfo(handle).total
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(name if isinstance(name, str) else name.decode(), int(total), (int(major), int(minor)))

"""What this machine offers to a run, found without torch and without touching a graphics card's memory."""

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
    """A graphics card; ``capability`` is NVIDIA's compute capability, None where there is none to tell."""

    name: str
    memory_bytes: int = 0
    capability: tuple[int, int] | None = None


def free_bytes(path: Path) -> int | None:
    """Free bytes on the disk that holds ``path`` (or will hold it); None when that cannot be told."""
    place = existing_ancestor(path)
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def existing_ancestor(path: Path) -> Path:
    """The path itself or the nearest folder above it that exists."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path


@dataclass(frozen=True)
class Machine:
    """Devices and disk of a machine.

    ``gpus`` is None when the cards cannot be counted (no driver library for them); ``device`` is the kind that a run would
    choose by itself; ``free`` tells the free bytes at a path, and ``allowed`` whether this user may do there what ``os.R_OK`` and
    its kin say.
    """

    device: str = "cpu"
    gpus: tuple[Gpu, ...] | None = ()
    free: Callable[[Path], int | None] = free_bytes
    allowed: Callable[[Path, int], bool] = os.access

    @classmethod
    def here(cls) -> Machine:
        """The machine that this process runs on."""
        device = default_device()
        return cls(device, _nvidia() if device == "cuda" else ())


def _nvidia() -> tuple[Gpu, ...] | None:
    """NVIDIA's cards by the driver's own library, which needs no graphics memory."""
    if importlib.util.find_spec("pynvml") is None:
        return None
    import pynvml

    return cards_of(pynvml)


def cards_of(nvml: Any) -> tuple[Gpu, ...] | None:
    """The cards that NVIDIA's management library knows; None when it cannot tell (an AMD card, a driver that is not loaded)."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        return tuple(_card(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _card(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    total = nvml.nvmlDeviceGetMemoryInfo(handle).total
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(name if isinstance(name, str) else name.decode(), int(total), (int(major), int(minor)))

"""Decide whether the GPU memory of the last run is free again, so that the next run can start."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# More than before by up to this much is other programs' normal variation, such as a desktop's.
TOLERANCE_BYTES = 512 << 20
WAIT_S = 60.0

_GIB = 1 << 30


@dataclass(frozen=True)
class MemoryWait:
    """A device whose memory isn't free: bytes in use now and before the last run. ``late``: the wait took too long."""

    device: str
    used: int
    before: int
    late: bool

    @property
    def text(self) -> str:
        """Return the wait as a sentence."""
        numbers = f"{self.used / _GIB:.1f} GiB are in use, {self.before / _GIB:.1f} GiB before the last run"
        if not self.late:
            return f"Waiting until the memory of {self.device} is free: {numbers}."
        return (
            f"The memory of {self.device} isn't free: {numbers}. End the program that uses it, "
            "or resume the queue to start the run anyway."
        )


class GpuMemory:
    """The memory in use on each GPU, and since when a device is waited for. Used by one thread."""

    def __init__(
        self,
        read: Callable[[], list[dict[str, Any]]],
        *,
        clock: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
        make_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._read = read
        self._clock = clock
        self._wait_s = wait_s
        self._make_room = make_room
        self._since: dict[str, float] = {}

    def in_use(self, devices: Iterable[str]) -> dict[str, int]:
        """Return the bytes in use on each of the devices that is a GPU with a reading."""
        wanted = set(devices)
        if not any(device.startswith("cuda") for device in wanted):
            return {}
        readings = self._read()
        visible = _visible()
        found = {}
        for reading in readings:
            number = int(reading["index"])
            if visible is not None and number not in visible:
                continue
            device = f"cuda:{visible.index(number) if visible is not None else number}"
            if reading.get("memory_used") is not None and (device in wanted or "cuda:*" in wanted):
                found[device] = int(reading["memory_used"])
        return found

    def wait(self, devices: Iterable[str], before: Mapping[str, int]) -> MemoryWait | None:
        """Return the device that still has to be waited for, or None if all are free.

        ``before`` are the bytes that were in use before the last run. A device without a number is free. When a wait begins,
        the panel's own processes free their memory.
        """
        now = self._clock()
        for device, used in self.in_use(devices).items():
            if device not in before or used <= before[device] + TOLERANCE_BYTES:
                self._since.pop(device, None)
                continue
            if device not in self._since:
                self._make_room()
            since = self._since.setdefault(device, now)
            return MemoryWait(device, used, before[device], late=now - since >= self._wait_s)
        return None


def _visible(environment: Mapping[str, str] = os.environ) -> list[int] | None:
    """Return the numbers of the GPUs that torch sees, in its order; None if it sees all of them."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES", "").strip()
    parts = [part.strip() for part in chosen.split(",") if part.strip()]
    return [int(part) for part in parts] if parts and all(part.isascii() and part.isdigit() for part in parts) else None

"""Read the resource usage of the machine: CPU, RAM, disk, GPUs, and the processes of the panel and runs.

One thread reads once a second while there are viewers or a run is active, and every ten seconds otherwise. It uses no VRAM,
because NVML reads from the driver without a CUDA context.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import psutil

from onetrainer_gradio.versions import hardware, versions

_LOG = logging.getLogger(__name__)
EVERY_S = 1.0
IDLE_EVERY_S = 10.0
LOOKED_AT_S = 15.0
SECONDS_KEPT = 600
MINUTES_KEPT = 24 * 60
_MIB = 1 << 20

Gpu = dict[str, Any]


class GpuReader(Protocol):
    """The source of GPU readings."""

    def read(self) -> list[Gpu]:
        """Return one object per GPU: index, name, utilization (%), memory_used and memory_total (bytes), temperature (C),
        power and power_limit (W)."""
        ...


class NvmlReader:
    """NVIDIA GPUs from the driver's management library; none without a driver."""

    def __init__(self, library: Any = None) -> None:
        self._nvml: Any = None
        try:
            import pynvml
        except ImportError:
            pynvml = None
        nvml = library if library is not None else pynvml
        if nvml is None:
            return
        try:
            nvml.nvmlInit()
        except nvml.NVMLError:
            return
        self._nvml = nvml

    def read(self) -> list[Gpu]:
        """Return the current readings; a value that a GPU doesn't provide is None."""
        if self._nvml is None:
            return []
        count = self._value(self._nvml.nvmlDeviceGetCount) or 0
        return [gpu for number in range(count) if (gpu := self._gpu(number)) is not None]

    def _gpu(self, number: int) -> Gpu | None:
        """Return one GPU, or None if the driver has lost it, which doesn't affect the others."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
        except nvml.NVMLError:
            return None
        name = self._value(nvml.nvmlDeviceGetName, handle)
        memory = self._value(nvml.nvmlDeviceGetMemoryInfo, handle)
        use = self._value(nvml.nvmlDeviceGetUtilizationRates, handle)
        power, limit = (
            self._value(read, handle) for read in (nvml.nvmlDeviceGetPowerUsage, nvml.nvmlDeviceGetEnforcedPowerLimit)
        )
        return {
            "index": number,
            "name": name.decode() if isinstance(name, bytes) else name,
            "utilization": use.gpu if use else None,
            "memory_used": memory.used if memory else None,
            "memory_total": memory.total if memory else None,
            "temperature": self._value(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            "power": power / 1000 if power is not None else None,
            "power_limit": limit / 1000 if limit is not None else None,
        }

    def _value(self, read: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return read(*arguments)
        except self._nvml.NVMLError:
            return None


# role, run id, process number
RunProcess = tuple[str, str, int]


class SystemMonitor:
    """Current readings, those of the last ten minutes (per second) and of the day (per minute). Safe from any thread."""

    def __init__(
        self,
        data_folder: Path,
        *,
        busy: Callable[[], bool] = lambda: False,
        run_processes: Callable[[], Iterable[RunProcess]] = tuple,
        publish: Callable[[dict[str, Any]], None] = lambda reading: None,
        gpus: Callable[[], GpuReader] = NvmlReader,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._data_folder = data_folder
        self._busy = busy
        self._run_processes = run_processes
        self._publish = publish
        self._new_gpu_reader = gpus
        self._gpu_reader: GpuReader | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._closing = False
        self._hurry = False
        self._looked_at = 0.0
        self._now: dict[str, Any] | None = None
        self._seconds: deque[dict[str, Any]] = deque(maxlen=SECONDS_KEPT)
        self._minutes: deque[dict[str, Any]] = deque(maxlen=MINUTES_KEPT)
        self._minute: list[dict[str, Any]] = []
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start reading."""
        if self._thread is None:
            psutil.cpu_percent(None)  # the first call has nothing to compare with
            self._thread = threading.Thread(target=self._loop, name="system", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread; closing twice is harmless."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=5.0)

    def info(self) -> dict[str, Any]:
        """Return versions, hardware and devices."""
        gpus = self._gpus()
        return {
            "versions": versions(),
            "hardware": hardware(tuple(str(gpu["name"]) for gpu in gpus)),
            "devices": [{key: gpu[key] for key in ("index", "name", "memory_total")} for gpu in gpus],
            "data_folder": str(self._data_folder),
            "memory_total": psutil.virtual_memory().total,
        }

    def resources(self) -> dict[str, Any]:
        """Return the current readings, and the history as columns: ``at`` and one list per reading."""
        self._look()
        with self._lock:
            now, seconds, minutes = self._now, list(self._seconds), list(self._minutes)
        return {
            "now": now if now is not None else self.read(),
            "history": {"seconds": _columns(seconds), "minutes": _columns(minutes)},
        }

    def now(self) -> dict[str, Any]:
        """Return the newest reading."""
        with self._lock:
            now = self._now
        return now if now is not None else self.read()

    def processes(self) -> list[dict[str, Any]]:
        """Return the panel and the processes of the active run."""
        found = [("panel", "", os.getpid()), *self._run_processes()]
        return [described for role, run_id, pid in found if (described := _process(role, run_id, pid))]

    def read(self) -> dict[str, Any]:
        """Take a reading and store it."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        disk = shutil.disk_usage(self._data_folder if self._data_folder.exists() else Path.cwd())
        reading = {
            "at": self._clock(),
            "cpu": psutil.cpu_percent(None),
            "memory_used": memory.total - memory.available,
            "memory_total": memory.total,
            "swap_used": swap.used,
            "disk_used": disk.total - disk.free,
            "disk_total": disk.total,
            "disk_free": disk.free,
            "gpus": self._gpus(),
        }
        self._keep(reading)
        return reading

    def _keep(self, reading: dict[str, Any]) -> None:
        with self._lock:
            self._now = reading
            self._seconds.append(reading)
            if self._minute and reading["at"] // 60 != self._minute[0]["at"] // 60:
                self._minutes.append(_mean(self._minute))
                self._minute = []
            self._minute.append(reading)

    def _gpus(self) -> list[Gpu]:
        if self._gpu_reader is None:
            self._gpu_reader = self._new_gpu_reader()
        return self._gpu_reader.read()

    def gpus(self) -> list[Gpu]:
        """Take a reading of the GPUs only."""
        return self._gpus()

    def _look(self) -> None:
        slow = time.monotonic() - self._looked_at > LOOKED_AT_S
        self._looked_at = time.monotonic()
        if slow:
            with self._changed:
                self._hurry = True
                self._changed.notify_all()

    def _loop(self) -> None:
        while True:
            try:
                self._publish(self.read())
            except (OSError, psutil.Error) as error:  # a disk or a reading that fails for a while
                _LOG.warning("Can't read the system resources: %s", error)
            looked_at = time.monotonic() - self._looked_at < LOOKED_AT_S
            with self._changed:
                pause_s = EVERY_S if looked_at or self._busy() else IDLE_EVERY_S
                if self._changed.wait_for(lambda: self._closing or self._hurry, pause_s) and self._closing:
                    return
                self._hurry = False


def _process(role: str, run_id: str, pid: int) -> dict[str, Any] | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return {
                "role": role,
                "run_id": run_id or None,
                "pid": pid,
                "memory": process.memory_info().rss,
                "cpu_seconds": sum(process.cpu_times()[:2]),
                "threads": process.num_threads(),
                "started_at": process.create_time(),
                "status": process.status(),
            }
    except psutil.Error:
        return None


_SHOWN = ("cpu", "memory_used", "disk_used")
_SHOWN_OF_GPU = ("utilization", "memory_used", "temperature", "power")


def _columns(readings: list[dict[str, Any]]) -> dict[str, Any]:
    gpus = max((len(reading["gpus"]) for reading in readings), default=0)
    return {
        "at": [round(reading["at"], 1) for reading in readings],
        **{name: [reading[name] for reading in readings] for name in _SHOWN},
        "gpus": [
            {
                name: [reading["gpus"][gpu][name] if gpu < len(reading["gpus"]) else None for reading in readings]
                for name in _SHOWN_OF_GPU
            }
            for gpu in range(gpus)
        ],
    }


def _mean(readings: list[dict[str, Any]]) -> dict[str, Any]:
    last = dict(readings[-1])
    for name in _SHOWN:
        last[name] = round(sum(reading[name] for reading in readings) / len(readings), 1)
    last["gpus"] = [_mean_gpu([reading["gpus"] for reading in readings], gpu) for gpu in range(len(last["gpus"]))]
    return last


def _mean_gpu(readings: list[list[Gpu]], gpu: int) -> Gpu:
    mean = dict(readings[-1][gpu])
    for name in _SHOWN_OF_GPU:
        values = [gpus[gpu][name] for gpus in readings if gpu < len(gpus) and gpus[gpu][name] is not None]
        mean[name] = round(sum(values) / len(values), 1) if values else None
    return mean

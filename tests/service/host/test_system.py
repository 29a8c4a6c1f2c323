"""Measurements of the machine."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.service.host.system import SECONDS_KEPT, SystemMonitor


class Gpus:
    """Two GPUs, the second with few values."""

    def __init__(self) -> None:
        self.use = 10

    def read(self) -> list[dict[str, Any]]:
        full = {"index": 0, "name": "Big", "utilization": self.use, "memory_used": 5, "memory_total": 10}
        full |= {"temperature": 60, "power": 100.0, "power_limit": 300.0}
        return [full, {**dict.fromkeys(full), "index": 1, "name": "Old"}]


class Clock:
    def __init__(self) -> None:
        self.now = 6000.0

    def __call__(self) -> float:
        return self.now


def test_a_reading_has_the_machine_and_its_cards(tmp_path: Path) -> None:
    """CPU, memory, disk and every GPU are reported as JSON."""
    monitor = SystemMonitor(tmp_path, gpus=Gpus)
    now = monitor.resources()["now"]
    assert 0 < now["memory_used"] < now["memory_total"]
    assert now["disk_total"] >= now["disk_used"] + now["disk_free"] - 1
    assert [(gpu["name"], gpu["utilization"]) for gpu in now["gpus"]] == [("Big", 10), ("Old", None)]
    info = monitor.info()
    assert (info["versions"]["onetrainer_gradio"], info["hardware"]["gpu_0"]) == ("0.1.0", "Big")
    assert [gpu["memory_total"] for gpu in info["devices"]] == [10, None]
    json.dumps([now, info, monitor.resources()], allow_nan=False)


@pytest.mark.slow
def test_history_keeps_ten_minutes_by_the_second_and_the_rest_by_the_minute(tmp_path: Path) -> None:
    """Old measurements are dropped; of each older minute the mean is kept."""
    clock, gpus = Clock(), Gpus()
    monitor = SystemMonitor(tmp_path, gpus=lambda: gpus, clock=clock)
    for second in range(SECONDS_KEPT + 100):
        gpus.use = second // 60
        clock.now = 6000.0 + second
        monitor.read()
    history = monitor.resources()["history"]
    assert len(history["seconds"]["at"]) == len(history["seconds"]["cpu"]) == SECONDS_KEPT
    assert history["seconds"]["at"][0] == 6100
    assert history["minutes"]["gpus"][0]["utilization"] == [float(minute) for minute in range(11)]
    assert history["minutes"]["gpus"][1]["utilization"] == [None] * 11


def test_a_machine_without_cards_has_none(tmp_path: Path) -> None:
    """A missing driver is no error."""

    class NoCards:
        def read(self) -> list[dict[str, Any]]:
            return []

    monitor = SystemMonitor(tmp_path, gpus=NoCards)
    assert monitor.resources()["now"]["gpus"] == []
    assert monitor.resources()["history"]["seconds"]["gpus"] == []


def test_processes_are_the_panel_and_those_of_the_run(tmp_path: Path) -> None:
    """An exited process is omitted."""
    monitor = SystemMonitor(
        tmp_path, gpus=Gpus, run_processes=lambda: [("worker", "run", os.getppid()), ("supervisor", "run", 2**22 + 1)]
    )
    found = monitor.processes()
    assert [(row["role"], row["pid"]) for row in found] == [("panel", os.getpid()), ("worker", os.getppid())]
    assert found[0]["memory"] > 1_000_000


def test_someone_who_looks_wakes_the_reader(tmp_path: Path) -> None:
    """An idle panel measures rarely; opening the page starts fresh measurements immediately."""
    read = threading.Semaphore(0)
    monitor = SystemMonitor(tmp_path, gpus=Gpus, publish=lambda reading: read.release())
    monitor.start()
    monitor.start()
    try:
        assert read.acquire(timeout=5.0)
        monitor.resources()
        assert read.acquire(timeout=5.0)
    finally:
        monitor.close()
        monitor.close()


def test_the_driver_is_asked_only_when_it_is_there(tmp_path: Path) -> None:
    """The real reader works on any machine, with and without GPUs."""
    from onetrainer_gradio.service.host.system import NvmlReader

    for gpu in NvmlReader().read():
        assert {"name", "utilization", "memory_used"} <= gpu.keys()


def test_a_card_that_does_not_know_a_value_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laptops have no power measurement; the other values are shown."""
    from onetrainer_gradio.service.host.system import NvmlReader

    class UnknownError(Exception):
        pass

    class Library:
        NVMLError = UnknownError
        NVML_TEMPERATURE_GPU = 0

        def __getattr__(self, name: str) -> Any:
            def answer(*_: Any) -> Any:
                if name == "nvmlDeviceGetPowerUsage":
                    raise UnknownError
                return {"nvmlDeviceGetCount": 1, "nvmlDeviceGetName": b"Card", "nvmlDeviceGetTemperature": 55}.get(name)

            return answer

    monkeypatch.setitem(__import__("sys").modules, "pynvml", Library())
    [gpu] = NvmlReader().read()
    assert (gpu["name"], gpu["temperature"], gpu["power"], gpu["memory_used"]) == ("Card", 55, None, None)

"""Runs in separate processes leave no memory on the device when stopped or killed; the System tab shows the usage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from onetrainer_gradio.service.service_settings import ServiceSettings
from onetrainer_gradio.service.trainer import TrainerService
from tests.gpu.conftest import MIB
from tests.service.conftest import ended

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

PATIENCE_S = 120.0
# what a driver may keep or return by itself in the meantime
WOBBLE = 64 * MIB
HELD = 300 * MIB
HOLDS = """
import sys
if sys.argv[1] == "cpu":
    held = bytearray(b"x") * int(sys.argv[2])
else:
    import torch
    held = torch.ones(int(sys.argv[2]), dtype=torch.uint8, device=sys.argv[1])
    torch.cuda.synchronize()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def service(tmp_path: Path, reader) -> Iterator[TrainerService]:
    """A service with the built-in engine in worker processes, and real readings of the device."""
    found = TrainerService(ServiceSettings(data_folder=tmp_path / "data"), gpus=reader)
    found.open()
    yield found
    if found.get_state()["is_training"]:
        found.stop_training(now=True)
        found.wait_for(ended, PATIENCE_S)
    found.close()


@pytest.fixture
def other_process(device: str) -> Iterator[Callable[[], subprocess.Popen]]:
    """Start another program's process that holds memory of the device."""
    started = []

    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", HOLDS, device, str(HELD)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def settled(read: Callable[[], int], most: int, patience_s: float = 20.0) -> int:
    """Return the first reading that is at most ``most``, or the last one."""
    until = time.monotonic() + patience_s
    while (used := read()) > most and time.monotonic() < until:
        time.sleep(0.1)
    return used


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_run_that_ends_leaves_no_memory(device, configured, service, meter, how):
    """NVML reports it before, during and after, for a stopped run and a killed process."""
    before = meter.used()
    service.start(configured(epochs=100_000, backup_before_save=False))
    training = service.wait_for(lambda state: state["update_step"] >= 3 or ended(state), PATIENCE_S)
    assert training["is_training"], training["error"]
    assert meter.used() > before + WOBBLE
    if how == "stop":
        service.stop_training()
    else:
        (worker,) = [row["pid"] for row in service.system.processes() if row["role"] == "worker"]
        os.kill(worker, signal.SIGKILL)
    state = service.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == ("stopped" if how == "stop" else "failed"), state["error"]
    assert settled(meter.used, before + WOBBLE) <= before + WOBBLE


def test_memory_of_another_process_is_shown_and_does_not_disturb(device, configured, service, meter, other_process):
    """Readings rise and fall with it, and a run next to it trains to its end."""
    before = meter.used()
    process = other_process()
    assert meter.used() >= before + HELD
    service.start(configured(epochs=1))
    state = service.wait_for(ended, PATIENCE_S)
    assert state["end_reason"] == "completed", state["error"]
    assert meter.used() >= before + HELD - WOBBLE
    process.kill()
    process.wait()
    assert settled(meter.used, before + WOBBLE) <= before + WOBBLE


def test_the_system_tab_shows_the_readings_of_the_device(device, service):
    """REST returns name, memory, utilization and temperature, within sensible bounds, now and as history."""
    from onetrainer_gradio.api.app import create_api
    from onetrainer_gradio.service.host.access import Access, AccessSettings

    with TestClient(create_api(service, Access(AccessSettings())), base_url="http://127.0.0.1:7860") as client:
        answer = client.get("/api/system/resources").json()
        devices = client.get("/api/system/info").json()["devices"]
    assert answer["now"]["gpus"], "NVML reports no GPU"
    gpu = answer["now"]["gpus"][0]
    assert gpu["name"]
    assert 0 < gpu["memory_used"] <= gpu["memory_total"]
    assert gpu["utilization"] is None or 0 <= gpu["utilization"] <= 100
    assert gpu["temperature"] is None or 0 < gpu["temperature"] < 120
    assert gpu["power"] is None or gpu["power"] >= 0
    assert devices[0]["memory_total"] == gpu["memory_total"]
    assert answer["history"]["seconds"]["gpus"][0]["memory_used"]
    if device != "cpu":
        import torch

        # for a partitioned GPU (MIG), NVML reports the whole
        assert gpu["memory_total"] >= 0.9 * torch.cuda.get_device_properties(0).total_memory


def test_an_unknown_gpu_does_not_hide_the_others(reader):
    """A GPU that the driver has lost is omitted; the others are read."""
    from onetrainer_gradio.service.host.system import NvmlReader
    from tests.gpu.conftest import NvmlError, counting_library

    library = counting_library()
    library.nvmlDeviceGetCount = lambda: 2

    def handle(index: int) -> int:
        if index == 0:
            raise NvmlError
        return index

    library.nvmlDeviceGetHandleByIndex = handle
    assert [gpu["index"] for gpu in NvmlReader(library).read()] == [1]

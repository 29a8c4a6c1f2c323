"""Runs on a GPU, and their rehearsal on the CPU: each test has a ``device`` and does the same on both.

On a GPU the models are the demo's and Stable Diffusion 1.5 at full size with random weights; on the CPU the latter has few
channels. ``pytest -m gpu`` runs the tests on the GPU; if torch finds none, they are skipped with that reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from benchmarks.gpu_runs import DEMO_MODEL, FULL_SIZE, REDUCED, configuration, random_sd15, write_images
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.service.host.system import NvmlReader
from tests.engine.recording import FakeControl, Recorder

# cuBLAS reads it once, when it is first used: without it, matrix products are not reproducible
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

CUDA = "cuda"
MIB = 1 << 20


def no_gpu() -> str:
    """Return why nothing can run on a GPU here; empty if it can."""
    import torch

    if torch.cuda.is_available():
        return ""
    return f"no GPU: torch {torch.__version__} finds no CUDA device on this machine"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize every test with a device twice: for the GPU, and as a rehearsal."""
    if "device" in metafunc.fixturenames:
        # libraries' warnings on a GPU are unknown until one is tried: they are shown, and fail no test
        card = pytest.param(CUDA, marks=[pytest.mark.gpu, pytest.mark.filterwarnings("default")])
        metafunc.parametrize("device", ["cpu", card], indirect=True, scope="session")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device that the test runs on."""
    reason = no_gpu() if request.param == CUDA else ""
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: with several, tiny models are slower because the threads wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Subject:
    """A model to train, its images and its resolution."""

    model: Path
    images: Path
    resolution: int


@pytest.fixture(scope="session")
def subjects(device: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Subject]:
    """The models by name, each created once: ``demo``, and ``sd15`` at full size on a GPU."""
    made: dict[str, Subject] = {}

    def get(name: str) -> Subject:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            size = REDUCED if device == "cpu" else FULL_SIZE
            resolution = 64 if name == "demo" else size["resolution"]
            model = DEMO_MODEL if name == "demo" else random_sd15(folder / "model", reduced=device == "cpu", device=device)
            made[name] = Subject(model, write_images(folder / "images", side=resolution), resolution)
        return made[name]

    return get


@pytest.fixture
def configured(device: str, subjects: Callable[[str], Subject], tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that creates the configuration of a run on the device."""

    def make(model: str = "demo", *, method: str = "LORA", dtype: str = "FLOAT_32", **changes: Any) -> TrainConfig:
        subject = subjects(model)
        # a full fine-tune at full size fits 24 GB with one image per step
        batch = 1 if (model, method) == ("sd15", "FINE_TUNE") else 2
        changes = {"resolution": str(subject.resolution), "batch_size": batch, **changes}
        return configuration(tmp_path, subject.model, subject.images, method=method, dtype=dtype, device=device, **changes)

    return make


@pytest.fixture
def train() -> Callable[..., Recorder]:
    """Run the engine to its end."""
    from onetrainer_gradio.backends.backend import RunContext
    from onetrainer_gradio.backends.builtin import BACKEND

    def go(config: TrainConfig, recorder: Recorder | None = None, control: FakeControl | None = None, **options: Any) -> Recorder:
        recorder = recorder or Recorder()
        BACKEND.run(config, RunContext(recorder, control or FakeControl(), RunOptions(**options)))
        return recorder

    return go


# -- used memory


def allocated(device: str) -> int:
    """Return the bytes that tensors of this process use on the GPU; 0 on the CPU, where nothing counts them."""
    import torch

    return torch.cuda.memory_allocated() if device != "cpu" else 0


@dataclass(frozen=True)
class Meter:
    """The memory that all processes together use on the device, and the reader behind it.

    On the CPU it uses NVML's own calls as well, answered by a library that counts the memory of this process's children.
    """

    reader: NvmlReader

    def used(self) -> int:
        """Bytes in use."""
        gpus = self.reader.read()
        if not gpus or gpus[0]["memory_used"] is None:
            pytest.skip("the driver does not report the memory in use of this GPU (NVML is missing or not permitted)")
        return int(gpus[0]["memory_used"])


class NvmlError(Exception):
    """What the stand-in of NVML raises."""


def counting_library() -> Any:
    """Return NVML's calls for one GPU whose used memory is that of the processes that this one started."""

    def memory(handle: object) -> SimpleNamespace:
        used = MIB  # a driver takes some for itself
        for child in psutil.Process().children(recursive=True):
            try:
                used += child.memory_info().rss
            except psutil.Error:
                continue
        return SimpleNamespace(used=used, total=psutil.virtual_memory().total)

    def unsupported(*_: object) -> Any:
        raise NvmlError

    return SimpleNamespace(
        NVMLError=NvmlError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: "a rehearsal",
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=50),
        nvmlDeviceGetTemperature=lambda handle, kind: 40,
        nvmlDeviceGetPowerUsage=unsupported,
        nvmlDeviceGetEnforcedPowerLimit=unsupported,
    )


@pytest.fixture
def reader(device: str) -> Callable[[], NvmlReader]:
    """Return a function that creates the reader of the System tab: the driver's on a GPU."""
    return NvmlReader if device != "cpu" else lambda: NvmlReader(counting_library())


@pytest.fixture
def meter(reader: Callable[[], NvmlReader]) -> Meter:
    """Return a meter of the used memory."""
    return Meter(reader())


@contextmanager
def deterministic() -> Iterator[None]:
    """Make every operation in the block reproducible, on a GPU too."""
    import warnings

    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            warnings.simplefilter("ignore")  # of operations without a deterministic form, none of which is in a training step
            yield
    finally:
        torch.use_deterministic_algorithms(False)

"""The machine's devices are detected without torch.

Covers ``config/device.py``.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

from onetrainer_gradio.config.machine import Gpu, Machine, cards_of, existing_ancestor, free_bytes


def test_this_machine_is_described_without_torch():
    """The device is a valid setting, and no heavy library was imported."""
    before = "torch" in sys.modules
    machine = Machine.here()
    assert machine.device in ("cpu", "cuda", "mps")
    assert machine.gpus or machine.device != "cuda" or machine.gpus is None
    assert ("torch" in sys.modules) == before


def test_free_space_is_reported_for_folders_that_do_not_exist_yet(tmp_path):
    """The disk is that of the nearest existing parent folder."""
    place = tmp_path / "not" / "there" / "yet"
    assert existing_ancestor(place) == tmp_path
    assert free_bytes(place)
    assert existing_ancestor(Path("/nowhere/at/all")) == Path("/")


def test_cards_are_described_by_the_library_of_the_driver():
    """Older versions return names as bytes; without a loaded driver the GPUs are unknown."""

    class RefusedError(Exception):
        pass

    log = []
    library = SimpleNamespace(
        NVMLError=RefusedError,
        nvmlInit=lambda: log.append("open"),
        nvmlShutdown=lambda: log.append("closed"),
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: (b"old", "new")[handle],
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=24 * 1024**3),
        nvmlDeviceGetCudaComputeCapability=lambda handle: [8, 6 + handle],
    )
    assert cards_of(library) == (Gpu("old", 24 * 1024**3, (8, 6)), Gpu("new", 24 * 1024**3, (8, 7)))
    assert log == ["open", "closed"]

    def refuse():
        raise RefusedError

    assert cards_of(SimpleNamespace(NVMLError=RefusedError, nvmlInit=refuse)) is None

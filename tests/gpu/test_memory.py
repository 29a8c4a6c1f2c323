"""Running out of memory has its own error, and afterwards the memory is free."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from onetrainer_gradio.errors import OutOfMemoryError
from onetrainer_gradio.events import StepDone
from tests.engine.recording import Recorder
from tests.gpu.conftest import MIB, allocated

pytestmark = pytest.mark.slow

WORKSPACE = 128 * MIB


@contextmanager
def little_memory(device: str) -> Iterator[None]:
    """Limit the memory within the block to less than a run needs: the GPU's, or on the CPU what a module requests."""
    import torch

    if device != "cpu":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 8 * MIB) / total)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: torch.empty(1 << 50))
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.exhaustive
def test_a_device_with_little_memory_ends_the_run_with_its_cause(device, configured, train):
    """The error has a suggestion, nothing remains on the device, and the next run in the same process trains."""
    before = allocated(device)
    with little_memory(device), pytest.raises(OutOfMemoryError) as raised:
        train(configured())
    assert "batch size" in raised.value.suggestion
    assert allocated(device) <= before + WORKSPACE
    assert len(train(configured(), max_steps=2).losses) == 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("optimizer", ["ADAMW", "ADAFACTOR"])
def test_memory_that_runs_out_in_the_middle_is_free_even_while_the_error_is_kept(device, configured, train, optimizer):
    """A notebook keeps the last error and its frames, but neither they nor gradient hooks keep the model."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    def alive() -> list[object]:
        return [item for item in gc.get_objects() if type(item) is UNet2DConditionModel]

    gc.collect()
    before = allocated(device)
    others = weakref.WeakSet(alive())  # of other tests in this process
    models = []

    def on(event: object) -> None:
        if isinstance(event, StepDone) and event.update_step == 2:
            models.extend(weakref.ref(model) for model in alive() if model not in others)
            torch.empty(1 << 50, device=device)

    with pytest.raises(OutOfMemoryError) as raised:
        train(configured(optimizer__optimizer=optimizer, optimizer__fused_back_pass=optimizer != "ADAMW"), Recorder(on=on))
    assert raised.value.__cause__ is not None
    gc.collect()
    assert models
    assert [model for model in models if model() is not None] == []
    assert allocated(device) <= before + WORKSPACE


def test_another_process_that_has_taken_the_memory_is_no_missing_device(device):
    """The driver's message for missing memory is recognized, even at the first use of the device."""
    from onetrainer_gradio.engine.failures import translate

    for text in (
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "HIP error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "MPS backend out of memory (MPS allocated: 1 GB)",
    ):
        assert isinstance(translate(RuntimeError(text)), OutOfMemoryError), text
    assert translate(RuntimeError("CUDA error: device-side assert triggered")) is None


@pytest.mark.exhaustive
def test_the_precision_of_one_run_is_not_that_of_the_next(device, configured, train):
    """TFLOAT_32 doesn't stay on in a process that trains in fp32 afterwards."""
    import torch

    train(configured(dtype="FLOAT_32", train_dtype="TFLOAT_32"), max_steps=1)
    assert torch.backends.cuda.matmul.allow_tf32 is True
    train(configured(), max_steps=1)
    assert torch.backends.cuda.matmul.allow_tf32 is False

"""The model's components are on the device while they are needed, and on the temp device otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from onetrainer_gradio.config import RunOptions
from tests.engine.recording import FakeControl, Recorder

pytestmark = pytest.mark.slow


def places(model: Any) -> dict[str, str]:
    """Return the kind of device of each component."""
    found = {name: {parameter.device.type for parameter in module.parameters()} for name, module in model.components.items()}
    return {name: "+".join(sorted(kinds)) for name, kinds in found.items()}


@contextmanager
def loaded(config: Any) -> Iterator[Any]:
    """Return a loaded and planned run with a filled cache."""
    from onetrainer_gradio.engine.lean_imports import unused_omitted

    with unused_omitted():
        from onetrainer_gradio.engine import training
        from onetrainer_gradio.engine.reporter import RunReporter

        run = training.load(config, RunOptions(), RunReporter(Recorder(), FakeControl()))
        try:
            run.plan()
            yield run
        finally:
            run.close()
            del run
            training.release_memory()


def test_components_go_to_the_temp_device_and_back(device, configured):
    """Only the denoiser stays while training from a cache; a sample moves what it needs and then back."""
    kind = device.split(":")[0]
    resting = {"unet": kind, "vae": "cpu", "text_encoder": "cpu"}
    with loaded(configured(temp_device="cpu:0" if device == "cpu" else "cpu")) as run:
        assert places(run.model) == resting
        with run.eval_mode():
            assert places(run.model) == resting
            run.model.place("text_encoder")
            assert places(run.model) == {"unet": "cpu", "vae": "cpu", "text_encoder": kind}
        assert places(run.model) == resting
        # the adapters and the optimizer's parameters moved with the denoiser
        assert {parameter.device.type for parameter in run.parameters} == {kind}
        run._set_training()
        run.micro_step(next(iter(run.data.batches(0))))
        assert {tensor.device.type for state in run.optimizer.state.values() for tensor in state.values() if tensor.ndim} == {
            kind
        }


@pytest.mark.exhaustive
def test_with_one_device_for_both_everything_is_on_it(device, configured):
    """No component remains where it was loaded."""
    kind = device.split(":")[0]
    with loaded(configured(temp_device=device)) as run:
        assert set(places(run.model).values()) == {kind}
        run._set_training()
        run.micro_step(next(iter(run.data.batches(0))))


@pytest.mark.exhaustive
def test_a_cache_that_is_gone_is_made_again_in_the_middle_of_training(device, configured):
    """The encoding components come from the temp device for it, and return to it."""
    config = configured()
    with loaded(config) as run:
        batches = iter(run.data.batches(0))
        next(batches)
        resting = places(run.model)
        run.data._images._held.clear()
        run.data._texts._held.clear()
        shutil.rmtree(config.cache_dir)
        run._set_training()
        run.micro_step(next(batches))
        assert places(run.model) == resting


def test_a_device_that_is_not_there_is_named(device, configured):
    """Train device and temp device are each named at their setting."""
    from onetrainer_gradio.engine import precision
    from onetrainer_gradio.errors import UnsupportedError

    for path in ("train_device", "temp_device"):
        for name in ("cuda:99", "mps", "nonsense"):
            with pytest.raises(UnsupportedError, match=name) as raised:
                precision.device_of(name, path)
            assert raised.value.path == path

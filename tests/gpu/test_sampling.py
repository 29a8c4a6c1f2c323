"""Samples during training are generated on the device, with and without EMA, and are reproducible by seed."""

from __future__ import annotations

import numpy
import pytest
from PIL import Image

from onetrainer_gradio.commands import SampleCustom, SampleDefault
from onetrainer_gradio.events import SampleGenerated, StepDone, WarningIssued
from tests.engine.recording import FakeControl, Recorder, after_step
from tests.gpu.conftest import deterministic

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


@pytest.mark.parametrize(("model", "dtype"), [("demo", "FLOAT_32"), ("demo", "BFLOAT_16"), ("sd15", "FLOAT_16")])
def test_samples_are_generated_between_two_steps(device, configured, train, model, dtype):
    """Default and custom samples at the same step are identical, and the run continues."""
    config = configured(model, dtype=dtype, sample_image_format="PNG", epochs=3)
    side = int(config.resolution)
    sample = {"prompt": "a gradient", "width": side, "height": side, "seed": 3, "diffusion_steps": 3, "noise_scheduler": "EULER"}
    config = config.model_copy(update={"samples": (config_sample(sample),)})
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, 2, SampleDefault(), SampleCustom(params=sample), SampleCustom(params=sample | {"seed": 4}))
    with deterministic():
        train(config, recorder, control, max_steps=4)
    made = recorder.of(SampleGenerated)
    assert len(made) == 3, [warned.message for warned in recorder.of(WarningIssued)]
    default, same, other = (numpy.asarray(Image.open(one.path)).astype(int) for one in made)
    assert default.shape == (side, side, 3)
    assert abs(default - same).max() <= 1
    assert abs(default - other).max() > 1
    assert len(recorder.of(StepDone)) == 4


@pytest.mark.parametrize("where", ["GPU", "CPU"])
def test_samples_show_the_average_and_leave_the_weights_alone(device, configured, train, where):
    """With EMA on the device and in system RAM, training continues with the same numbers as without samples."""
    settings = {"ema": where, "ema_decay": 0.9, "non_ema_sampling": True, "learning_rate": 0.02, "epochs": 3}
    sample = {"prompt": "a gradient", "width": 64, "height": 64, "seed": 3, "diffusion_steps": 2, "noise_scheduler": "DDIM"}
    config = configured(sample_image_format="PNG", **settings)
    config = config.model_copy(update={"samples": (config_sample(sample),)})
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, 3, SampleDefault())
    with deterministic():
        train(config, recorder, control, max_steps=5)
        plain = train(config, max_steps=5)
    averaged, last = recorder.of(SampleGenerated)
    assert (averaged.ema, last.ema) == (True, False)
    assert recorder.losses == plain.losses


def config_sample(values: dict[str, object]):
    from onetrainer_gradio.config import SampleConfig

    return SampleConfig.model_validate(values)

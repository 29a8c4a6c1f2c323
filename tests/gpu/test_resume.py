"""A resumed run is bitwise identical to an uninterrupted one, in every data type and with both methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetrainer_gradio.commands import BackupNow, Stop
from onetrainer_gradio.events import BackupCreated, ModelSaved, Resumed
from tests.engine.recording import FakeControl, Recorder, after_step
from tests.gpu.conftest import deterministic

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

AT, END = 2, 5


@pytest.mark.parametrize(
    ("model", "method", "dtype"),
    [
        ("demo", "LORA", "FLOAT_32"),
        ("demo", "LORA", "BFLOAT_16"),
        ("demo", "LORA", "FLOAT_16"),
        ("demo", "FINE_TUNE", "FLOAT_16"),
        ("sd15", "LORA", "BFLOAT_16"),
    ],
)
def test_a_resumed_run_equals_one_that_was_never_interrupted(device, configured, train, tmp_path, model, method, dtype):
    """This covers losses and saved weights, with EMA, and with the loss scaler of fp16."""
    from safetensors.torch import load_file

    changes = {"ema": "GPU", "ema_decay": 0.9, "output_dtype": "FLOAT_32", "epochs": 3}
    config = configured(model, method=method, dtype=dtype, **changes)
    with deterministic():
        recorder, control = Recorder(), FakeControl()
        after_step(recorder, control, AT, BackupNow())
        train(config, recorder, control, max_steps=END)
        whole = recorder.losses, load_file(recorder.of(ModelSaved)[-1].path)
        (backup,) = recorder.of(BackupCreated)
        again = train(config, max_steps=END, resume_from=backup.path)
    assert again.of(Resumed)[0].global_step == AT
    assert again.losses == whole[0][AT:]
    tensors = load_file(again.of(ModelSaved)[-1].path)
    assert tensors.keys() == whole[1].keys()
    assert [name for name, tensor in tensors.items() if not bool((tensor == whole[1][name]).all())] == []


def test_a_backup_of_the_device_is_read_without_it(device, configured, train):
    """A machine without a GPU can read optimizer and EMA, and the run continues there."""
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, AT, Stop())
    config = configured(ema="GPU", backup_before_save=True, epochs=3)
    train(config, recorder, control)
    backup = Path(recorder.of(BackupCreated)[-1].path)
    elsewhere = config.model_copy(update={"train_device": "cpu", "ema": "CPU"})
    again = train(elsewhere, max_steps=END, resume_from=str(backup))
    assert [step.global_step for step in again.steps] == list(range(recorder.steps[-1].global_step + 1, END + 1))

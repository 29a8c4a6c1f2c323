"""LoRA and full fine-tune in fp32, bf16 and fp16: finite losses that agree, weights that change, complete files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.gpu_runs import DTYPES, METHODS
from onetrainer_gradio.events import BackupCreated, ModelSaved, RunPlanned
from tests.gpu.conftest import MIB, allocated, deterministic

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

STEPS = 3
# cuBLAS keeps working memory for the life of the process
WORKSPACE = 128 * MIB


@pytest.mark.parametrize("model", ["demo", "sd15"])
@pytest.mark.parametrize("method", METHODS)
def test_every_data_type_trains(device, configured, train, model, method):
    """The first loss is that of fp32 within rounding, the saved file has finite numbers, and the memory is free afterwards."""
    from safetensors.torch import load_file

    before = allocated(device)
    steps = STEPS if device == "cpu" else 8  # the loss scaler of fp16 may skip the first
    first = {}
    for dtype in DTYPES:
        config = configured(model, method=method, dtype=dtype, epochs=steps)
        recorder = train(config, max_steps=steps)
        losses = recorder.losses
        assert len(losses) == steps
        assert all(map(math.isfinite, losses)), (dtype, losses)
        first[dtype] = losses[0]
        (saved,) = recorder.of(ModelSaved)
        tensors = load_file(saved.path)
        assert all(bool(tensor.isfinite().all()) for tensor in tensors.values()), dtype
        if method == "LORA":
            assert any(bool(tensor.any()) for name, tensor in tensors.items() if "lora_up" in name), dtype
        Path(saved.path).unlink()  # gigabytes at full size
    assert first["BFLOAT_16"] == pytest.approx(first["FLOAT_32"], rel=0.1)
    assert first["FLOAT_16"] == pytest.approx(first["FLOAT_32"], rel=0.05)
    assert allocated(device) <= before + WORKSPACE


@pytest.mark.parametrize("model", ["demo", "sd15"])
def test_gradient_checkpointing_changes_nothing_but_memory(device, configured, train, model):
    """The losses are the same within rounding."""
    losses = [train(configured(model, unet__gradient_checkpointing=on), max_steps=STEPS).losses for on in (False, True)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_a_trained_text_encoder_and_no_cache(device, configured, train):
    """Images and captions are encoded in each step, on the device."""
    cached = train(configured(text_encoder__train=True, text_encoder__weight_dtype="FLOAT_32"), max_steps=STEPS)
    live = train(
        configured(text_encoder__train=True, text_encoder__weight_dtype="FLOAT_32", latent_caching=False), max_steps=STEPS
    )
    assert cached.of(RunPlanned)[0].learning_rates == ("text_encoder_lora", "unet_lora")
    assert all(map(math.isfinite, live.losses))
    assert sorted(live.losses) != []


def test_the_loss_scaler_of_fp16_backs_off_and_is_kept(device, configured, train):
    """Whether or not fp16 gradients overflow at the first scale, the run continues, and a backup stores the scale."""
    recorder = train(configured(dtype="FLOAT_16", backup_before_save=True), max_steps=STEPS)
    meta = json.loads((Path(recorder.of(BackupCreated)[0].path) / "meta.json").read_text())
    assert json.dumps(meta).count("loss_scale") >= 1
    assert all(map(math.isfinite, recorder.losses))


@pytest.mark.parametrize("where", ["GPU", "CPU"])
def test_the_average_is_the_same_wherever_it_is_kept(device, configured, train, where):
    """With EMA on the device and in system RAM, the saved weights are the average, and equal within rounding."""
    from safetensors.torch import load_file

    changes = {"ema": where, "ema_decay": 0.9, "output_dtype": "FLOAT_32"}
    elsewhere = {**changes, "ema": {"GPU": "CPU", "CPU": "GPU"}[where]}
    saved = []
    with deterministic():
        for settings in (changes, elsewhere, {"output_dtype": "FLOAT_32"}):
            saved.append(load_file(train(configured(**settings), max_steps=STEPS).of(ModelSaved)[0].path))
    averaged, other, last = saved
    assert any(not bool((averaged[name] == last[name]).all()) for name in averaged)
    for name, tensor in averaged.items():
        assert tensor.allclose(other[name], atol=1e-6), name

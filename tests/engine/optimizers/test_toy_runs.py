"""Complete runs with optimizers that need more from the training loop than a
step, with a two-layer family (engine/training.py).
"""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from onetrainer_gradio.commands import BackupNow
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.events import BackupCreated, RunPlanned
from tests.engine.optimizers.toy import AVAILABLE, WORKING
from tests.engine.recording import FakeControl, Recorder, after_step
from tests.engine.test_toy_run import SAMPLE, _registered, model, toy  # noqa: F401

pytestmark = pytest.mark.slow

SPECIAL = [
    name
    for name in (
        Optimizer.SCHEDULE_FREE_ADAMW,
        Optimizer.PRODIGY_PLUS_SCHEDULE_FREE,
        Optimizer.PRODIGY_ADV,
        Optimizer.ADAFACTOR,
        Optimizer.CAME,
        Optimizer.MUON,
    )
    if name in AVAILABLE
]


def chosen(toy, name, **changes):  # noqa: F811
    """Return a run of twelve micro-batches with the parameters that the form sets."""
    parameters = {"optimizer": name, **OPTIMIZERS[name].defaults, **WORKING.get(name, {}), **changes.pop("parameters", {})}
    rate = 1.0 if OPTIMIZERS[name].adaptive else 1e-2
    return toy(optimizer=parameters, learning_rate=rate, epochs=4, **changes)


def final(config):
    return load_file(config.output_model_destination)


@pytest.mark.exhaustive
@pytest.mark.parametrize("early", [False, True], ids=["after", "during"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name != SPECIAL[0])) for name in SPECIAL])
def test_a_run_resumes_bit_for_bit(toy, train, tmp_path, name, early):  # noqa: F811
    """With bfloat16 weights, accumulation and samples, the resumed run has the losses and weights of the uninterrupted one."""
    if early and not OPTIMIZERS[name].fused_back_pass:
        pytest.skip("it has no fused back pass")
    whole = chosen(
        toy,
        name,
        parameters={"fused_back_pass": early, "stochastic_rounding": True, "muon_hidden_layers": "image"},
        lora_weight_dtype="BFLOAT_16",
        gradient_accumulation_steps=2,
        clip_grad_norm=1.0,
        learning_rate_warmup_steps=0,
        samples=[SAMPLE],
        sample_after=1,
        sample_after_unit="EPOCH",
    )
    recorder, control = Recorder(), FakeControl()
    after_step(recorder, control, 3, BackupNow())
    train(whole, recorder, control)
    (backup,) = recorder.of(BackupCreated)
    resumed = whole.model_copy(update={"output_model_destination": str(tmp_path / "resumed.safetensors")})
    _, again = train(resumed, resume_from=backup.path)
    assert again.losses == recorder.losses[3:]
    assert [step.learning_rates for step in again.steps] == [step.learning_rates for step in recorder.steps[3:]]
    one, other = final(whole), final(resumed)
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    assert all(step.grad_norm and step.grad_norm > 0 for step in recorder.steps)


@pytest.mark.exhaustive
@pytest.mark.skipif(Optimizer.SCHEDULE_FREE_ADAMW not in AVAILABLE, reason="its library isn't installed")
def test_samples_of_a_schedule_free_optimizer_change_nothing(toy, train):  # noqa: F811
    """They use the averaged weights; the losses equal those of a run without samples."""
    losses = []
    for samples in ([SAMPLE], []):
        config = chosen(
            toy,
            Optimizer.SCHEDULE_FREE_ADAMW,
            samples=samples,
            sample_after=1,
            sample_after_unit="STEP",
            learning_rate_warmup_steps=0,
        )
        losses.append(train(config)[1].losses)
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", [name for name in AVAILABLE if OPTIMIZERS[name].schedule_free])
def test_a_schedule_free_run_begins_without_a_sample(toy, train, name):  # noqa: F811
    """The start of the loop alone switches the optimizer to its training mode."""
    config = chosen(toy, name, sample_after_unit="NEVER", learning_rate_warmup_steps=0)
    assert len(train(config)[1].steps) == 12


@pytest.mark.skipif(Optimizer.MUON not in AVAILABLE, reason="its library isn't installed")
def test_the_plan_names_the_groups_of_muon(toy, train):  # noqa: F811
    """There is one rate for hidden layers, one for the rest."""
    config = chosen(toy, Optimizer.MUON, parameters={"muon_hidden_layers": "image"}, learning_rate_warmup_steps=0)
    _, recorder = train(config)
    (plan,) = recorder.of(RunPlanned)
    assert plan.learning_rates == ("unet_lora_muon", "unet_lora_adam")
    assert recorder.steps[0].learning_rates == (1e-2, 3e-4)


def test_a_custom_scheduler_sets_the_rates_of_a_run(toy, train):  # noqa: F811
    """Each step reports the rate that it used."""
    config = toy(
        learning_rate=0.1,
        learning_rate_scheduler="CUSTOM",
        custom_learning_rate_scheduler="torch.optim.lr_scheduler.StepLR",
        scheduler_params=[{"key": "step_size", "value": "2"}, {"key": "gamma", "value": "0.5"}],
        learning_rate_warmup_steps=0,
    )
    rates = [step.learning_rates[0] for step in train(config)[1].steps]
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])

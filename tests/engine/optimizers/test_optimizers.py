"""Every optimizer that works on a CPU is created, trains, and resumes bitwise identically.

Covers ``engine/optimizers/``, ``config/optimizer_libraries.py``.
"""

from __future__ import annotations

import io

import pytest
import torch

from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.optimizer_libraries import Library
from onetrainer_gradio.engine import optimizers
from onetrainer_gradio.engine.optimizers.recipes import RECIPES
from onetrainer_gradio.engine.unsupported import findings
from onetrainer_gradio.errors import ConfigValueError
from tests.engine.optimizers.toy import AVAILABLE, chosen, groups, loss, weights

STEPS, LONG = 4, 25


def stepped(optimizer, parameters, start, end):
    """Train from one step to another and return the losses."""
    seen = []
    for step in range(start, end):
        optimizers.seed_rounding(optimizer, step)
        value = loss(parameters, step)
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen.append(value.item())
    return seen


def made(config, parameters):
    optimizer = optimizers.make_optimizer(config, groups(parameters, config.learning_rate))
    optimizers.set_training(optimizer, config)
    return optimizer


def reloaded(state):
    """Return the state as a backup restores it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def test_there_is_a_recipe_for_each_of_the_43():
    """Every name has a class."""
    assert set(RECIPES) == set(Optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("name", AVAILABLE)
def test_it_trains(name):
    """The loss falls."""
    config, parameters = chosen(name), weights()
    optimizer = made(config, parameters)
    before = loss(parameters).item()
    stepped(optimizer, parameters, 0, LONG)
    assert loss(parameters).item() < before


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", AVAILABLE)
def test_it_resumes_bit_for_bit(name, dtype):
    """After saving and loading the state, the weights are the same as without."""
    config, parameters = chosen(name), weights(dtype)
    optimizer = made(config, parameters)
    stepped(optimizer, parameters, 0, STEPS)
    before = [weight.detach().clone() for weight in parameters]
    state = reloaded(optimizers.saved_state(optimizer, config))
    stepped(optimizer, parameters, STEPS, 2 * STEPS)

    again = weights(dtype)
    with torch.no_grad():
        for weight, value in zip(again, before, strict=True):
            weight.copy_(value)
    other = optimizers.make_optimizer(config, groups(again, config.learning_rate))
    optimizers.load_state(other, state, config)
    optimizers.set_training(other, config)
    stepped(other, again, STEPS, 2 * STEPS)
    for weight, resumed in zip(parameters, again, strict=True):
        assert torch.equal(weight, resumed)


def test_schedule_free_weights_are_averaged_within_the_block_only():
    """Samples and saves use the average; afterwards the trained weights are restored bitwise."""
    config, parameters = chosen("SCHEDULE_FREE_ADAMW"), weights()
    optimizer = made(config, parameters)
    stepped(optimizer, parameters, 0, STEPS)
    before = [weight.detach().clone() for weight in parameters]
    with optimizers.evaluated(optimizer, config):
        assert not any(torch.equal(weight, kept) for weight, kept in zip(parameters, before, strict=True))
    assert all(torch.equal(weight, kept) for weight, kept in zip(parameters, before, strict=True))
    stepped(optimizer, parameters, STEPS, STEPS + 1)


@pytest.mark.slow
def test_adaptive_optimizers_report_the_rate_that_they_use():
    """It is the estimate times the configured rate."""
    config, parameters = chosen("PRODIGY"), weights()
    optimizer = made(config, parameters)
    stepped(optimizer, parameters, 0, LONG)
    reported = optimizers.reported_rates(optimizer, config)
    assert reported == tuple(group["d"] * 0.1 for group in optimizer.param_groups)
    assert reported[0] > 0.1 * 1e-3


def test_muon_trains_hidden_layers_and_adam_the_rest():
    """Groups are by component and kind, each with its learning rate; vectors are never hidden layers."""
    config, parameters = chosen("MUON", muon_hidden_layers="block,bias", muon_te1_adam_lr=0.25), weights()
    optimizer = made(config, parameters)
    assert optimizers.group_names(optimizer) == ("unet_muon", "text_encoder_muon", "text_encoder_adam")
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.01, 0.25]
    assert optimizer.param_groups[2]["params"] == [parameters[2]]


def test_parameters_that_the_library_rejects_are_reported():
    """The message is the library's."""
    config = chosen("SCHEDULE_FREE_SGD", momentum=0.0)
    with pytest.raises(ConfigValueError, match="Momentum"):
        made(config, weights())


@pytest.mark.slow
@pytest.mark.parametrize("name", list(Optimizer))
def test_a_missing_library_is_reported_with_the_command_that_installs_it(name, monkeypatch):
    """On a GPU only the library can be missing; without one, optimizers that need a GPU are rejected for that."""
    run = {"training_method": "LORA", "output_model_format": "KOHYA_LORA", "concepts": [{"path": "x"}]}
    document = {**run, "optimizer": {"optimizer": name}}
    on_cpu = {item.message for item in refused({**document, "train_device": "cpu"}) if item.path == "optimizer.optimizer"}
    assert bool(on_cpu) == (name not in AVAILABLE)
    with monkeypatch.context() as patched:
        patched.setattr(Library, "installed", False)
        (missing,) = [item for item in refused({**document, "train_device": "cuda"}) if item.path == "optimizer.optimizer"]
    assert "pip install" in missing.suggestion


def refused(document):
    return findings(from_document(document)[0])

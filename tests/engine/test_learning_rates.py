"""Learning rates set by a user's scheduler class, or by Adafactor itself."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.engine import optimizers
from onetrainer_gradio.engine.learning_rates import AdafactorRates, learning_rates
from onetrainer_gradio.errors import ConfigValueError
from tests.engine.optimizers.toy import chosen, groups, loss, weights


def custom(name: str, warmup: float = 0, **parameters: str) -> TrainConfig:
    rows = [{"key": key, "value": value} for key, value in parameters.items()]
    document = {
        "learning_rate": 0.5,
        "learning_rate_scheduler": "CUSTOM",
        "custom_learning_rate_scheduler": name,
        "scheduler_params": rows,
        "learning_rate_warmup_steps": warmup,
        "epochs": 2,
        "gradient_accumulation_steps": 2,
    }
    return from_document(document)[0]


def sgd() -> torch.optim.Optimizer:
    parameter = torch.nn.Parameter(torch.zeros(1))
    return torch.optim.SGD([{"params": [parameter], "lr": 0.5, "initial_lr": 0.5}])


def rates(config: TrainConfig, steps: int, done: int = 0) -> list[float]:
    """Return the rates of optimizer steps ``done`` to ``steps``, each with the step that the optimizer makes."""
    optimizer = sgd()
    source = learning_rates(config, optimizer, epoch_steps=10, done=done)
    seen = []
    for step in range(done, steps):
        source.before_step(step)
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        source.after_step()
    return seen


def test_a_class_of_torch_sets_the_rates():
    """StepLR with a literal as argument equals torch's, step for step."""
    optimizer = sgd()
    scheduler = StepLR(optimizer, step_size=3, gamma=0.1)
    expected = []
    for _ in range(8):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(custom("torch.optim.lr_scheduler.StepLR", step_size="3", gamma="0.1"), 8) == expected


def test_placeholders_stand_for_the_length_of_the_run():
    """20 micro-batches with an accumulation of two are ten optimizer steps, minus the two of the warmup."""
    half = rates(custom("torch.optim.lr_scheduler.CosineAnnealingLR", warmup=4, T_max="%SCHEDULER_STEPS%"), 10)
    optimizer = sgd()
    scheduler = CosineAnnealingLR(optimizer, T_max=8)
    assert half[:2] == [0.0, 0.25]
    for rate in half[2:]:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("warmup", [0, 4])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("torch.optim.lr_scheduler.StepLR", {"step_size": "2"}),
        ("torch.optim.lr_scheduler.ExponentialLR", {"gamma": "0.9"}),
        ("torch.optim.lr_scheduler.OneCycleLR", {"max_lr": "%LR%", "total_steps": "%TOTAL_STEPS%", "cycle_momentum": "False"}),
    ],
)
def test_a_resumed_run_has_the_rates_of_the_whole_one(name, parameters, warmup):
    """This holds if a class computes a rate from the previous one."""
    config = custom(name, warmup, **parameters)
    assert rates(config, 9, done=5) == rates(config, 9)[5:]


@pytest.mark.parametrize(
    ("name", "parameters", "reason"),
    [
        ("torch.optim.lr_scheduler.NoSuchLR", {}, "NoSuchLR"),
        ("no_such_module.StepLR", {}, "no_such_module"),
        ("collections.OrderedDict", {}, "subclass"),
        ("torch.optim.lr_scheduler.ReduceLROnPlateau", {}, "metrics"),
        ("torch.optim.lr_scheduler.StepLR", {"step_sizes": "3"}, "step_sizes"),
    ],
)
def test_a_class_that_cannot_be_used_is_named(name, parameters, reason):
    """The error contains the setting and the reason."""
    with pytest.raises(ConfigValueError, match=reason) as raised:
        rates(custom(name, **parameters), 1)
    assert raised.value.path == "custom_learning_rate_scheduler"


@pytest.mark.slow
def test_adafactor_reports_the_rates_that_it_computes():
    """Relative steps are 1/100 at first, then depend on the step count, as in transformers' schedule."""
    from transformers.optimization import AdafactorSchedule

    config = chosen("ADAFACTOR", relative_step=True, scale_parameter=True)
    seen = []
    for ours in (True, False):
        parameters = weights()
        optimizer = optimizers.make_optimizer(config, groups(parameters, config.learning_rate))
        source = AdafactorRates(optimizer, started=False) if ours else AdafactorSchedule(optimizer, config.learning_rate)
        rates = []
        for step in range(4):
            if ours:
                source.before_step(step)
            rates.append([float(group["lr"]) for group in optimizer.param_groups])
            loss(parameters, step).backward()
            optimizer.step()
            source.after_step() if ours else source.step()
            optimizer.zero_grad()
        seen.append(torch.tensor(rates))
    assert torch.equal(*seen)


def test_schedule_free_optimizers_have_a_constant_rate():
    """They have their own warmup."""
    config = chosen("SCHEDULE_FREE_ADAMW").model_copy(
        update={"learning_rate_scheduler": "COSINE", "learning_rate_warmup_steps": 8}
    )
    assert rates(config, 4) == [0.5] * 4

"""Each optimizer is created with OneTrainer's arguments.

The fixture has what OneTrainer's own function passed to stand-ins for the classes: with the values
that its form sets, with each of them changed, and with optional ones empty.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from onetrainer_gradio.config import TrainConfig, TrainOptimizerConfig
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizers import AUXILIARY_PARAMETERS, OPTIMIZERS
from onetrainer_gradio.engine.optimizers.recipes import RECIPES
from onetrainer_gradio.engine.optimizers.splitting import auxiliary_arguments
from tests.engine.optimizers.toy import AVAILABLE

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures" / "onetrainer_optimizer_arguments.json").read_text("utf-8"))
OWN = "onetrainer_gradio.engine.optimizers"
# what this package adds to a class of another library, or implements itself
REPLACED = {
    f"{OWN}.adafactor:SteppedAdafactor": "transformers.optimization:Adafactor",
    f"{OWN}.came:CAME": "modules.util.optimizer.CAME:CAME",
    f"{OWN}.came:CAME8bit": "modules.util.optimizer.CAME8bit:CAME8bit",
    f"{OWN}.muon:Muon": "muon:SingleDeviceMuonWithAuxAdam",
    f"{OWN}.adabelief:AdaBelief": "timm.optim.adabelief:AdaBelief",
}
CASES = [(name, case) for name in Optimizer for case in ("defaults", "changed", "empty")]


def settings(name: Optimizer, case: str) -> TrainConfig:
    """Return the settings of a recorded case."""
    defaults = OPTIMIZERS[name].defaults
    nullable = {field for field, value in TrainOptimizerConfig.model_fields.items() if type(None) in _members(value.annotation)}
    values = {
        "defaults": {**defaults, "fused": False},
        "changed": {**defaults, **RECORDED[name]["changed"]["parameters"]},
        "empty": {**dict.fromkeys(nullable), "muon_adam_config": {}},
    }[case]
    optimizer = TrainOptimizerConfig().model_copy(update={"optimizer": name, **values})
    run = {"learning_rate": 0.003, "learning_rate_warmup_steps": 30, "gradient_accumulation_steps": 4}
    return TrainConfig().model_copy(update={"optimizer": optimizer, **run})


def _members(annotation):
    return getattr(annotation, "__args__", ())


def plain(value):
    """Return a value as in JSON."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return "inf" if isinstance(value, float) and math.isinf(value) else value


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_arguments_are_onetrainers(name, case):
    """Names and values are the same, except for those that only our subclasses have."""
    config, recipe = settings(name, case), RECIPES[name]
    assert REPLACED.get(recipe.place, recipe.place) == RECORDED[name]["class"]
    values = {"lr": config.learning_rate, **recipe.values(config)}
    if name in AUXILIARY_PARAMETERS and name != Optimizer.MUON:
        if name not in AVAILABLE:
            pytest.skip("its library isn't installed")
        import adv_optm

        kind = getattr(adv_optm, recipe.place.partition(":")[2])
        values |= auxiliary_arguments(kind, config.optimizer.muon_adam_config or {})
    if name == Optimizer.ADAFACTOR:
        assert values.pop("stochastic_rounding") == config.optimizer.stochastic_rounding
    if name == Optimizer.MUON:
        values = {}
    assert {key: plain(value) for key, value in values.items()} == RECORDED[name][case]["arguments"]


@pytest.mark.skipif(Optimizer.MUON not in AVAILABLE, reason="its library isn't installed")
@pytest.mark.parametrize("case", ["defaults", "changed", "empty"])
def test_the_groups_of_muon_are_onetrainers(case):
    """Muon has parameters per group: the hidden layers', and the auxiliary Adam's."""
    import torch

    from onetrainer_gradio.engine.optimizers.muon import Muon

    config = settings(Optimizer.MUON, case)
    rates = (config.learning_rate, config.optimizer.muon_adam_lr)
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(2, 2))], "lr": rate, "optim_type": kind}
        for rate, kind in zip(rates, ("muon", "adam"), strict=True)
    ]
    made = Muon(groups, lr=config.learning_rate, **RECIPES[Optimizer.MUON].values(config)).param_groups
    for group, recorded in zip(made, RECORDED["MUON"][case]["groups"], strict=True):
        assert {name: plain(group[name]) for name in recorded} == recorded

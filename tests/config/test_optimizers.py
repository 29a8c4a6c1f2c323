"""The parameters of the 43 optimizers equal the recorded ones, and each parameter is a setting."""

import json
import math
from pathlib import Path

import pytest

from onetrainer_gradio.config import TrainOptimizerConfig
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.optimizers import OPTIMIZERS

RECORDED = json.loads((Path(__file__).parent.parent / "fixtures" / "onetrainer_optimizers.json").read_text())


def test_all_43_with_their_460_defaults():
    """No optimizer and no parameter is missing."""
    assert set(OPTIMIZERS) == set(Optimizer)
    assert sum(len(facts.defaults) for facts in OPTIMIZERS.values()) == 460


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RECORDED["defaults"]))
def test_parameters_and_traits_of_an_optimizer(name):
    """Names, values and traits are recorded; each name is a field of the optimizer's settings."""
    facts = OPTIMIZERS[Optimizer(name)]
    expected = {key: math.inf if value == "inf" else value for key, value in RECORDED["defaults"][name].items()}
    assert facts.defaults == expected
    assert set(facts.defaults) <= set(TrainOptimizerConfig.model_fields)
    traits = RECORDED["traits"][name]
    assert [facts.adaptive, facts.schedule_free, facts.fused_back_pass] == list(traits.values())[:3]

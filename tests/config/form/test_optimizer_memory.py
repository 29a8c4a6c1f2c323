"""Switching the optimizer sets its defaults, or its previous values."""

import pytest

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.enums import Optimizer
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.form import patch
from onetrainer_gradio.config.form.optimizer_memory import remembered, switched, with_default_parameters
from onetrainer_gradio.config.optimizers import OPTIMIZERS


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_an_optimizer_never_used_before_gets_its_defaults(optimizer):
    """All its parameters are set as in the table, also if a file has another default."""
    present = switched(TrainConfig(), optimizer).optimizer
    assert present.optimizer is optimizer
    assert {name: getattr(present, name) for name in OPTIMIZERS[optimizer].defaults} == OPTIMIZERS[optimizer].defaults


def test_switching_back_restores_what_was_set():
    """An edit is remembered, survives a file, and returns with its optimizer; the other optimizer keeps its own."""
    config = switched(TrainConfig(), Optimizer.PRODIGY)
    config = remembered(patch.apply(config, {"optimizer.d_coef": 0.5}))
    config = remembered(patch.apply(switched(config, Optimizer.LION), {"optimizer.beta1": 0.8}))
    config, _ = from_document(to_document(config, packed=False))
    assert switched(config, Optimizer.PRODIGY).optimizer.d_coef == 0.5
    assert switched(config, Optimizer.LION).optimizer.beta1 == 0.8
    assert switched(config, Optimizer.PRODIGY).optimizer.growth_rate == float("inf")


def test_loading_the_defaults_forgets_what_was_set():
    """Afterwards, switching to another optimizer and back also gives the defaults."""
    config = remembered(patch.apply(switched(TrainConfig(), Optimizer.LION), {"optimizer.beta1": 0.8}))
    config = with_default_parameters(config)
    assert config.optimizer.beta1 == 0.9
    assert config.optimizer_defaults == {}
    assert switched(switched(config, Optimizer.ADAMW), Optimizer.LION).optimizer.beta1 == 0.9

"""Split the parameter groups into hidden layers, which Muon trains, and all other weights, which an auxiliary Adam trains."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.nn import Parameter

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.layers.muon import hidden_weights
from onetrainer_gradio.engine.methods.method import ParameterGroup
from onetrainer_gradio.engine.optimizers.stepped import Group
from onetrainer_gradio.errors import ConfigValueError

MUON, ADAM = "muon", "adam"
_PREFIX = "adam_"


def split(config: TrainConfig, groups: Sequence[Group], described: Sequence[ParameterGroup]) -> list[Group]:
    """Return the groups, each as one for Muon and one for the auxiliary Adam; empty ones are omitted.

    :raises ConfigValueError: if Muon would have to train a vector, which can't be orthogonalized.
    """
    if not config.optimizer.MuonWithAuxAdam:
        for group in groups:
            if any(weight.ndim < 2 for weight in group["params"]):
                raise ConfigValueError(
                    f"Muon can't train the biases and norms of {group['name']}.",
                    path="optimizer.MuonWithAuxAdam",
                    value=False,
                    expected="on",
                    suggestion="Turn on Muon with auxiliary Adam.",
                )
        return [{**group, "optim_type": MUON} for group in groups]
    names = [name for group in described for name in group.names]
    hidden = hidden_weights(config, names)
    made: list[Group] = []
    at = 0
    for group, facts in zip(groups, described, strict=True):
        kinds: dict[str, list[Parameter]] = {MUON: [], ADAM: []}
        for weight in group["params"]:
            kinds[MUON if at in hidden and weight.ndim != 1 else ADAM].append(weight)
            at += 1
        if kinds[MUON]:
            made.append({**group, "params": kinds[MUON], "optim_type": MUON})
        if kinds[ADAM]:
            rate = _auxiliary_rate(config, facts.part)
            made.append({**group, "params": kinds[ADAM], "optim_type": ADAM, "lr": rate, "initial_lr": rate})
    return made


def _auxiliary_rate(config: TrainConfig, part: str) -> float:
    """Return the learning rate of the auxiliary Adam; the learning rate scaler doesn't apply to it."""
    settings = config.optimizer
    own = {"text_encoder": settings.muon_te1_adam_lr, "text_encoder_2": settings.muon_te2_adam_lr}.get(part)
    rates = (own, settings.muon_adam_lr, config.learning_rate)
    return next(rate for rate in rates if rate is not None)


def auxiliary_arguments(kind: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the auxiliary Adam of a class that prefixes their names; what isn't set has its default."""
    known = [name for name in inspect.signature(kind).parameters if name.startswith(_PREFIX)]
    if not known:
        return {}
    given = {name: settings.get(name.removeprefix(_PREFIX)) for name in known}
    betas = [default if settings.get(name) is None else settings[name] for name, default in (("beta1", 0.9), ("beta2", 0.99))]
    return {name: value for name, value in given.items() if value is not None} | {f"{_PREFIX}betas": tuple(betas)}

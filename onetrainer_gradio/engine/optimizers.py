"""Create the optimizers: OneTrainer's names, their classes, and the settings that each one uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch.optim import Optimizer

from onetrainer_gradio.config import TrainConfig, TrainOptimizerConfig
from onetrainer_gradio.engine.methods.method import ParameterGroup
from onetrainer_gradio.engine.scalers import learning_rate_scale
from onetrainer_gradio.errors import BackupMismatchError

Settings = Callable[[TrainOptimizerConfig], dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """A class and the settings that it uses; ``package`` is the package to install if it is missing."""

    place: str
    settings: Settings
    package: str = ""


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _adam(weight_decay: float) -> Settings:
    def settings(config: TrainOptimizerConfig) -> dict[str, Any]:
        return {
            "betas": (_or(config.beta1, 0.9), _or(config.beta2, 0.999)),
            "eps": _or(config.eps, 1e-8),
            "weight_decay": _or(config.weight_decay, weight_decay),
            "amsgrad": config.amsgrad,
            "foreach": _or(config.foreach, False),
            "maximize": config.maximize,
            "capturable": config.capturable,
            "differentiable": config.differentiable,
            "fused": config.fused,
        }

    return settings


def _sgd(config: TrainOptimizerConfig) -> dict[str, Any]:
    return {
        "momentum": _or(config.momentum, 0.0),
        "dampening": _or(config.dampening, 0.0),
        "weight_decay": _or(config.weight_decay, 0.0),
        "nesterov": config.nesterov,
        "foreach": _or(config.foreach, False),
        "maximize": config.maximize,
        "differentiable": config.differentiable,
    }


def _adafactor(config: TrainOptimizerConfig) -> dict[str, Any]:
    return {
        "eps": (_or(config.eps, 1e-30), _or(config.eps2, 1e-3)),
        "clip_threshold": _or(config.clip_threshold, 1.0),
        "decay_rate": _or(config.decay_rate, -0.8),
        "beta1": config.beta1,
        "weight_decay": _or(config.weight_decay, 0.0),
        "scale_parameter": config.scale_parameter,
        "relative_step": False,
        "warmup_init": False,
    }


OPTIMIZERS: Mapping[str, Recipe] = {
    "ADAMW": Recipe("torch.optim:AdamW", _adam(1e-2)),
    "ADAM": Recipe("torch.optim:Adam", _adam(0.0)),
    "SGD": Recipe("torch.optim:SGD", _sgd),
    "ADAFACTOR": Recipe("transformers.optimization:Adafactor", _adafactor, "transformers"),
}


def make_optimizer(config: TrainConfig, groups: Sequence[ParameterGroup]) -> Optimizer:
    """Return the configured optimizer for ``groups``, with their scaled learning rates.

    The optimizer is one of ``OPTIMIZERS``: ``unsupported`` rejects every other before a run.
    """
    settings = config.optimizer
    recipe = OPTIMIZERS[settings.optimizer]
    module, _, name = recipe.place.partition(":")
    scale = learning_rate_scale(config.learning_rate_scaler, config.batch_size, config.gradient_accumulation_steps)
    parameters = [
        {
            "name": group.name,
            "params": list(group.parameters),
            "lr": group.learning_rate * scale,
            "initial_lr": group.learning_rate * scale,
        }
        for group in groups
    ]
    kind: Callable[..., Optimizer] = getattr(import_module(module), name)
    return kind(parameters, lr=config.learning_rate, **recipe.settings(settings))


def saved_state(optimizer: Optimizer, config: TrainConfig, groups: Sequence[ParameterGroup]) -> dict[str, Any]:
    """Return the content of optimizer.pt: the state and the names of its groups."""
    return optimizer.state_dict() | {
        "param_group_mapping": [group.name for group in groups],
        "param_group_optimizer_mapping": [str(config.optimizer.optimizer)] * len(groups),
    }


def load_state(optimizer: Optimizer, state: dict[str, Any], config: TrainConfig, groups: Sequence[ParameterGroup]) -> None:
    """Load the state of the groups that are in ``state`` with the same name and optimizer; others start from scratch.

    :raises BackupMismatchError: if a group has another number of parameters.
    """
    own = optimizer.state_dict()
    old_names = state.get("param_group_mapping", [group.get("name", "") for group in state["param_groups"]])
    old_optimizers = state.get("param_group_optimizer_mapping", [str(config.optimizer.optimizer)] * len(old_names))
    merged: dict[str, Any] = {"state": {}, "param_groups": []}
    for new, group in zip(own["param_groups"], groups, strict=True):
        merged["param_groups"].append(new)
        if group.name not in old_names:
            continue
        place = old_names.index(group.name)
        if old_optimizers[place] != str(config.optimizer.optimizer):
            continue
        old = state["param_groups"][place]
        if len(old["params"]) != len(new["params"]):
            raise BackupMismatchError(
                f"The optimizer state of the backup has {len(old['params'])} parameters in the group “{group.name}”, "
                f"but the settings train {len(new['params'])}.",
                path="layer_filter",
                expected="the layers that the backup was created with",
                suggestion="Set Layer filter, LoRA rank and the trained components as they were for the backup.",
            )
        for index, old_index in zip(new["params"], old["params"], strict=True):
            if old_index in state["state"]:
                merged["state"][index] = state["state"][old_index]
    optimizer.load_state_dict(merged)


def has_stochastic_rounding_need(groups: Sequence[ParameterGroup]) -> bool:
    """Return whether 16-bit weights are trained, where small updates would be lost without stochastic rounding."""
    return any(parameter.dtype == torch.bfloat16 for group in groups for parameter in group.parameters)

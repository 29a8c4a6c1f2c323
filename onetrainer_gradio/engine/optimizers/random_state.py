"""Handle the random numbers that libraries draw for stochastic rounding, so that a resumed run continues them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

_KEY = "rounding_generators"
_OWN_GENERATORS = "adv_optm"
_GLOBAL = "prodigyplus"


def _library(optimizer: Optimizer) -> str:
    return type(optimizer).__module__.partition(".")[0]


def is_global(optimizer: Optimizer) -> bool:
    """Return whether the optimizer rounds with torch's global generator."""
    return _library(optimizer) == _GLOBAL and any(
        group.get("stochastic_rounding", False) and any(weight.dtype == torch.bfloat16 for weight in group["params"])
        for group in optimizer.param_groups
    )


def _generators(optimizer: Optimizer) -> dict[torch.device, Generator]:
    if _library(optimizer) != _OWN_GENERATORS:
        return {}
    generators: dict[torch.device, Generator] = import_module("adv_optm.util.param_update")._generators
    used = {weight.device for group in optimizer.param_groups for weight in group["params"] if weight.dtype == torch.bfloat16}
    return {device: generator for device, generator in generators.items() if device in used}


def saved(optimizer: Optimizer) -> dict[str, dict[str, Tensor]]:
    """Return the state of the generators by device, as an entry of optimizer.pt; nothing if there are none."""
    states = {str(device): generator.get_state() for device, generator in _generators(optimizer).items()}
    return {_KEY: states} if states else {}


def load(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load the state of the generators of the devices that are still in use."""
    for device, generator in _generators(optimizer).items():
        if (found := state.get(_KEY, {}).get(str(device))) is not None:
            generator.set_state(found)

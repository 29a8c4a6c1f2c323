"""Optimizers that step one parameter at a time: for stochastic rounding, and to step during the backward pass."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from onetrainer_gradio.engine.optimizers.rounding import StochasticRounding

Group = dict[str, Any]


class Stepped(Protocol):
    """An optimizer that can step a single parameter."""

    param_groups: list[Group]

    def step_parameter(self, parameter: Parameter, group: Group, index: int) -> None:
        """Update the parameter at ``index`` of a group from its gradient; without one, do nothing."""
        ...


class SteppedOptimizer(Optimizer):
    """An optimizer whose step is that of each parameter in turn."""

    rounding: StochasticRounding | None = None

    def step_parameter(self, parameter: Parameter, group: Group, index: int = 0) -> None:
        """Update the parameter from its gradient; without one, do nothing."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for index, parameter in enumerate(group["params"]):
                self.step_parameter(parameter, group, index)

"""Adam and AdamW one parameter at a time, with torch's state and the same order of operations as its plain loop."""

from __future__ import annotations

import math

import torch
from torch.nn import Parameter

from onetrainer_gradio.engine.optimizers.rounding import rounding_for
from onetrainer_gradio.engine.optimizers.stepped import Group, SteppedOptimizer


class _SteppedAdam(SteppedOptimizer):
    @torch.no_grad()
    def step_parameter(self, parameter: Parameter, group: Group, index: int = 0) -> None:
        """Update one parameter (arXiv 1412.6980; with decoupled weight decay 1711.05101)."""
        gradient = parameter.grad
        if gradient is None:
            return
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        if group["maximize"]:
            gradient = -gradient
        state["step"] += 1
        beta1, beta2 = group["betas"]
        if group["decoupled_weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        elif group["weight_decay"] != 0:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        mean, variance = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - beta1)
        variance.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = state["step"].item()
        if group["amsgrad"]:
            torch.maximum(state["max_exp_avg_sq"], variance, out=state["max_exp_avg_sq"])
            variance = state["max_exp_avg_sq"]
        divisor = (variance.sqrt() / math.sqrt(1 - beta2**step)).add_(group["eps"])
        size = -group["lr"] / (1 - beta1**step)
        if self.rounding is not None and parameter.dtype == torch.bfloat16:
            exact = parameter.float()
            self.rounding.copy_(parameter, exact.addcdiv_(mean, divisor, value=size))
        else:
            parameter.addcdiv_(mean, divisor, value=size)


class SteppedAdam(_SteppedAdam, torch.optim.Adam):
    """Adam (the moments have the data type of the weights)."""


class SteppedAdamW(_SteppedAdam, torch.optim.AdamW):
    """AdamW (the moments have the data type of the weights)."""


def stepped(plain: torch.optim.Adam, *, rounded: bool, early: bool) -> torch.optim.Adam:
    """Return an optimizer like ``plain`` that steps one parameter at a time if it must: to round, or to step early.

    The groups and their settings are those of ``plain``, which has no state yet.
    """
    rounding = rounding_for(plain.param_groups, rounded)
    if rounding is None and not early:
        return plain
    kind = SteppedAdamW if isinstance(plain, torch.optim.AdamW) else SteppedAdam
    new: torch.optim.Adam = kind(plain.param_groups)
    new.rounding = rounding  # type: ignore[attr-defined]
    return new

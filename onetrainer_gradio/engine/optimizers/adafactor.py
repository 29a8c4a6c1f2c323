"""Adafactor one parameter at a time, with the state and formulas of transformers (arXiv 1804.04235)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import Parameter

from onetrainer_gradio.engine.lean_imports import peft_omitted_by_transformers
from onetrainer_gradio.engine.optimizers.rounding import rounding_for
from onetrainer_gradio.engine.optimizers.stepped import Group, SteppedOptimizer

with peft_omitted_by_transformers():
    from transformers.optimization import Adafactor

HALF = (torch.float16, torch.bfloat16)


class SteppedAdafactor(SteppedOptimizer, Adafactor):  # type: ignore[misc]
    """Adafactor that rounds bfloat16 weights stochastically, and can step during the backward pass."""

    def __init__(self, params: Any, *, stochastic_rounding: bool = False, **settings: Any) -> None:
        Adafactor.__init__(self, params, **settings)
        self.rounding = rounding_for(self.param_groups, stochastic_rounding)

    @torch.no_grad()
    def step_parameter(self, parameter: Parameter, group: Group, index: int = 0) -> None:
        """Update one parameter; all arithmetic and the state are float32."""
        if parameter.grad is None:
            return
        gradient = parameter.grad.float() if parameter.grad.dtype in HALF else parameter.grad
        factored, with_momentum = self._get_options(group, gradient.shape)
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            if with_momentum:
                state["exp_avg"] = torch.zeros_like(gradient)
            if factored:
                state["exp_avg_sq_row"] = gradient.new_zeros(gradient.shape[:-1])
                state["exp_avg_sq_col"] = gradient.new_zeros(gradient.shape[:-2] + gradient.shape[-1:])
            else:
                state["exp_avg_sq"] = torch.zeros_like(gradient)
        weights = parameter.float() if parameter.dtype in HALF else parameter
        state["step"] += 1
        state["RMS"] = self._rms(weights)
        rate = self._get_lr(group, state)
        decay = 1.0 - math.pow(state["step"], group["decay_rate"])
        square = gradient**2 + group["eps"][0]
        if factored:
            row, column = state["exp_avg_sq_row"], state["exp_avg_sq_col"]
            row.mul_(decay).add_(square.mean(dim=-1), alpha=1.0 - decay)
            column.mul_(decay).add_(square.mean(dim=-2), alpha=1.0 - decay)
            update = self._approx_sq_grad(row, column).mul_(gradient)
        else:
            variance = state["exp_avg_sq"]
            variance.mul_(decay).add_(square, alpha=1.0 - decay)
            update = variance.rsqrt().mul_(gradient)
        update.div_((self._rms(update) / group["clip_threshold"]).clamp_(min=1.0))
        update.mul_(rate)
        if with_momentum:
            update = state["exp_avg"].mul_(group["beta1"]).add_(update, alpha=1 - group["beta1"])
        if group["weight_decay"] != 0:
            weights.add_(weights, alpha=-group["weight_decay"] * rate)
        weights.add_(-update)
        if weights is parameter:
            return
        if self.rounding is not None and parameter.dtype == torch.bfloat16:
            self.rounding.copy_(parameter, weights)
        else:
            parameter.copy_(weights)

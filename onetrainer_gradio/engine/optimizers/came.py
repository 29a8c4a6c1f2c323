"""CAME (arXiv 2307.02047) and its 8-bit variant (arXiv 2501.18427), one parameter at a time.

The state is float32 and has the names of the authors' implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Size, Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from onetrainer_gradio.engine.optimizers.rounding import rounding_for
from onetrainer_gradio.engine.optimizers.stepped import Group, SteppedOptimizer

Blocks = list[dict[str, Tensor]]

_LEVELS = 255.0
_MIN_AGREEMENT = 1e-3


class CAME(SteppedOptimizer):
    """Adafactor's factored second moment, scaled by the confidence in the update.

    ``eps`` are added to the squared gradient and to the instability; ``betas`` are the decays of the update, of the squared
    gradient, and of the instability. ``use_cautious`` drops the components whose sign differs from the gradient's
    (arXiv 2411.16085).
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        eps: tuple[float, float],
        betas: tuple[float, float, float],
        weight_decay: float,
        stochastic_rounding: bool,
        use_cautious: bool = False,
        clip_threshold: float = 1.0,
        **more: Any,
    ) -> None:
        defaults = {"lr": lr, "eps": eps, "clip_threshold": clip_threshold, "betas": betas, "weight_decay": weight_decay, **more}
        Optimizer.__init__(self, params, defaults)
        self.use_cautious = use_cautious
        self.rounding = rounding_for(self.param_groups, stochastic_rounding)

    def matrix(self, shape: Size) -> Sequence[int] | None:
        """Return the shape of which rows and columns are averaged, or None if the whole second moment is kept."""
        return shape if len(shape) >= 2 else None

    def packed(self, moment: Tensor, group: Group) -> Tensor | Blocks:
        """Return the first moment as it is stored."""
        return moment

    def unpacked(self, stored: Tensor | Blocks) -> Tensor:
        """Return a stored first moment."""
        assert isinstance(stored, Tensor)
        return stored

    @torch.no_grad()
    def step_parameter(self, parameter: Parameter, group: Group, index: int = 0) -> None:
        """Update one parameter."""
        if parameter.grad is None:
            return
        gradient = parameter.grad.float()
        shape = self.matrix(gradient.shape)
        state = self.state[parameter]
        if not state:
            self._initialize(state, gradient, shape, group)
        state["step"] += 1
        _, beta2, beta3 = group["betas"]
        square = gradient**2 + group["eps"][0]
        if shape is None:
            state["exp_avg_sq"].mul_(beta2).add_(square, alpha=1.0 - beta2)
            update = state["exp_avg_sq"].rsqrt()
        else:
            update = _factored(state, "exp_avg_sq", square.view(shape), beta2).view(gradient.shape)
        update.mul_(gradient)
        update.div_((_rms(update) / group["clip_threshold"]).clamp_(min=1.0))
        momentum = self._momentum(state, update, group)
        if shape is None:
            update = momentum.clone()
        else:
            instability = (update - momentum) ** 2 + group["eps"][1]
            update = _factored(state, "exp_avg_res", instability.view(shape), beta3).view(gradient.shape).mul_(momentum)
        if self.use_cautious:
            agreeing = (update * gradient > 0).to(gradient.dtype)
            update.mul_(agreeing.div_(agreeing.mean().clamp_(min=_MIN_AGREEMENT)))
        if group["weight_decay"] != 0:
            self._add(parameter, parameter, -group["weight_decay"] * group["lr"])
        self._add(parameter, update.mul_(group["lr"]), -1.0)

    def _initialize(self, state: dict[str, Any], gradient: Tensor, shape: Sequence[int] | None, group: Group) -> None:
        state["step"] = 0
        state["exp_avg"] = self.packed(torch.zeros_like(gradient), group)
        if shape is None:
            state["exp_avg_sq"] = torch.zeros_like(gradient)
            return
        for name in ("exp_avg_sq", "exp_avg_res"):
            state[f"{name}_row"] = gradient.new_zeros(shape[:-1])
            state[f"{name}_col"] = gradient.new_zeros((*shape[:-2], shape[-1]))

    def _momentum(self, state: dict[str, Any], update: Tensor, group: Group) -> Tensor:
        beta1 = group["betas"][0]
        momentum = self.unpacked(state["exp_avg"]).mul_(beta1).add_(update, alpha=1 - beta1)
        state["exp_avg"] = self.packed(momentum, group)
        return momentum

    def _add(self, parameter: Parameter, other: Tensor, factor: float) -> None:
        exact = parameter if parameter.dtype == torch.float32 else parameter.float()
        exact.add_(other, alpha=factor)
        if exact is parameter:
            return
        if self.rounding is not None and parameter.dtype == torch.bfloat16:
            self.rounding.copy_(parameter, exact)
        else:
            parameter.copy_(exact)


class CAME8bit(CAME):
    """CAME whose first moment is stored in 8 bits for matrices of more than ``min_8bit_size`` weights.

    As in OneTrainer, only matrices and 1x1 convolutions are factored, a block is ``quant_block_size`` rows, and there is no
    cautious mode.
    """

    def __init__(self, params: Any, *, min_8bit_size: int, quant_block_size: int, **settings: Any) -> None:
        super().__init__(params, **settings, min_8bit_size=min_8bit_size, quant_block_size=quant_block_size)

    def matrix(self, shape: Size) -> Sequence[int] | None:
        """Return rows and columns of a matrix or a 1x1 convolution, or None for any other weight."""
        if len(shape) == 2 or (len(shape) == 4 and tuple(shape[2:]) == (1, 1)):
            return shape[:2]
        return None

    def packed(self, moment: Tensor, group: Group) -> Tensor | Blocks:
        """Return blocks of 256 levels between their least and greatest value."""
        if self.matrix(moment.shape) is None or moment.numel() <= group["min_8bit_size"]:
            return moment
        return [_quantized(block) for block in torch.split(moment, group["quant_block_size"])]

    def unpacked(self, stored: Tensor | Blocks) -> Tensor:
        """Return the values of the blocks."""
        if isinstance(stored, Tensor):
            return stored
        return torch.cat([block["value"].float() * block["scale"] + block["min"] for block in stored])


def _quantized(block: Tensor) -> dict[str, Tensor]:
    least = block.min()
    scale = (block.max() - least) / _LEVELS
    # a block of equal values has the scale 0, with which every level is the smallest value
    levels = ((block - least) / scale).nan_to_num_(0.0).round().byte()
    return {"value": levels, "scale": scale, "min": least}


def _rms(tensor: Tensor) -> Tensor:
    rms: Tensor = torch.linalg.vector_norm(tensor) / tensor.numel() ** 0.5
    return rms


def _factored(state: dict[str, Any], name: str, values: Tensor, decay: float) -> Tensor:
    """Update the averages of rows and columns, and return the inverse square root of the second moment that they stand for."""
    row, column = state[f"{name}_row"], state[f"{name}_col"]
    row.mul_(decay).add_(values.mean(dim=-1), alpha=1.0 - decay)
    column.mul_(decay).add_(values.mean(dim=-2), alpha=1.0 - decay)
    by_row = (row / row.mean(dim=-1, keepdim=True)).rsqrt_().unsqueeze(-1)
    return torch.mul(by_row, column.unsqueeze(-2).rsqrt())

"""Update each parameter during the backward pass, as soon as its gradient is complete, and free the gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from onetrainer_gradio.engine.optimizers.stepped import Stepped


class FusedBackPass:
    """Hooks on the parameters of an optimizer. While ``armed``, a backward pass updates them.

    As in OneTrainer, each gradient is clipped to ``limit`` alone, not together with the others.
    """

    def __init__(self, optimizer: Optimizer, limit: float | None, scaler: torch.amp.GradScaler) -> None:
        self._optimizer, self._limit, self._scaler = cast(Stepped, optimizer), limit, scaler
        self._norms: list[Tensor] = []
        self._overflows: list[Tensor] = []
        self.armed = False
        self._hooks: list[RemovableHandle] = [
            parameter.register_post_accumulate_grad_hook(self._hook(number, index))
            for number, group in enumerate(optimizer.param_groups)
            for index, parameter in enumerate(group["params"])
        ]

    def _hook(self, group: int, index: int) -> Callable[[Tensor], None]:
        return partial(self._update, group, index)

    def _update(self, group: int, index: int, parameter: Tensor) -> None:
        if not self.armed or parameter.grad is None:
            return
        assert isinstance(parameter, Parameter)
        if self._unscaled(parameter):
            if self._limit is not None:
                self._norms.append(nn.utils.clip_grad_norm_(parameter, self._limit))
            # loading a state replaces the groups
            self._optimizer.step_parameter(parameter, self._optimizer.param_groups[group], index)
        parameter.grad = None

    def _unscaled(self, parameter: Parameter) -> bool:
        """Undo the loss scale. Return False if the gradient overflowed, so that this parameter isn't updated."""
        if not self._scaler.is_enabled():
            return True
        assert parameter.grad is not None
        parameter.grad.div_(self._scaler.get_scale())
        overflow = ~torch.isfinite(parameter.grad).all()
        self._overflows.append(overflow)
        return not bool(overflow)

    def norm(self) -> Tensor | None:
        """Return the norm of all gradients before clipping, and forget them; None if they aren't clipped."""
        norms, self._norms = self._norms, []
        return torch.stack([norm.float() for norm in norms]).norm() if norms else None

    def finish(self) -> bool:
        """Adapt the loss scale after a backward pass. Return whether all gradients were finite."""
        if not self._scaler.is_enabled():
            return True
        overflow = torch.stack(self._overflows).any().float()
        self._overflows = []
        self._scaler._per_optimizer_states[id(self._optimizer)]["found_inf_per_device"] = {overflow.device: overflow}
        self._scaler.update()
        return not bool(overflow)

    def close(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()

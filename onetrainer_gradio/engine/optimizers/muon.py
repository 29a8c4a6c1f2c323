"""Muon: hidden layers with orthogonalized momentum, all other weights with an auxiliary Adam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from muon import SingleDeviceMuonWithAuxAdam, adam_update, muon_update  # type: ignore[import-untyped]

from onetrainer_gradio.engine.optimizers.stepped import Group


class Muon(SingleDeviceMuonWithAuxAdam):  # type: ignore[misc]
    """Keller Jordan's Muon. Weights without a gradient stay as they are, and convolutions keep their shape."""

    def __init__(
        self, params: Sequence[Group], lr: float, momentum: float, weight_decay: float, auxiliary: Mapping[str, Any] | None
    ) -> None:
        more = auxiliary or {}
        kinds: dict[bool, dict[str, Any]] = {
            True: {"momentum": momentum, "weight_decay": weight_decay},
            False: {
                "betas": (_given(more, "beta1", 0.9), _given(more, "beta2", 0.95)),
                "eps": _given(more, "eps", 1e-10),
                "weight_decay": _given(more, "weight_decay", 0.0),
            },
        }
        bare = []
        for group in params:
            hidden = group["optim_type"] == "muon"
            bare.append({"params": group["params"], "lr": group["lr"], "use_muon": hidden, **kinds[hidden]})
        super().__init__(bare)
        for made, group in zip(self.param_groups, params, strict=True):
            made |= {name: value for name, value in group.items() if name not in made}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = self._hidden(parameter, group) if group["use_muon"] else self._other(parameter, group)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"])

    def _hidden(self, parameter: torch.nn.Parameter, group: Group) -> torch.Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        update: torch.Tensor = muon_update(parameter.grad, state["momentum_buffer"], beta=group["momentum"])
        return update

    def _other(self, parameter: torch.nn.Parameter, group: Group) -> torch.Tensor:
        state = self.state[parameter]
        if not state:
            state |= {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter), "step": 0}
        state["step"] += 1
        update: torch.Tensor = adam_update(
            parameter.grad, state["exp_avg"], state["exp_avg_sq"], state["step"], group["betas"], group["eps"]
        )
        return update


def _given(values: Mapping[str, Any], name: str, default: Any) -> Any:
    value = values.get(name)
    return default if value is None else value

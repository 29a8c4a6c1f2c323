"""Create the optimizers, each from its own library, and save and load their state."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of
from onetrainer_gradio.config.optimizer_libraries import LIBRARIES
from onetrainer_gradio.config.optimizers import AUXILIARY_PARAMETERS, OPTIMIZERS
from onetrainer_gradio.engine.methods.method import ParameterGroup
from onetrainer_gradio.engine.optimizers import adam, random_state, splitting
from onetrainer_gradio.engine.optimizers.recipes import RECIPES
from onetrainer_gradio.engine.optimizers.stepped import Group
from onetrainer_gradio.engine.scalers import learning_rate_scale
from onetrainer_gradio.errors import BackupMismatchError, ConfigValueError, UnsupportedError

__all__ = [
    "evaluated",
    "group_names",
    "load_state",
    "make_optimizer",
    "reported_rates",
    "saved_state",
    "seed_rounding",
    "set_training",
    "steps_early",
]

_RUNNING = ("lr",)


def make_optimizer(config: TrainConfig, groups: Sequence[ParameterGroup]) -> Optimizer:
    """Return the configured optimizer for ``groups``, with their scaled learning rates.

    :raises UnsupportedError: if its library can't be imported.
    :raises ConfigValueError: if it rejects its parameters.
    """
    settings = config.optimizer
    recipe = RECIPES[settings.optimizer]
    kind = _class_of(config, recipe.place)
    parameters = _parameters(config, groups)
    arguments = {"lr": config.learning_rate, **recipe.values(config)}
    if settings.optimizer in AUXILIARY_PARAMETERS:
        parameters = splitting.split(config, parameters, groups)
        if any(group["optim_type"] == splitting.ADAM for group in parameters):
            arguments |= splitting.auxiliary_arguments(kind, settings.muon_adam_config or {})
    if arguments["lr"] is None:  # the optimizer computes its rate, and rejects another one
        for group in parameters:
            del group["lr"]
    try:
        optimizer = kind(parameters, **arguments)
    except (ValueError, TypeError, AssertionError, RuntimeError) as error:
        raise ConfigValueError(
            f"{name_of(settings.optimizer)} rejects its parameters: {error}",
            path="optimizer.optimizer",
            value=settings.optimizer,
            suggestion=f"Correct the parameters of the optimizer, or choose another {title_of('optimizer.optimizer')}.",
        ) from error
    if isinstance(optimizer, torch.optim.Adam):
        optimizer = adam.stepped(optimizer, rounded=settings.stochastic_rounding, early=steps_early(config))
    return optimizer


def _class_of(config: TrainConfig, place: str) -> Callable[..., Optimizer]:
    module, _, name = place.partition(":")
    try:
        kind: Callable[..., Optimizer] = getattr(import_module(module), name)
    except ImportError as error:
        chosen = config.optimizer.optimizer
        library = LIBRARIES[chosen]
        raise UnsupportedError(
            f"{name_of(chosen)} can't be loaded from {library.package}: {error}",
            path="optimizer.optimizer",
            value=chosen,
            suggestion=f"Install it again: {library.command}.",
        ) from error
    return kind


def _parameters(config: TrainConfig, groups: Sequence[ParameterGroup]) -> list[Group]:
    scale = learning_rate_scale(config.learning_rate_scaler, config.batch_size, config.gradient_accumulation_steps)
    return [
        {
            "name": group.name,
            "params": list(group.parameters),
            "lr": group.learning_rate * scale,
            "initial_lr": group.learning_rate * scale,
        }
        for group in groups
    ]


def steps_early(config: TrainConfig) -> bool:
    """Return whether each parameter is updated during the backward pass; optimizers that can't ignore the setting."""
    return config.optimizer.fused_back_pass and OPTIMIZERS[config.optimizer.optimizer].fused_back_pass


def group_names(optimizer: Optimizer) -> tuple[str, ...]:
    """Return the names of the groups; those of hidden layers and other weights of one component differ in the ending."""
    return tuple(
        f"{group['name']}_{group['optim_type']}" if "optim_type" in group else group["name"] for group in optimizer.param_groups
    )


def reported_rates(optimizer: Optimizer, config: TrainConfig) -> tuple[float, ...]:
    """Return the learning rates of the next step, and of an adaptive optimizer those that it really uses."""
    if not OPTIMIZERS[config.optimizer.optimizer].adaptive:
        return tuple(group["lr"] for group in optimizer.param_groups)
    return tuple(float(group.get("effective_lr", group["lr"])) * float(group.get("d", 1.0)) for group in optimizer.param_groups)


def seed_rounding(optimizer: Optimizer, step: int) -> None:
    """Make stochastic rounding depend on the number of the micro-batch, as far as the optimizer lets it be chosen."""
    rounding = getattr(optimizer, "rounding", None)
    if rounding is not None:
        rounding.seed(step)
    elif random_state.is_global(optimizer):
        torch.manual_seed(step)


def set_training(optimizer: Optimizer, config: TrainConfig) -> None:
    """Let a schedule-free optimizer begin: it gives the model the weights that are trained if it has the averaged ones."""
    if OPTIMIZERS[config.optimizer.optimizer].schedule_free:
        optimizer.train()  # type: ignore[attr-defined]


@contextmanager
def evaluated(optimizer: Optimizer, config: TrainConfig) -> Iterator[None]:
    """Give the model the averaged weights of a schedule-free optimizer within the block; others change nothing."""
    if not OPTIMIZERS[config.optimizer.optimizer].schedule_free:
        yield
        return
    torch.clear_autocast_cache()
    # converting back would change the last bits of the trained weights
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    kept = [weight.detach().to("cpu", copy=True) for weight in weights]
    optimizer.eval()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)
        torch.clear_autocast_cache()


def saved_state(optimizer: Optimizer, config: TrainConfig) -> dict[str, Any]:
    """Return the content of optimizer.pt: the state and the names of its groups."""
    names = group_names(optimizer)
    return optimizer.state_dict() | {
        "param_group_mapping": list(names),
        "param_group_optimizer_mapping": [str(config.optimizer.optimizer)] * len(names),
        **random_state.saved(optimizer),
    }


def load_state(optimizer: Optimizer, state: dict[str, Any], config: TrainConfig) -> None:
    """Load the state of the groups that are in ``state`` with the same name and optimizer; others start from scratch.

    The parameters of the optimizer are those of the settings. What a group counts during the run comes from the backup.

    :raises BackupMismatchError: if a group has another number of parameters.
    """
    own = optimizer.state_dict()
    old_names = state.get("param_group_mapping", [group.get("name", "") for group in state["param_groups"]])
    old_optimizers = state.get("param_group_optimizer_mapping", [str(config.optimizer.optimizer)] * len(old_names))
    chosen = _chosen_entries(optimizer)
    merged: dict[str, Any] = {"state": {}, "param_groups": []}
    for new, name in zip(own["param_groups"], group_names(optimizer), strict=True):
        if name not in old_names or old_optimizers[old_names.index(name)] != str(config.optimizer.optimizer):
            merged["param_groups"].append(new)
            continue
        old = state["param_groups"][old_names.index(name)]
        _require_same_number(name, old["params"], new["params"])
        running = {entry: value for entry, value in old.items() if entry not in chosen or entry in _RUNNING}
        merged["param_groups"].append(new | running | {"params": new["params"]})
        for index, old_index in zip(new["params"], old["params"], strict=True):
            if old_index in state["state"]:
                merged["state"][index] = state["state"][old_index]
    optimizer.load_state_dict(merged)
    _restore_dtypes(optimizer, merged["state"])
    random_state.load(optimizer, state)
    _continue_estimate(optimizer)


def _require_same_number(name: str, old: Sequence[int], new: Sequence[int]) -> None:
    if len(old) != len(new):
        raise BackupMismatchError(
            f"The optimizer state of the backup has {len(old)} parameters in the group “{name}”, "
            f"but the settings train {len(new)}.",
            path="layer_filter",
            expected="the layers that the backup was created with",
            suggestion="Set Layer filter, LoRA rank and the trained components as they were for the backup.",
        )


def _chosen_entries(optimizer: Optimizer) -> frozenset[str]:
    """Return the entries of a group that the settings determine: the arguments of the class and its base classes, and names."""
    arguments = {name for kind in type(optimizer).__mro__ for name in inspect.signature(kind).parameters}
    return frozenset(arguments | {"params", "name", "initial_lr", "optim_type", "use_muon"})


def _restore_dtypes(optimizer: Optimizer, saved: Mapping[int, Mapping[str, Any]]) -> None:
    """Undo that torch casts the state of an optimizer to the data type of its weights."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, entries in saved.items():
        state = optimizer.state[weights[index]]
        for name, value in entries.items():
            if name in state:
                state[name] = _like(value, state[name])


def _continue_estimate(optimizer: Optimizer) -> None:
    """Let Prodigy_adv continue its sums from the groups: it keeps them outside of the state, and starts them at 0."""
    if type(optimizer).__name__ == "Prodigy_adv" and optimizer.param_groups[0]["k"] > 0:
        device = optimizer.param_groups[0]["params"][0].device
        optimizer.d_denom = torch.tensor(0.0, device=device)  # type: ignore[attr-defined]
        optimizer.init_step()  # type: ignore[attr-defined]


def _like(saved: Any, loaded: Any) -> Any:
    if isinstance(saved, Tensor) and isinstance(loaded, Tensor):
        return saved.to(loaded.device) if saved.dtype != loaded.dtype else loaded
    if isinstance(saved, list) and isinstance(loaded, list):
        return [_like(one, other) for one, other in zip(saved, loaded, strict=True)]
    if isinstance(saved, dict) and isinstance(loaded, dict):
        return {name: _like(value, loaded[name]) for name, value in saved.items()}
    return loaded

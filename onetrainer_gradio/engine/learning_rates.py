"""Set the learning rates of an optimizer's groups: by a schedule, by Adafactor itself, or by a scheduler class of the user."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, SequentialLR

from onetrainer_gradio.config import TrainConfig
from onetrainer_gradio.config.check.optimizers import SCHEDULER_PLACEHOLDERS, scheduler_arguments
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.engine.schedules import LearningRateFactor, learning_rate_factor, warmup_updates
from onetrainer_gradio.errors import ConfigValueError

CLASS = "custom_learning_rate_scheduler"


class LearningRates(Protocol):
    """Sets the rates before each optimizer step, and may read the gradients after it."""

    def before_step(self, update_step: int) -> None:
        """Set the rates of optimizer step ``update_step`` (counted from 0)."""
        ...

    def after_step(self) -> None:
        """Note that the optimizer has made a step; the gradients are still there unless it steps during the backward pass."""
        ...


@dataclass(frozen=True)
class Scheduled:
    """The initial rate of each group times a factor."""

    optimizer: Optimizer
    factor: LearningRateFactor

    def before_step(self, update_step: int) -> None:
        """Set the rates of an optimizer step."""
        factor = self.factor(update_step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def after_step(self) -> None:
        """Do nothing: the factor depends on the step only."""


@dataclass
class AdafactorRates:
    """The rates that Adafactor computes for the first weight of each group, from the second step on.

    As in transformers' ``AdafactorSchedule``, all groups begin with the initial rate of the first one, and a group without a
    gradient moves the rates of those after it. Without relative steps, a rate is computed from the one before.
    """

    optimizer: Optimizer
    started: bool

    def before_step(self, update_step: int) -> None:
        """Set the rate of the first step; the others are set already."""
        if not self.started:
            self._set([self._first] * len(self.optimizer.param_groups))
            self.started = True

    def after_step(self) -> None:
        """Set the rates of the next step."""
        rates = [
            float(self.optimizer._get_lr(group, self.optimizer.state[group["params"][0]]))  # type: ignore[attr-defined]
            for group in self.optimizer.param_groups
            if group["params"][0].grad is not None
        ]
        self._set(rates or [self._first] * len(self.optimizer.param_groups))

    @property
    def _first(self) -> float:
        return float(self.optimizer.param_groups[0]["initial_lr"])

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=False):
            group["lr"] = rate


@dataclass
class CustomRates:
    """The rates of a scheduler class, which steps after each optimizer step."""

    scheduler: LRScheduler

    def before_step(self, update_step: int) -> None:
        """Do nothing: the scheduler has set the rates."""

    def after_step(self) -> None:
        """Set the rates of the next step."""
        self.scheduler.step()


def learning_rates(config: TrainConfig, optimizer: Optimizer, epoch_steps: int, done: int) -> LearningRates:
    """Return what sets the learning rates of a run with ``epoch_steps`` micro-batches per epoch, after ``done`` optimizer steps.

    :raises ConfigValueError: if the class of a custom scheduler can't be used.
    """
    schedule_free = OPTIMIZERS[config.optimizer.optimizer].schedule_free
    name = "CONSTANT" if schedule_free else config.learning_rate_scheduler
    if name == "ADAFACTOR":
        return AdafactorRates(optimizer, started=done > 0)
    if name == "CUSTOM":
        return CustomRates(_custom_scheduler(config, optimizer, epoch_steps, done))
    factor = learning_rate_factor(
        name,
        # schedule-free optimizers warm up themselves
        warmup=0.0 if schedule_free else config.learning_rate_warmup_steps,
        cycles=config.learning_rate_cycles,
        min_factor=config.learning_rate_min_factor,
        epoch_steps=epoch_steps,
        epochs=config.epochs,
        accumulation=config.gradient_accumulation_steps,
    )
    return Scheduled(optimizer, factor)


def _custom_scheduler(config: TrainConfig, optimizer: Optimizer, epoch_steps: int, done: int) -> LRScheduler:
    accumulation = config.gradient_accumulation_steps
    total = int(epoch_steps * config.epochs / accumulation)
    warmup = warmup_updates(config.learning_rate_warmup_steps, accumulation, total)
    arguments = scheduler_arguments(
        config.scheduler_params or (),
        dict(zip(SCHEDULER_PLACEHOLDERS, (config.learning_rate, config.epochs, epoch_steps, total, total - warmup), strict=True)),
    )
    kind = _scheduler_class(config.custom_learning_rate_scheduler or "")
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"]
    try:
        scheduler: LRScheduler = kind(optimizer=optimizer, **arguments)
        if warmup > 0:
            first = LambdaLR(optimizer, lambda step: step / warmup if step < warmup else 1.0)
            scheduler = SequentialLR(optimizer, [first, scheduler], [warmup])
        with warnings.catch_warnings():
            # a resumed run repeats the schedule without the optimizer steps
            warnings.filterwarnings("ignore", message="Detected call of")
            for _ in range(done):
                scheduler.step()
    except (TypeError, ValueError, AttributeError, AssertionError, ZeroDivisionError) as error:
        raise _unusable(config.custom_learning_rate_scheduler, f"it rejects its parameters: {error}") from error
    return scheduler


def _scheduler_class(name: str) -> Callable[..., LRScheduler]:
    module, _, cls = name.rpartition(".")
    try:
        kind: Any = getattr(import_module(module), cls)
    except (ImportError, AttributeError, ValueError) as error:
        raise _unusable(name, f"{error}") from error
    if not (isinstance(kind, type) and issubclass(kind, LRScheduler)):
        raise _unusable(name, "it isn't a subclass of torch.optim.lr_scheduler.LRScheduler")
    needed = [
        argument
        for argument in list(signature(kind.step).parameters.values())[1:]
        if argument.default is Parameter.empty and argument.kind is Parameter.POSITIONAL_OR_KEYWORD
    ]
    if needed:
        raise _unusable(name, f"it requires “{needed[0].name}” at each step, which the training doesn't provide")
    return kind


def _unusable(name: str | None, reason: str) -> ConfigValueError:
    return ConfigValueError(
        f"{title_of(CLASS)} “{name}” can't be used: {reason}.",
        path=CLASS,
        value=name,
        expected="a scheduler class such as torch.optim.lr_scheduler.StepLR",
        suggestion=f"Correct {title_of(CLASS)} or {title_of('scheduler_params')}.",
    )

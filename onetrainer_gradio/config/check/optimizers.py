"""The optimizer and the learning rate: combinations that are refused, and settings that the choice makes meaningless."""

from __future__ import annotations

from collections.abc import Iterator

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.enums import LearningRateScheduler, Optimizer, TrainingMethod
from onetrainer_gradio.config.optimizers import OPTIMIZERS
from onetrainer_gradio.errors import Finding

_TORCH_ADAM = frozenset({Optimizer.ADAM, Optimizer.ADAMW})
_SCHEDULE_FREE = frozenset({Optimizer.SCHEDULE_FREE_ADAMW, Optimizer.SCHEDULE_FREE_SGD})
_PLAIN_KERNEL = {"optimizer.fused": False, "optimizer.foreach": False}

# Below this, an optimizer that finds the learning rate itself hardly moves: it multiplies what it found by this factor.
ADAPTIVE_RATE_FLOOR = 0.1
# Above these, every known optimizer that takes the rate as it stands destroys the model within a few steps.
FIXED_RATE_CEILING = 0.1
WHOLE_MODEL_CEILING = 1e-3


def fused_kernel(plan: Plan) -> Iterator[Finding]:
    """torch's fused and foreach kernels step all weights at once, so nothing can be done per weight."""
    optimizer = plan.config.optimizer
    if optimizer.optimizer not in _TORCH_ADAM or not (optimizer.fused or optimizer.foreach):
        return
    kernel = "Fused kernel" if optimizer.fused else "For-each kernel"
    for name, label in (("stochastic_rounding", "Stochastic rounding"), ("fused_back_pass", "Fused back pass")):
        if getattr(optimizer, name):
            path = f"optimizer.{name}"
            yield found(
                "fused-kernel-conflict",
                path,
                f"{label} does not go together with {kernel} of {optimizer.optimizer.value}",
                value=True,
                expected="one of the two",
                suggestion=f"Turn {kernel} off.",
                fix=_PLAIN_KERNEL,
            )


def back_pass_on_several_cards(plan: Plan) -> Iterator[Finding]:
    """A weight that is stepped during the backward pass needs the other cards' gradients by then."""
    config = plan.config
    steps_early = config.optimizer.fused_back_pass and OPTIMIZERS[config.optimizer.optimizer].fused_back_pass
    if config.multi_gpu and steps_early and not config.fused_gradient_reduce:
        yield found(
            "back-pass-without-fused-reduce",
            "fused_gradient_reduce",
            "Fused back pass on several graphics cards needs Fused gradient reduce",
            value=False,
            expected="on",
            suggestion="Turn Fused gradient reduce on.",
            fix={"fused_gradient_reduce": True},
        )


def schedule_free_wuerstchen(plan: Plan) -> Iterator[Finding]:
    """OneTrainer has no schedule-free training for these two types."""
    chosen = plan.config.optimizer.optimizer
    if plan.facts.continuous and chosen in _SCHEDULE_FREE:
        defaults = {f"optimizer.{key}": value for key, value in OPTIMIZERS[Optimizer.ADAMW].defaults.items()}
        yield found(
            "schedule-free-wuerstchen",
            "optimizer.optimizer",
            f"{chosen.value} cannot train {plan.facts.label}",
            value=chosen.value,
            expected="an optimizer with a schedule",
            suggestion="Choose ADAMW.",
            fix={"optimizer.optimizer": "ADAMW", **defaults},
        )


def custom_scheduler(plan: Plan) -> Iterator[Finding]:
    """A schedule of one's own is a Python class."""
    name = plan.config.custom_learning_rate_scheduler or ""
    if plan.config.learning_rate_scheduler is not LearningRateScheduler.CUSTOM:
        return
    module, dot, cls = name.rpartition(".")
    if not (dot and module and cls.isidentifier()):
        yield found(
            "custom-scheduler-class",
            "custom_learning_rate_scheduler",
            f"The schedule is CUSTOM, and {name!r} names no class" if name else "The schedule is CUSTOM, and no class is named",
            value=name or None,
            expected="module.Class, for instance torch.optim.lr_scheduler.StepLR",
            suggestion="Name the class, or choose another schedule.",
        )


def schedule_ignored(plan: Plan) -> Iterator[Finding]:
    """Schedule-free optimizers are run at a constant rate whatever is chosen."""
    scheduler, chosen = plan.config.learning_rate_scheduler, plan.config.optimizer.optimizer
    if OPTIMIZERS[chosen].schedule_free and scheduler is not LearningRateScheduler.CONSTANT:
        yield found(
            "schedule-ignored",
            "learning_rate_scheduler",
            f"{chosen.value} needs no schedule: {scheduler.value} is ignored",
            value=scheduler.value,
            expected="CONSTANT",
            suggestion="Choose CONSTANT.",
            fix={"learning_rate_scheduler": "CONSTANT"},
        )


def learning_rate(plan: Plan) -> Iterator[Finding]:
    """A rate of the wrong order of magnitude for the kind of optimizer."""
    rate, chosen = plan.config.learning_rate, plan.config.optimizer.optimizer
    adaptive = OPTIMIZERS[chosen].adaptive
    if adaptive and rate < ADAPTIVE_RATE_FLOOR:
        yield found(
            "adaptive-learning-rate",
            "learning_rate",
            f"{chosen.value} finds the learning rate itself and multiplies it by {rate:g}: next to nothing is learned",
            value=rate,
            expected="1 for an optimizer that finds its own rate",
            suggestion="Write 1.",
            fix={"learning_rate": 1.0},
        )
        return
    ceiling = WHOLE_MODEL_CEILING if plan.config.training_method is TrainingMethod.FINE_TUNE else FIXED_RATE_CEILING
    if not adaptive and rate > ceiling and "SGD" not in chosen.value:
        yield found(
            "learning-rate-too-high",
            "learning_rate",
            f"A learning rate of {rate:g} ruins the model within a few steps with {chosen.value}",
            value=rate,
            expected="about 1e-4 for an adapter, 1e-6 to 1e-5 for a whole model",
            suggestion="Lower it, or choose an optimizer that finds the rate itself, such as PRODIGY.",
        )

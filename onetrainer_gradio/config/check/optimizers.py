"""Checks of the optimizer and the learning rate: unsupported combinations and settings without effect."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of
from onetrainer_gradio.config.declarations.optimizer import TrainOptimizerConfig
from onetrainer_gradio.config.enums import LearningRateScheduler, Optimizer, TrainingMethod
from onetrainer_gradio.config.layers.muon import PATH as PATTERNS
from onetrainer_gradio.config.layers.muon import hidden_weights
from onetrainer_gradio.config.optimizer_libraries import LIBRARIES
from onetrainer_gradio.config.optimizers import AUXILIARY_PARAMETERS, OPTIMIZERS
from onetrainer_gradio.errors import ConfigValueError, Finding

_TORCH_ADAM = frozenset({Optimizer.ADAM, Optimizer.ADAMW})
_SCHEDULE_FREE = frozenset({Optimizer.SCHEDULE_FREE_ADAMW, Optimizer.SCHEDULE_FREE_SGD})
_PLAIN_KERNEL = {"optimizer.fused": False, "optimizer.foreach": False}

_ONE_RATE = frozenset({Optimizer.PRODIGY, Optimizer.DADAPT_ADAM, Optimizer.DADAPT_LION, Optimizer.DADAPT_SGD})

_Accepted = tuple[str, Callable[[TrainOptimizerConfig], bool], str, Any]
_ACCEPTED: Mapping[Optimizer, tuple[_Accepted, ...]] = {
    Optimizer.SCHEDULE_FREE_SGD: (
        ("momentum", lambda settings: 0 < (settings.momentum or 0) < 1, "greater than 0 and less than 1", 0.9),
    ),
    **dict.fromkeys(
        (Optimizer.LARS, Optimizer.LARS_8BIT, Optimizer.SGD_8BIT),
        (("momentum", lambda settings: (settings.momentum or 0) > 0, "greater than 0", 0.9),),
    ),
    **dict.fromkeys(
        (Optimizer.ADAGRAD, Optimizer.ADAGRAD_8BIT),
        (
            ("lr_decay", lambda settings: not settings.lr_decay, "0", 0.0),
            ("initial_accumulator_value", lambda settings: not settings.initial_accumulator_value, "0", 0),
        ),
    ),
    **dict.fromkeys(
        (Optimizer.RMSPROP, Optimizer.RMSPROP_8BIT),
        (("centered", lambda settings: not settings.centered, "off", False),),
    ),
    Optimizer.DADAPT_ADA_GRAD: (("eps", lambda settings: (settings.eps or 0) > 0, "greater than 0", 1e-8),),
    Optimizer.ADAFACTOR: (
        (
            "warmup_init",
            lambda settings: settings.relative_step or not settings.warmup_init,
            "off unless the steps are relative",
            False,
        ),
    ),
}

SCHEDULER_PLACEHOLDERS = ("%LR%", "%EPOCHS%", "%STEPS_PER_EPOCH%", "%TOTAL_STEPS%", "%SCHEDULER_STEPS%")

# Below this, an adaptive optimizer barely learns: it multiplies its own learning rate by this factor.
ADAPTIVE_RATE_FLOOR = 0.1
# Above these, the model breaks within a few steps with every optimizer that uses the rate as it is.
FIXED_RATE_CEILING = 0.1
WHOLE_MODEL_CEILING = 1e-3


def fused_kernel(plan: Plan) -> Iterator[Finding]:
    """Yield an error for per-weight features with torch's fused or foreach kernel, which steps all weights at once."""
    optimizer = plan.config.optimizer
    if optimizer.optimizer not in _TORCH_ADAM or not (optimizer.fused or optimizer.foreach):
        return
    kernel = title_of("optimizer.fused" if optimizer.fused else "optimizer.foreach")
    for name in ("stochastic_rounding", "fused_back_pass"):
        if getattr(optimizer, name):
            path = f"optimizer.{name}"
            yield found(
                "fused-kernel-conflict",
                path,
                f"{title_of(path)} and {kernel} can't be combined with {name_of(optimizer.optimizer)}",
                value=True,
                expected="one of the two",
                suggestion=f"Turn off {kernel}.",
                fix=_PLAIN_KERNEL,
            )


def library_installed(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the optimizer of the built-in engine isn't installed here, or can't run on the train device.

    This isn't part of the pre-flight check of all engines: a OneTrainer installation has its own libraries.
    """
    settings = plan.config.optimizer
    chosen, library = settings.optimizer, LIBRARIES.get(settings.optimizer)
    title, name = title_of("optimizer.optimizer"), name_of(settings.optimizer)
    device = plan.config.train_device
    if library is None:
        yield Finding(
            "error",
            "optimizer.optimizer",
            f"The built-in engine doesn't support {title} {name}.",
            chosen.value,
            "an optimizer in the list",
            f"Choose another {title}, or train with OneTrainer.",
        )
    elif library.needs_gpu and device.startswith(("cpu", "mps")):
        yield Finding(
            "error",
            "optimizer.optimizer",
            f"{title} {name} requires a GPU, because {library.package} has no implementation for {device}.",
            chosen.value,
            "an optimizer for the CPU",
            f"Set {title_of('train_device')} to a GPU, or choose another {title}.",
        )
    elif not library.installed:
        yield Finding(
            "error",
            "optimizer.optimizer",
            f"{title} {name} requires {library.package}, which isn't installed.",
            chosen.value,
            "an installed optimizer",
            f"Install it with: {library.command}. Or choose another {title}.",
        )
    elif chosen is Optimizer.LION and settings.use_triton and not (device.startswith("cuda") and find_spec("triton")):
        path = "optimizer.use_triton"
        message = f"{title_of(path)} requires an NVIDIA GPU and the package triton."
        yield Finding("error", path, message, True, "False", f"Turn off {title_of(path)}.")


def back_pass_on_several_gpus(plan: Plan) -> Iterator[Finding]:
    """Yield an error if weights step during the backward pass before the gradients of the other GPUs are there."""
    config = plan.config
    steps_early = config.optimizer.fused_back_pass and OPTIMIZERS[config.optimizer.optimizer].fused_back_pass
    if config.multi_gpu and steps_early and not config.fused_gradient_reduce:
        yield found(
            "back-pass-without-fused-reduce",
            "fused_gradient_reduce",
            f"{title_of('optimizer.fused_back_pass')} with {title_of('multi_gpu')} requires {title_of('fused_gradient_reduce')}",
            value=False,
            expected="on",
            suggestion=f"Turn on {title_of('fused_gradient_reduce')}.",
            fix={"fused_gradient_reduce": True},
        )


def schedule_free_wuerstchen(plan: Plan) -> Iterator[Finding]:
    """Yield an error for schedule-free optimizers with the model types that OneTrainer doesn't support them for."""
    chosen = plan.config.optimizer.optimizer
    if plan.facts.continuous and chosen in _SCHEDULE_FREE:
        defaults = {f"optimizer.{key}": value for key, value in OPTIMIZERS[Optimizer.ADAMW].defaults.items()}
        yield found(
            "schedule-free-wuerstchen",
            "optimizer.optimizer",
            f"{title_of('optimizer.optimizer')} {name_of(chosen)} isn't supported for {plan.facts.label}",
            value=chosen.value,
            expected="an optimizer with a learning rate scheduler",
            suggestion=f"Set {title_of('optimizer.optimizer')} to {name_of(Optimizer.ADAMW)}.",
            fix={"optimizer.optimizer": "ADAMW", **defaults},
        )


def custom_scheduler(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the class of a custom scheduler isn't given."""
    name = plan.config.custom_learning_rate_scheduler or ""
    scheduler, setting = title_of("learning_rate_scheduler"), title_of("custom_learning_rate_scheduler")
    custom = LearningRateScheduler.CUSTOM
    if plan.config.learning_rate_scheduler is not custom:
        return
    module, dot, cls = name.rpartition(".")
    if not (dot and module and cls.isidentifier()):
        yield found(
            "custom-scheduler-class",
            "custom_learning_rate_scheduler",
            (f"{setting} “{name}” isn't a class" if name else f"{scheduler} is {name_of(custom)}, but {setting} isn't set"),
            value=name or None,
            expected="module.Class, for example torch.optim.lr_scheduler.StepLR",
            suggestion=f"Set {setting} to a class such as torch.optim.lr_scheduler.StepLR, or choose another scheduler.",
        )


def scheduler_arguments(rows: Sequence[Mapping[str, str]], placeholders: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a custom scheduler: values of ``placeholders``, and Python literals.

    :raises ConfigValueError: if one is neither.
    """
    arguments = {}
    for number, row in enumerate(rows):
        name, text = row.get("key", ""), row.get("value", "")
        try:
            arguments[name] = placeholders[text] if text in placeholders else literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ConfigValueError(
                f"The parameter “{name}” of the custom scheduler has the value “{text}”, which isn't a Python literal",
                path=f"scheduler_params.{number}",
                value=text,
                expected=f"a number, a text in quotes, or one of {', '.join(placeholders)}",
                suggestion="Correct the parameter.",
            ) from error
    return arguments


def custom_scheduler_parameters(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a parameter of a custom scheduler that can't be read."""
    if plan.config.learning_rate_scheduler is not LearningRateScheduler.CUSTOM:
        return
    try:
        scheduler_arguments(plan.config.scheduler_params or (), dict.fromkeys(SCHEDULER_PLACEHOLDERS, 0))
    except ConfigValueError as error:
        yield found(
            "custom-scheduler-parameters",
            error.path,
            error.message,
            value=error.value,
            expected=error.expected,
            suggestion=error.suggestion,
        )


def adafactor_scheduler(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the scheduler asks another optimizer for Adafactor's learning rates."""
    scheduler, chosen = LearningRateScheduler.ADAFACTOR, plan.config.optimizer.optimizer
    if plan.config.learning_rate_scheduler is not scheduler or chosen is Optimizer.ADAFACTOR:
        return
    if OPTIMIZERS[chosen].schedule_free:
        return
    title, constant = title_of("learning_rate_scheduler"), LearningRateScheduler.CONSTANT
    yield found(
        "adafactor-scheduler",
        "learning_rate_scheduler",
        f"{title} {name_of(scheduler)} requires {title_of('optimizer.optimizer')} {name_of(Optimizer.ADAFACTOR)}",
        value=scheduler.value,
        expected="another scheduler",
        suggestion=f"Set {title} to {name_of(constant)}.",
        fix={"learning_rate_scheduler": constant.value},
    )


def rejected_parameters(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each parameter that the library of the optimizer rejects, also if it is the form's own value."""
    settings = plan.config.optimizer
    for name, accepted, expected, value in _ACCEPTED.get(settings.optimizer, ()):
        path = f"optimizer.{name}"
        if accepted(settings):
            continue
        yield found(
            "optimizer-parameter-rejected",
            path,
            f"{title_of(path)} of {name_of(settings.optimizer)} must be {expected}",
            value=getattr(settings, name),
            expected=expected,
            suggestion=f"Turn off {title_of(path)}." if value is False else f"Set {title_of(path)} to {value:g}.",
            fix={path: value},
        )


def one_learning_rate(plan: Plan) -> Iterator[Finding]:
    """Yield an error for different learning rates with an optimizer that estimates one for all weights."""
    config, chosen = plan.config, plan.config.optimizer.optimizer
    if chosen not in _ONE_RATE:
        return
    parts = [part for part in plan.facts.trained if plan.at(f"{part}.train")]
    rates = {part: config.learning_rate if (own := plan.at(f"{part}.learning_rate")) is None else own for part in parts}
    if len({rate for rate in rates.values() if rate > 0}) < 2:
        return
    path = next(f"{part}.learning_rate" for part in parts if plan.at(f"{part}.learning_rate") is not None)
    yield found(
        "one-learning-rate",
        path,
        f"{name_of(chosen)} supports only one learning rate for all model components",
        value=plan.at(path),
        expected="the same learning rate",
        suggestion=f"Clear {title_of(path)}.",
        fix={f"{part}.learning_rate": None for part in parts},
    )


def muon_layers(plan: Plan) -> Iterator[Finding]:
    """Yield an error if Muon has no patterns of hidden layers, or one that can't be evaluated."""
    settings = plan.config.optimizer
    if settings.optimizer not in AUXILIARY_PARAMETERS or not settings.MuonWithAuxAdam:
        return
    if settings.muon_hidden_layers is None and not plan.facts.hidden_layers:
        path = "optimizer.muon_hidden_layers"
        yield found(
            "muon-without-layers",
            path,
            f"{name_of(settings.optimizer)} requires {title_of(path)}, because {plan.facts.label} has no defaults",
            expected="parts of layer names, such as transformer_blocks",
            suggestion=f"Set {title_of(path)}.",
        )
    try:
        hidden_weights(plan.config, ())
    except ConfigValueError as error:
        yield found(
            "optimizer-parameter-rejected",
            PATTERNS,
            error.message,
            value=error.value,
            expected=error.expected,
            suggestion=error.suggestion,
        )


def beta3_ema_ignored(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for the decay of the slow EMA, which two optimizers read from another field."""
    settings = plan.config.optimizer
    if settings.optimizer not in (Optimizer.ADAMW_ADV, Optimizer.ADOPT_ADV) or not settings.use_AdEMAMix:
        return
    used = 0.9999 if settings.beta3 is None else settings.beta3
    if settings.beta3_ema not in (None, used):
        path = "optimizer.beta3_ema"
        yield found(
            "beta3-ema-ignored",
            path,
            f"{name_of(settings.optimizer)} ignores {title_of(path)} and uses {used:g}",
            value=settings.beta3_ema,
            expected=f"{used:g}",
            suggestion=f"Set {title_of(path)} to {used:g}.",
            fix={path: used},
        )


def schedule_ignored(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for a learning rate scheduler that a schedule-free optimizer ignores."""
    scheduler, chosen = plan.config.learning_rate_scheduler, plan.config.optimizer.optimizer
    if OPTIMIZERS[chosen].schedule_free and scheduler is not LearningRateScheduler.CONSTANT:
        yield found(
            "schedule-ignored",
            "learning_rate_scheduler",
            f"{name_of(chosen)} uses a constant learning rate and ignores {title_of('learning_rate_scheduler')} "
            f"{name_of(scheduler)}",
            value=scheduler.value,
            expected=name_of(LearningRateScheduler.CONSTANT),
            suggestion=f"Set {title_of('learning_rate_scheduler')} to {name_of(LearningRateScheduler.CONSTANT)}.",
            fix={"learning_rate_scheduler": "CONSTANT"},
        )


def learning_rate(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for a learning rate of the wrong order of magnitude for the optimizer."""
    rate, chosen = plan.config.learning_rate, plan.config.optimizer.optimizer
    adaptive = OPTIMIZERS[chosen].adaptive
    if adaptive and rate < ADAPTIVE_RATE_FLOOR:
        yield found(
            "adaptive-learning-rate",
            "learning_rate",
            f"{name_of(chosen)} adapts the learning rate itself and uses yours ({rate:g}) as a multiplier, so it barely learns",
            value=rate,
            expected="1 for an adaptive optimizer",
            suggestion=f"Set {title_of('learning_rate')} to 1.",
            fix={"learning_rate": 1.0},
        )
        return
    ceiling = WHOLE_MODEL_CEILING if plan.config.training_method is TrainingMethod.FINE_TUNE else FIXED_RATE_CEILING
    if not adaptive and rate > ceiling and "SGD" not in chosen.value:
        yield found(
            "learning-rate-too-high",
            "learning_rate",
            f"With {name_of(chosen)} and the learning rate {rate:g}, the model breaks within a few steps",
            value=rate,
            expected="about 1e-4 for a LoRA, 1e-6 to 1e-5 for a full fine-tune",
            suggestion=f"Lower {title_of('learning_rate')}, or choose an adaptive optimizer such as "
            f"{name_of(Optimizer.PRODIGY)}.",
        )

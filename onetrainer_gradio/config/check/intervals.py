"""Checks for intervals that are never reached within the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.declarations.catalog import title_of
from onetrainer_gradio.config.declarations.labels import name_of
from onetrainer_gradio.config.enums import EMAMode, TimeUnit
from onetrainer_gradio.errors import Finding

_COUNTED = frozenset({TimeUnit.EPOCH, TimeUnit.STEP})


@dataclass(frozen=True)
class Action:
    """Something that repeats at an interval.

    ``nothing`` is the message if it never happens; with ``at_once``, it is already due before the first step.
    """

    nothing: str
    every: str
    unit: str
    skip: str = ""
    at_once: bool = False
    wanted: str = ""


ACTIONS = (
    Action("No samples are generated", "sample_after", "sample_after_unit", "sample_skip_first", at_once=True),
    Action("No backups are created", "backup_after", "backup_after_unit"),
    Action("The model is not saved during training", "save_every", "save_every_unit", "save_skip_first"),
    Action("Validation never runs", "validate_after", "validate_after_unit", at_once=True, wanted="validation"),
)


def first_time(every: int, skip: int, unit: TimeUnit, total: int, *, at_once: bool) -> int | None:
    """Return the epoch or step (from 0) at which an action is first due, or None if it never is.

    An action that isn't due at once runs at the end of a step or at the beginning of an epoch. An action every epoch first
    runs when the second epoch begins, and never after the last.
    """
    if every <= 0:
        return None
    offset = 1 if unit is TimeUnit.STEP and not at_once else 0
    earliest = max(skip, 1 if unit is TimeUnit.EPOCH and not at_once else 0)
    place = -(-(earliest + offset) // every) * every - offset
    return place if place < total else None


def never_due(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for an interval that is longer than the run."""
    for action in ACTIONS:
        unit, every = plan.at(action.unit), plan.at(action.every)
        if unit not in _COUNTED or (action.wanted and not plan.at(action.wanted)):
            continue
        total = plan.config.epochs if unit is TimeUnit.EPOCH else plan.steps
        skip = plan.at(action.skip) if action.skip else 0
        if not total or first_time(every, skip, unit, total, at_once=action.at_once) is not None:
            continue
        setting, never = title_of(action.every), f"set its unit to {name_of(TimeUnit.NEVER)}"
        after = f" after the first {skip}" if skip else ""
        last = ". It runs when the next epoch begins, not after the last" if unit is TimeUnit.EPOCH and every == total else ""
        but = f", but the run has {_number(total, unit)}" if every > 0 else ""
        yield found(
            "interval-never-due",
            action.every,
            f"{action.nothing}: {setting} is {_number(every, unit)}{after}{but}{last}",
            value=every,
            expected=f"less than {_number(total, unit)}" if total > 1 else "another unit",
            suggestion=f"Lower {setting}, or {never}." if every > 0 else f"Set {setting} to at least 1, or {never}.",
            severity="note" if every <= 0 else "",
        )


def _number(count: int, unit: TimeUnit) -> str:
    return f"{count} {unit.value.lower()}{'s' * (count != 1)}"


def no_backup(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if the run creates no backup."""
    config = plan.config
    never = config.backup_after_unit is TimeUnit.NEVER or (config.backup_after_unit in _COUNTED and config.backup_after <= 0)
    if never and not config.backup_before_save:
        yield found(
            "no-backup",
            "backup_before_save",
            "The run creates no backup, so it can't be resumed after a crash or continued later",
            value=False,
            expected="backups during the run or at its end",
            suggestion=f"Turn on {title_of('backup_before_save')}.",
            fix={"backup_before_save": True},
        )


def warmup(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if the learning rate is still rising when the run ends."""
    steps, warm = plan.steps, plan.config.learning_rate_warmup_steps
    if steps and warm > 1 and warm >= steps:
        yield found(
            "warmup-longer-than-run",
            "learning_rate_warmup_steps",
            f"{title_of('learning_rate_warmup_steps')} is {warm:g}, but the run has only about {steps} steps, so it never "
            "reaches the full learning rate",
            value=warm,
            expected=f"well below {steps}, or a fraction such as 0.1",
            suggestion=f"Set {title_of('learning_rate_warmup_steps')} to 0.1 for a tenth of the run.",
            fix={"learning_rate_warmup_steps": 0.1},
        )


def averaging(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the EMA weights are never updated."""
    config, steps = plan.config, plan.steps
    if config.ema is EMAMode.OFF or not steps:
        return
    updates = steps // max(1, config.gradient_accumulation_steps)
    if config.ema_update_step_interval > updates:
        yield found(
            "ema-never-updated",
            "ema_update_step_interval",
            f"The EMA weights are updated every {config.ema_update_step_interval} steps, but the run has only about {updates}, "
            "so the final model would be the untrained model",
            value=config.ema_update_step_interval,
            expected=f"at most {updates}",
            suggestion=f"Set {title_of('ema_update_step_interval')} to 1, or turn off {title_of('ema')}.",
            fix={"ema_update_step_interval": 1},
        )


def accumulation(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the run ends before its first optimizer step."""
    steps, window = plan.steps, plan.config.gradient_accumulation_steps
    if steps and window > steps:
        yield found(
            "accumulation-longer-than-run",
            "gradient_accumulation_steps",
            f"{title_of('gradient_accumulation_steps')} is {window}, but the run has only about {steps} steps, "
            "so the weights never change",
            value=window,
            expected=f"at most {steps}",
            suggestion=f"Lower {title_of('gradient_accumulation_steps')}, or raise {title_of('epochs')}.",
            fix={"gradient_accumulation_steps": 1},
        )


def never_trained(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if training of a component stops before its first step."""
    for name in plan.trained:
        part = plan.at(name)
        path = f"{name}.stop_training_after"
        if part.stop_training_after_unit is TimeUnit.ALWAYS or (
            part.stop_training_after_unit is not TimeUnit.NEVER and not part.stop_training_after
        ):
            yield found(
                "stopped-at-once",
                path,
                f"Training of the {plan.called(name)} stops before its first step",
                value=part.stop_training_after,
                expected=f"a number of epochs or steps, or the unit {name_of(TimeUnit.NEVER)}",
                suggestion=f"Set the unit of {title_of(path)} to {name_of(TimeUnit.NEVER)}.",
                fix={f"{path}_unit": "NEVER"},
            )

"""What is to happen every so often, and never does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onetrainer_gradio.config.check.findings import found
from onetrainer_gradio.config.check.plan import Plan
from onetrainer_gradio.config.enums import EMAMode, TimeUnit
from onetrainer_gradio.errors import Finding

_COUNTED = frozenset({TimeUnit.EPOCH, TimeUnit.STEP})


@dataclass(frozen=True)
class Action:
    """Something that is done every so often; ``at_once`` is already due before the first step."""

    label: str
    every: str
    unit: str
    skip: str = ""
    at_once: bool = False
    wanted: str = ""


ACTIONS = (
    Action("Samples", "sample_after", "sample_after_unit", "sample_skip_first", at_once=True),
    Action("Backups", "backup_after", "backup_after_unit"),
    Action("Saves", "save_every", "save_every_unit", "save_skip_first"),
    Action("Validation", "validate_after", "validate_after_unit", at_once=True, wanted="validation"),
)


def first_time(every: int, skip: int, unit: TimeUnit, total: int, *, at_once: bool) -> int | None:
    """At which epoch or step (from 0) an action is first due, or None when never.

    What is not due at once is done at the end of a step, but at the beginning of an epoch: an action every epoch is first done
    when the second epoch begins, and never after the last.
    """
    if every <= 0:
        return None
    offset = 1 if unit is TimeUnit.STEP and not at_once else 0
    earliest = max(skip, 1 if unit is TimeUnit.EPOCH and not at_once else 0)
    place = -(-(earliest + offset) // every) * every - offset
    return place if place < total else None


def never_due(plan: Plan) -> Iterator[Finding]:
    """An interval that is longer than the run."""
    for action in ACTIONS:
        unit, every = plan.at(action.unit), plan.at(action.every)
        if unit not in _COUNTED or (action.wanted and not plan.at(action.wanted)):
            continue
        total = plan.config.epochs if unit is TimeUnit.EPOCH else plan.steps
        skip = plan.at(action.skip) if action.skip else 0
        if not total or first_time(every, skip, unit, total, at_once=action.at_once) is not None:
            continue
        words = f"{unit.value.lower()}s"
        after = f" after the first {skip}" if skip else ""
        last = " (an epoch's turn comes when the next one begins)" if unit is TimeUnit.EPOCH and every == total else ""
        yield found(
            "interval-never-due",
            action.every,
            f"{action.label} every {every} {words}{after} never happen: the run has {total} {words}{last}",
            value=every,
            expected=f"less than {total} {words}" if total > 1 else "another unit",
            suggestion="Choose a shorter interval, or NEVER if none are wanted.",
            severity="note" if every <= 0 else "",
        )


def no_backup(plan: Plan) -> Iterator[Finding]:
    """A run that leaves nothing to go on from."""
    config = plan.config
    never = config.backup_after_unit is TimeUnit.NEVER or (config.backup_after_unit in _COUNTED and config.backup_after <= 0)
    if never and not config.backup_before_save:
        yield found(
            "no-backup",
            "backup_before_save",
            "No backup is made: a run that breaks off is lost, and a finished one cannot be continued",
            value=False,
            expected="backups during the run or at its end",
            suggestion="Turn Back up at the end on.",
            fix={"backup_before_save": True},
        )


def warmup(plan: Plan) -> Iterator[Finding]:
    """A learning rate that is still rising when the run ends."""
    steps, warm = plan.steps, plan.config.learning_rate_warmup_steps
    if steps and warm > 1 and warm >= steps:
        yield found(
            "warmup-longer-than-run",
            "learning_rate_warmup_steps",
            f"The warm-up of {warm:g} steps is as long as the run of about {steps}: the full learning rate is never reached",
            value=warm,
            expected=f"well below {steps}, or a fraction such as 0.1",
            suggestion="Write 0.1 for a tenth of the run.",
            fix={"learning_rate_warmup_steps": 0.1},
        )


def averaging(plan: Plan) -> Iterator[Finding]:
    """An average that is never updated stays what the model was at the start."""
    config, steps = plan.config, plan.steps
    if config.ema is EMAMode.OFF or not steps:
        return
    updates = steps // max(1, config.gradient_accumulation_steps)
    if config.ema_update_step_interval > updates:
        yield found(
            "ema-never-updated",
            "ema_update_step_interval",
            f"The moving average is updated every {config.ema_update_step_interval} steps, and the run has about {updates}: "
            "the result would be the untrained model",
            value=config.ema_update_step_interval,
            expected=f"at most {updates}",
            suggestion="Write 1, or turn EMA off.",
            fix={"ema_update_step_interval": 1},
        )


def accumulation(plan: Plan) -> Iterator[Finding]:
    """A run that ends before its first update."""
    steps, window = plan.steps, plan.config.gradient_accumulation_steps
    if steps and window > steps:
        yield found(
            "accumulation-longer-than-run",
            "gradient_accumulation_steps",
            f"{window} steps are added up before the weights change, and the run has about {steps}",
            value=window,
            expected=f"at most {steps}",
            suggestion="Lower it, or train more epochs.",
            fix={"gradient_accumulation_steps": 1},
        )


def never_trained(plan: Plan) -> Iterator[Finding]:
    """A part that is trained, but only until before it begins."""
    for name in plan.trained:
        part = plan.at(name)
        path = f"{name}.stop_training_after"
        if part.stop_training_after_unit is TimeUnit.ALWAYS or (
            part.stop_training_after_unit is not TimeUnit.NEVER and not part.stop_training_after
        ):
            yield found(
                "stopped-at-once",
                path,
                f"The training of the {plan.called(name)} stops before its first step",
                value=part.stop_training_after,
                expected="a number of epochs or steps, or the unit NEVER",
                suggestion="Choose NEVER to train it to the end.",
                fix={f"{path}_unit": "NEVER"},
            )

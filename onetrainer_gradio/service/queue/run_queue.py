"""Provide the operations on the queue: add, list, edit, duplicate, remove, move, pause and resume. Safe from any thread."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.families.models import MODELS
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.form.patch import apply
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.errors import (
    ConfigInvalidError,
    ConfigValueError,
    Finding,
    QueueItemNotFoundError,
    RevisionConflictError,
    RunConflictError,
    TrainerError,
)
from onetrainer_gradio.service.people.roles import Kind, acting
from onetrainer_gradio.service.queue.fair_share import FACT, MAX_DAYS, fair_order, fair_share_days, reason_of
from onetrainer_gradio.service.queue.fingerprint import fingerprints_of
from onetrainer_gradio.service.queue.items import (
    MAX_ITEMS,
    MAX_TAGS,
    ON_DEVICE,
    ItemChoices,
    QueueItem,
    new_item_id,
    summary_of,
)
from onetrainer_gradio.service.queue.store import QueueStore, Transaction
from onetrainer_gradio.service.queue.sweep import grid, label_of, tags_of

QUEUE_PAGE = 100
BY_OWNER = "owner"
"""What the store notes if the owner, not the panel, paused the queue."""
_LABELS = {str(model_type): facts.label for model_type, facts in MODELS.items()}
_NOT_SHOWN = frozenset({"fingerprints", "claimed_by", "unstarted", "position", "account"})
# Of the settings' changes only the part that fits into a list is shown.
_MAX_FINDINGS = 50


@dataclass(frozen=True)
class Frozen:
    """Settings and options that passed the pre-flight check, with concepts and samples and without secrets."""

    config: TrainConfig
    options: RunOptions


class Freeze(Protocol):
    """Freezes settings for a run (None: the current settings) after the pre-flight check."""

    def __call__(self, config: TrainConfig | None, options: RunOptions | None, device: str) -> Frozen:
        """Return what a run starts with.

        :raises ConfigInvalidError: with findings, if the pre-flight check finds errors.
        """
        ...


class RunQueue:
    """The runs that wait for a device.

    ``changed`` is called after each change with its reason and the item's ID; ``waits`` returns why each item waits; ``is_run``
    returns whether there is a run with an ID. ``used_s`` returns for each account how many seconds it used devices in some days,
    and ``admit`` raises ``QuotaError`` if an account may not add runs.
    """

    def __init__(
        self,
        store: QueueStore,
        freeze: Freeze,
        *,
        changed: Callable[[str, str], None] = lambda reason, item_id: None,
        waits: Callable[[], Mapping[str, Mapping[str, Any]]] = dict,
        is_run: Callable[[str], bool] = lambda run_id: False,
        used_s: Callable[[float], Mapping[str, float]] = lambda days: {},
        admit: Callable[[str], None] = lambda account: None,
    ) -> None:
        self.store = store
        self._freeze = freeze
        self._changed = changed
        self._waits = waits
        self._is_run = is_run
        self._used_s = used_s
        self._admit = admit

    # adding

    def add(
        self,
        config: TrainConfig | None = None,
        options: RunOptions | None = None,
        choices: ItemChoices | None = None,
    ) -> dict[str, Any]:
        """Add a run of ``config`` (None: the current settings) to the end of the queue. Return it as ``get`` does.

        :raises ConfigInvalidError: with findings, if the pre-flight check finds errors.
        :raises QuotaError: if the quota of who adds it is used up.
        :raises RunConflictError: if the queue is full.
        """
        choices = choices or ItemChoices()
        self._raise_if_over_quota()
        frozen = self._freeze(config, options, choices.device or "")
        item = _new_item(frozen, choices)
        self._add_all([(item, frozen)])
        self._changed("added", item.id)
        return self.get(item.id)

    def _raise_if_over_quota(self) -> None:
        """Check the quota of a person. What the panel itself adds, such as an automatic resume, waits in the queue instead."""
        if acting().kind is not Kind.LOCAL:
            self._admit(acting().account)

    def _add_all(self, added: Sequence[tuple[QueueItem, Frozen]]) -> None:
        fingerprints: dict[str, Any] = {}
        for _, frozen in added:
            if not fingerprints.keys() >= {concept.path for concept in frozen.config.concepts or () if concept.enabled}:
                fingerprints |= fingerprints_of(frozen.config)

        def work(queue: Transaction) -> None:
            if len(queue.items) + len(added) > MAX_ITEMS:
                raise RunConflictError(
                    f"The queue can't have more than {MAX_ITEMS} runs", suggestion="Remove some of the waiting runs."
                )
            for item, frozen in added:
                own = {concept.path for concept in frozen.config.concepts or () if concept.enabled}
                described = {path: fingerprints[path] for path in own if path in fingerprints}
                placed = dataclasses.replace(item, position=queue.next_position(), fingerprints=described)
                self._check_after(queue, placed)
                queue.add(placed, _config_text(frozen.config), _options_text(frozen.options))

        self.store.change(work)

    def preview_sweep(
        self,
        config: TrainConfig | None,
        options: RunOptions | None,
        choices: ItemChoices | None,
        values: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the runs that a sweep would add, each with its name, tags, changes and what the pre-flight check finds."""
        made, notes = self._sweep(config, options, choices or ItemChoices(), values)
        return {
            "count": len(made),
            "valid": all(frozen is not None for _, frozen, _ in made),
            "notes": notes,
            "runs": [
                {
                    "name": item.name,
                    "tags": list(item.tags),
                    "changes": dict(item.changes),
                    "errors": [dataclasses.asdict(finding) for finding in findings[:_MAX_FINDINGS]],
                }
                for item, _, findings in made
            ],
        }

    def add_sweep(
        self,
        config: TrainConfig | None,
        options: RunOptions | None,
        choices: ItemChoices | None,
        values: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Add one run for each combination of the values of several settings: all of them or none.

        :raises ConfigInvalidError: with findings, if one of them is invalid.
        :raises ConfigValueError: if there are no values, or too many combinations.
        :raises QuotaError: if the quota of who adds them is used up.
        """
        self._raise_if_over_quota()
        made, notes = self._sweep(config, options, choices or ItemChoices(), values)
        wrong = [finding for _, frozen, findings in made if frozen is None for finding in findings]
        if wrong:
            raise ConfigInvalidError(wrong[:_MAX_FINDINGS])
        added = [(item, frozen) for item, frozen, _ in made if frozen is not None]
        self._add_all(added)
        self._changed("added", added[0][0].id)
        return {"count": len(added), "sweep": added[0][0].sweep, "ids": [item.id for item, _ in added], "notes": notes}

    def _sweep(
        self, config: TrainConfig | None, options: RunOptions | None, choices: ItemChoices, values: Mapping[str, Any]
    ) -> tuple[list[tuple[QueueItem, Frozen | None, tuple[Finding, ...]]], list[str]]:
        combinations = grid(values)
        first = self._freeze(config, options, choices.device or "")
        base, notes = first.config, []
        if base.continue_last_backup:
            # else each run of the grid would continue the one before it, which has the same workspace
            base = base.model_copy(update={"continue_last_backup": False})
            notes.append("“Continue from last backup” is turned off, so each run of the sweep starts from the beginning.")
        notes.append("All runs use the same output file and workspace. Each run keeps a copy of the model that it saved.")
        sweep = f"sweep-{new_item_id().removeprefix('q-')}"
        name = choices.name or first.options.name or "Sweep"
        made: list[tuple[QueueItem, Frozen | None, tuple[Finding, ...]]] = []
        for changes in combinations:
            own = choices.model_copy(
                update={
                    "name": f"{name} {label_of(changes)}"[:500],
                    "tags": (*(choices.tags or first.options.tags), sweep, *tags_of(changes))[:MAX_TAGS],
                }
            )
            try:
                frozen = self._freeze(apply(base, changes), first.options, choices.device or "")
            except ConfigInvalidError as error:
                errors = tuple(finding for finding in error.findings() if finding.severity == "error")
                draft = _new_item(Frozen(base, first.options), own)
                made.append((dataclasses.replace(draft, sweep=sweep, changes=changes), None, errors))
                continue
            item = dataclasses.replace(_new_item(frozen, own), sweep=sweep, changes=changes)
            made.append((item, frozen, ()))
        return made, notes

    def duplicate(self, item_id: str) -> dict[str, Any]:
        """Add a copy of an item that hasn't ended, directly after it in the queue. Return the copy.

        :raises QueueItemNotFoundError: if there is no such item.
        :raises QuotaError: if the quota of who copies it is used up.
        """
        self._raise_if_over_quota()
        days, used_s = self._shares()
        who = acting()

        def work(queue: Transaction) -> str:
            item = queue.item(item_id)
            if len(queue.items) >= MAX_ITEMS:
                raise RunConflictError(f"The queue can't have more than {MAX_ITEMS} runs")
            config, options = queue.texts(item_id)
            copy = dataclasses.replace(
                _fresh(item),
                id=new_item_id(),
                name=f"{item.name} (copy)"[:500],
                position=queue.next_position(),
                added_at=time.time(),
                held=True,
                hold_reason="",
                added_by=who.name or item.added_by,
                account=item.account if who.kind is Kind.LOCAL else who.account,
            )
            changed = RunOptions(**json.loads(options)).model_copy(update={"started_by": copy.added_by, "account": copy.account})
            queue.add(copy, config, _options_text(changed))
            if item.state == "waiting":
                ordered = [each for each in _ordered(queue, days, used_s) if each.id != copy.id]
                ordered.insert([each.id for each in ordered].index(item_id) + 1, copy)
                queue.arrange(ordered)
            return copy.id

        copied = self.store.change(work)
        self._changed("added", copied)
        return self.get(copied)

    # reading

    def list(self, limit: int = QUEUE_PAGE, cursor: str | None = None, *, ended: bool = False) -> dict[str, Any]:
        """Return the runs of the queue: those with a device first, then the waiting ones in their order.

        With ``ended``, the newest ended ones. ``cursor`` is the ``next_cursor`` of the previous page.
        """
        waits = self._waits()
        days, used_s = self._shares()

        def work(queue: Transaction) -> dict[str, Any]:
            waiting = _ordered(queue, days, used_s)
            active = [item for item in queue.items.values() if item.state in ON_DEVICE]
            places = {item.id: place for place, item in enumerate(waiting, start=1)}
            every = queue.ended_items(10_000) if ended else [*active, *waiting]
            ids = [item.id for item in every]
            start = ids.index(cursor) + 1 if cursor in ids else 0
            shown = every[start : start + limit]
            return {
                **_summary(queue),
                "items": [
                    _described(item, places.get(item.id), waits.get(item.id)) | _because(item, used_s, days) for item in shown
                ],
                "next_cursor": shown[-1].id if start + limit < len(every) and shown else None,
                "total": len(every),
                "ended": queue.ended_count(),
            }

        return self.store.read(work)

    def get(self, item_id: str, *, with_config: bool = False) -> dict[str, Any]:
        """Return an item with its place (None unless it waits), and with its frozen settings and options if requested.

        :raises QueueItemNotFoundError: if there is no such item.
        """
        waits = self._waits()
        days, used_s = self._shares()

        def work(queue: Transaction) -> dict[str, Any]:
            item = queue.items.get(item_id) or queue.ended_item(item_id) or queue.item(item_id)
            places = {each.id: place for place, each in enumerate(_ordered(queue, days, used_s), start=1)}
            found = _described(item, places.get(item.id), waits.get(item.id)) | _because(item, used_s, days)
            if with_config:
                config, options = queue.texts(item.id)
                found |= {"config": json.loads(config or "null"), "options": json.loads(options)}
            return found

        return self.store.read(work)

    def summary(self) -> dict[str, Any]:
        """Return whether the queue is paused and why, and how many runs wait, are on a device, or are held."""
        return self.store.read(_summary)

    def with_notes(self, notes: str) -> str:
        """Return the ID of the run in the queue that has these notes and hasn't ended; empty if there is none."""
        return self.store.read(lambda queue: next((item.id for item in queue.items.values() if item.notes == notes), ""))

    def backups_to_resume(self) -> tuple[str, ...]:
        """Return the backups that waiting runs resume from."""
        return self.store.read(lambda queue: tuple(item.resume_from for item in queue.items.values() if item.resume_from))

    # changing

    def edit(
        self,
        item_id: str,
        choices: ItemChoices,
        *,
        config: TrainConfig | None = None,
        changes: Mapping[str, Any] | None = None,
        revision: int | None = None,
    ) -> dict[str, Any]:
        """Change a waiting item: its choices, its settings (``config`` replaces all), or single settings (``changes``).

        :raises ConfigInvalidError: with findings, if the pre-flight check of changed settings finds errors.
        :raises QueueItemNotFoundError: if there is no such item.
        :raises RevisionConflictError: if it changed since ``revision``.
        :raises RunConflictError: if it doesn't wait any more.
        """
        given = choices.given()
        frozen: Frozen | None = None
        if config is not None or changes or "device" in given:
            item, config_text, options_text = self.store.read(lambda queue: (queue.item(item_id), *queue.texts(item_id)))
            revision = item.revision if revision is None else revision
            device = given.get("device", item.device)
            before, _ = from_document(json.loads(config_text))
            wanted = before if config is None else config
            if "device" in given and not device and config is None:
                raise ConfigValueError(
                    "Choose a device.", path="device", value="", expected="cpu, mps or cuda:1", suggestion="Set the device."
                )
            if changes:
                wanted = apply(wanted, changes)
            options = RunOptions(**json.loads(options_text))
            frozen = self._freeze(wanted, options, device)
            # whoever edits it, the run belongs to the person who added it
            own = frozen.options.model_copy(update={"started_by": options.started_by, "account": options.account})
            frozen = dataclasses.replace(frozen, options=own)

        def work(queue: Transaction) -> None:
            item = queue.item(item_id)
            if revision is not None and item.revision != revision:
                raise RevisionConflictError(
                    "Someone else changed this queued run in the meantime", value=revision, suggestion="Reload it and try again."
                )
            if item.state != "waiting":
                raise RunConflictError(f"The run “{item.name or item.id}” has already started", value=item_id)
            edited = dataclasses.replace(item, **given)
            if "held" in given:
                edited = dataclasses.replace(edited, hold_reason="", error=None if not edited.held else edited.error)
            if frozen is not None:
                edited = dataclasses.replace(edited, fingerprints=fingerprints, **summary_of(frozen.config))
            if "after" in given:
                self._check_after(queue, edited)
            texts = {} if frozen is None else {"config": _config_text(frozen.config), "options": _options_text(frozen.options)}
            queue.put(edited, **texts)

        fingerprints = fingerprints_of(frozen.config) if frozen is not None else {}
        self.store.change(work)
        self._changed("changed", item_id)
        return self.get(item_id)

    def remove(self, item_id: str) -> None:
        """Remove a waiting item, or forget an ended one. Its run, if it had one, is kept.

        :raises QueueItemNotFoundError: if there is no such item.
        :raises RunConflictError: if it is on a device.
        """

        def work(queue: Transaction) -> None:
            item = queue.items.get(item_id) or queue.ended_item(item_id)
            if item is None or item.id != item_id:
                raise QueueItemNotFoundError(f"The queue has no run {item_id!r}", value=item_id)
            if item.state in ON_DEVICE:
                raise RunConflictError(
                    f"The run “{item.name or item.id}” has already started", value=item.run_id, suggestion="Stop it instead."
                )
            queue.remove(item)

        self.store.change(work)
        self._changed("removed", item_id)

    def move(
        self,
        item_id: str,
        *,
        place: int | None = None,
        by: int | None = None,
        before: str | None = None,
        after: str | None = None,
    ) -> dict[str, Any]:
        """Move a waiting item: to a ``place`` (1: first), ``by`` some places (negative: up), or before or after another item.

        If the item would then be between items of other priorities, it gets the priority of its neighbor. Return the item.

        :raises QueueItemNotFoundError: if there is no such item, or the other one doesn't wait.
        :raises ConfigValueError: if not exactly one of the arguments is given.
        :raises RunConflictError: if the item doesn't wait any more.
        """
        if sum(value is not None for value in (place, by, before, after)) != 1:
            raise ConfigValueError("Set exactly one of place, by, before and after.", path="place")
        days, used_s = self._shares()

        def work(queue: Transaction) -> None:
            item = queue.item(item_id)
            if item.state != "waiting":
                raise RunConflictError(f"The run “{item.name or item.id}” has already started", value=item_id)
            order = _ordered(queue, days, used_s)
            at = [each.id for each in order].index(item_id)
            rest = [each for each in order if each.id != item_id]
            target = _target(rest, at, place=place, by=by, before=before, after=after)
            above = rest[target - 1].priority if target else None
            below = rest[target].priority if target < len(rest) else None
            priority = item.priority
            priority = max(priority, below) if below is not None else priority
            priority = min(priority, above) if above is not None else priority
            moved = dataclasses.replace(item, priority=priority)
            queue.arrange([*rest[:target], moved, *rest[target:]])

        self.store.change(work)
        self._changed("moved", item_id)
        return self.get(item_id)

    def pause(self, reason: str = BY_OWNER) -> dict[str, Any]:
        """Start no further run until ``resume``, also after a restart. Runs on a device continue. Return the summary."""
        self.store.change(lambda queue: queue.set_fact("paused", reason))
        self._changed("paused", "")
        return self.summary()

    def resume(self) -> dict[str, Any]:
        """Start waiting runs again, even if the GPU memory of the last run isn't free. Return the summary."""

        def work(queue: Transaction) -> None:
            queue.set_fact("paused", "")
            queue.set_fact("memory_before", "")

        self.store.change(work)
        self._changed("resumed", "")
        return self.summary()

    def set_fair_share(self, days: int) -> dict[str, Any]:
        """Start runs of the same priority by who used the least in the last ``days``; 0: in their order. Return the summary.

        :raises ConfigValueError: if ``days`` isn't between 0 and a year.
        """
        if not 0 <= days <= MAX_DAYS:
            raise ConfigValueError(f"The days must be between 0 and {MAX_DAYS}.", path="days", value=days)
        self.store.change(lambda queue: queue.set_fact(FACT, str(days) if days else ""))
        self._changed("fair_share", "")
        return self.summary()

    def _shares(self) -> tuple[int, Mapping[str, float]]:
        """Return the days of fair share, and what each account used in them. Measured outside of a transaction."""
        days = self.store.read(fair_share_days)
        return days, self._used_s(days) if days else {}

    def _check_after(self, queue: Transaction, item: QueueItem) -> None:
        """Check that the run that an item waits for exists, and that it doesn't wait for itself.

        :raises ConfigValueError: if it doesn't exist, or if they wait for each other.
        """
        seen, key = {item.id}, item.after
        if key and not (key in queue.items or queue.ended_item(key) is not None or self._is_run(key)):
            raise ConfigValueError(f"The run {key!r} doesn't exist.", path="after", value=key)
        while key:
            if key in seen:
                raise ConfigValueError(
                    "This run would wait for itself.", path="after", value=item.after, suggestion="Choose another run."
                )
            seen.add(key)
            other = queue.items.get(key)
            key = other.after if other is not None else ""


def _new_item(frozen: Frozen, choices: ItemChoices) -> QueueItem:
    options = frozen.options
    given: dict[str, Any] = {"name": options.name, "tags": options.tags, "max_steps": options.max_steps or 0} | choices.given()
    return QueueItem(
        id=new_item_id(),
        added_at=time.time(),
        added_by=options.started_by,
        account=options.account,
        resume_from=options.resume_from,
        resumes_run=options.resumes_run,
        **given,
        **summary_of(frozen.config),
    )


def _fresh(item: QueueItem) -> QueueItem:
    """Return the item as if it had just been added."""
    return dataclasses.replace(
        item,
        state="waiting",
        run_id="",
        attempts=0,
        retry_at=0.0,
        unstarted=0,
        error=None,
        ended_at=0.0,
        claimed_by=None,
        revision=1,
    )


def _config_text(config: TrainConfig) -> str:
    return json.dumps(to_document(config, packed=True))


def _options_text(options: RunOptions) -> str:
    return json.dumps(options.model_dump(mode="json"))


def _summary(queue: Transaction) -> dict[str, Any]:
    paused = queue.fact("paused")
    waiting = [item for item in queue.items.values() if item.state == "waiting"]
    return {
        "paused": bool(paused),
        "pause_reason": "" if paused == BY_OWNER else paused,
        "waiting": len(waiting),
        "held": sum(item.held for item in waiting),
        "running": len(queue.items) - len(waiting),
        "fair_share_days": fair_share_days(queue),
        "revision": int(queue.fact("revision") or 0),
    }


def _described(item: QueueItem, place: int | None, wait: Mapping[str, Any] | None) -> dict[str, Any]:
    body = {name: value for name, value in dataclasses.asdict(item).items() if name not in _NOT_SHOWN}
    return body | {
        "model": _LABELS.get(item.model_type, item.model_type),
        "place": place,
        "wait": dict(wait) if wait and item.state == "waiting" else None,
    }


def _ordered(queue: Transaction, days: int, used_s: Mapping[str, float]) -> list[QueueItem]:
    return fair_order(queue.items.values(), used_s) if days else queue.waiting()


def _because(item: QueueItem, used_s: Mapping[str, float], days: int) -> dict[str, Any]:
    return {"order_reason": reason_of(item, used_s, days) if days and item.state == "waiting" else ""}


def _target(
    rest: Sequence[QueueItem], at: int, *, place: int | None, by: int | None, before: str | None, after: str | None
) -> int:
    ids = [item.id for item in rest]
    if place is not None:
        return max(0, min(place - 1, len(rest)))
    if by is not None:
        return max(0, min(at + by, len(rest)))
    other = before if before is not None else after
    if other not in ids:
        raise QueueItemNotFoundError(f"The queue has no waiting run {other!r}", value=other)
    return ids.index(other) + (after is not None)


def choices_of(values: Any) -> ItemChoices:
    """Return the choices of a request.

    :raises ConfigInvalidError: with a finding for each invalid one.
    """
    try:
        return ItemChoices.model_validate(values or {})
    except ValidationError as error:
        raise ConfigInvalidError(
            [Finding("error", ".".join(map(str, item["loc"])), item["msg"], item.get("input")) for item in error.errors()]
        ) from error


def error_body(error: TrainerError) -> dict[str, Any]:
    """Return an error as the queue stores it."""
    findings = [finding for finding in error.findings() if finding.severity == "error"]
    return {
        "type": type(error).__name__,
        "message": error.message,
        "suggestion": error.suggestion,
        "errors": [{"path": each.path, "message": each.message, "suggestion": each.suggestion} for each in findings[:20]],
    }

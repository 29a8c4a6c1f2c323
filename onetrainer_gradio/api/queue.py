"""The queue: runs that wait for a device, sweeps, and suspending a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Open
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.api.training import START_KEYS, start_request
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.errors import ConfigValueError
from onetrainer_gradio.service.queue.fair_share import MAX_DAYS
from onetrainer_gradio.service.queue.items import ItemChoices
from onetrainer_gradio.service.queue.run_queue import QUEUE_PAGE, choices_of
from onetrainer_gradio.service.trainer import TrainerService

router = APIRouter(prefix="/api", tags=["queue"], responses=ERRORS)

ItemId = Annotated[str, Path(description="ID of a queued run.", max_length=100, examples=["q-0123456789ab"])]

ADD_EXAMPLES: dict[str, Any] = {
    "current": {"summary": "Current settings", "value": {}},
    "saved": {"summary": "Saved configuration, tonight", "value": {"config": "Demo LoRA", "item": {"not_before": 1796000000}}},
    "urgent": {"summary": "Before all others", "value": {"config": {"epochs": 4}, "item": {"priority": 10, "name": "urgent"}}},
}
SWEEP_EXAMPLES: dict[str, Any] = {
    "grid": {"summary": "Six runs", "value": {"values": {"learning_rate": [1e-4, 3e-4], "lora_rank": [8, 16, 32]}}},
}
_CHOICES = frozenset(ItemChoices.model_fields)


class QueueSummary(Open):
    """The queue in numbers."""

    paused: bool = Field(description="Whether no further run starts.")
    pause_reason: str = Field("", description="Why the panel paused the queue; empty if its owner did.")
    waiting: int = Field(description="Number of waiting runs.")
    held: int = Field(description="Number of waiting runs that their owner has to release.")
    running: int = Field(description="Number of runs that have a device.")
    revision: int = Field(description="Increases with each change.")
    fair_share_days: int = Field(0, description="Days back that usage counts for fair share; 0 if runs start in their order.")


class Wait(Open):
    """Why a run doesn't start now."""

    code: str = Field(
        description="`held`, `paused`, `not_before`, `after`, `device`, `memory`, `memory_not_freed`, `retry`, "
        "`quota` or `trouble`."
    )
    text: str = Field(description="The reason as a sentence.")


class Item(Open):
    """A queued run. It also has the fields of its choices, such as `priority` and `not_before`."""

    id: str
    name: str
    state: Literal["waiting", "starting", "running", "suspending", "completed", "stopped", "failed"]
    place: int | None = Field(None, description="Place among the waiting runs, from 1; null if it doesn't wait.")
    run_id: str = Field("", description="ID of the run that it became; empty while it waits.")
    revision: int = Field(description="Increases with each change of this item.")
    order_reason: str = Field("", description="Why it has its place, with fair share; empty otherwise.")
    wait: Wait | None = Field(None, description="Why it doesn't start now; null shortly after a change.")


class QueueList(QueueSummary):
    """A page of the queue."""

    items: list[Item]
    next_cursor: str | None = Field(None, description="The `cursor` of the next page; null on the last one.")
    total: int = Field(description="Number of all runs of this list.")
    ended: int = Field(description="Number of ended runs that `ended=true` lists.")


class ItemWithConfig(Item):
    """A queued run with its frozen settings."""

    config: dict[str, Any] | None = Field(None, description="Its frozen settings; null once it has ended.")
    options: dict[str, Any] = Field(default_factory=dict, description="Its frozen run options.")


class ItemAccepted(Item):
    """The run was added or changed."""

    ok: Literal[True] = True


class Move(BaseModel):
    """Where to. Set exactly one field."""

    place: int | None = Field(None, ge=1, le=100_000, description="New place, from 1.")
    by: int | None = Field(None, ge=-100_000, le=100_000, description="Number of places; negative: up.")
    before: str | None = Field(None, max_length=100, description="ID of the run to place it before.")
    after: str | None = Field(None, max_length=100, description="ID of the run to place it after.")


class SweepRun(Open):
    """A run that a sweep would add."""

    name: str
    tags: list[str]
    changes: dict[str, Any] = Field(description="Path of each varied setting -> value.")
    errors: list[dict[str, Any]] = Field(description="Errors of the pre-flight check.")


class SweepPreview(BaseModel):
    """What a sweep would add."""

    count: int
    valid: bool = Field(description="Whether the pre-flight check finds no errors.")
    notes: list[str]
    runs: list[SweepRun]


class SweepAdded(BaseModel):
    """What a sweep added."""

    ok: Literal[True] = True
    count: int
    sweep: str = Field(description="Tag of all runs of the sweep.")
    ids: list[str]
    notes: list[str]


class SuspendRequest(BaseModel):
    """What happens after the run was suspended."""

    hold: bool = Field(True, description="Wait until the owner releases it. Otherwise it resumes when its turn comes again.")


class FairShare(BaseModel):
    """How far back usage counts."""

    days: int = Field(ge=0, le=MAX_DAYS, description="Days back that usage counts. 0: runs start in their order.", examples=[7])


class SuspendAccepted(BaseModel):
    """The run backs up and ends."""

    ok: Literal[True] = True
    id: str = Field(description="ID of the queued run that resumes it.")


@router.get("/queue", response_model=QueueList)
@slow
def queue(
    service: Service,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of runs.")] = QUEUE_PAGE,
    cursor: Annotated[str | None, Query(max_length=100, description="The `next_cursor` of the previous page.")] = None,
    ended: Annotated[bool, Query(description="List the ended runs instead, newest first.")] = False,
) -> dict[str, Any]:
    """List the queue: runs with a device first, then the waiting ones in the order in which they start."""
    return service.queue.list(limit, cursor, ended=ended)


@router.post("/queue", response_model=ItemAccepted)
@slow
def add(
    service: Service, body: Annotated[dict[str, Any] | str | None, Body(openapi_examples=ADD_EXAMPLES)] = None
) -> dict[str, Any]:
    """Add a run to the queue and return its `id` and `place`.

    The body is that of `POST /api/training/start`. With `item`, it sets name, notes, tags, priority, device and more.
    """
    config, options, choices, _ = queue_request(service, body)
    return {"ok": True, **service.queue.add(config, options, choices)}


@router.post("/queue/pause", response_model=QueueSummary)
@slow
def pause(service: Service) -> dict[str, Any]:
    """Start no further run until the queue is resumed. Runs that train continue."""
    return service.queue.pause()


@router.post("/queue/resume", response_model=QueueSummary)
@slow
def resume(service: Service) -> dict[str, Any]:
    """Start waiting runs again, even if the GPU memory of the last run isn't free."""
    return service.queue.resume()


@router.put("/queue/fair-share", response_model=QueueSummary)
@slow
def fair_share(service: Service, body: FairShare) -> dict[str, Any]:
    """Start runs of the same priority by who used the devices the least in the last `days`. Owners only."""
    return service.queue.set_fair_share(body.days)


@router.post("/queue/sweep/preview", response_model=SweepPreview)
@slow
def preview(service: Service, body: Annotated[dict[str, Any], Body(openapi_examples=SWEEP_EXAMPLES)]) -> dict[str, Any]:
    """Return the runs that a sweep would add. `values` contains a list of values for each setting."""
    config, options, choices, values = queue_request(service, body)
    return service.queue.preview_sweep(config, options, choices, values)


@router.post("/queue/sweep", response_model=SweepAdded)
@slow
def sweep(service: Service, body: Annotated[dict[str, Any], Body(openapi_examples=SWEEP_EXAMPLES)]) -> dict[str, Any]:
    """Add one run for each combination of the `values`: all of them or none."""
    config, options, choices, values = queue_request(service, body)
    return {"ok": True, **service.queue.add_sweep(config, options, choices, values)}


@router.get("/queue/{item_id}", response_model=ItemWithConfig)
@slow
def item(service: Service, item_id: ItemId) -> dict[str, Any]:
    """Return a queued run with its frozen settings."""
    return service.queue.get(item_id, with_config=True)


@router.patch("/queue/{item_id}", response_model=ItemAccepted)
@slow
def edit(service: Service, item_id: ItemId, body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """Change a waiting run: its choices, `config` (all settings, a name, or null for the current settings), or `changes`.

    With `revision`, the change fails if someone else changed the run since.
    """
    choices = choices_of({name: value for name, value in body.items() if name in _CHOICES})
    unknown = sorted(body.keys() - _CHOICES - {"config", "changes", "revision"})
    if unknown:
        raise ConfigValueError(f"Unknown key {unknown[0]!r}.", path=unknown[0], expected=", ".join(sorted(_CHOICES)))
    changes, revision = body.get("changes"), body.get("revision")
    if not (changes is None or isinstance(changes, dict)):
        raise ConfigValueError("This isn't an object.", path="changes", expected="path -> value")
    if not (revision is None or type(revision) is int):
        raise ConfigValueError("This isn't an integer.", path="revision", value=revision, expected="an integer")
    config = None
    if "config" in body:
        config, _ = start_request(service, {"config": body["config"]})
        if config is None:
            service.open_edits.refuse()
            config = service.configs.train_config()
    found = service.queue.edit(item_id, choices, config=config, changes=changes, revision=revision)
    return {"ok": True, **found}


@router.delete("/queue/{item_id}")
@slow
def remove(service: Service, item_id: ItemId) -> dict[str, Any]:
    """Remove a waiting run, or an ended one from the list. A run that it became is kept."""
    service.queue.remove(item_id)
    return {"ok": True}


@router.post("/queue/{item_id}/move", response_model=ItemAccepted)
@slow
def move(service: Service, item_id: ItemId, body: Move) -> dict[str, Any]:
    """Move a waiting run. Between runs of another priority, it gets the priority of its neighbor."""
    return {"ok": True, **service.queue.move(item_id, **body.model_dump())}


@router.post("/queue/{item_id}/duplicate", response_model=ItemAccepted)
@slow
def duplicate(service: Service, item_id: ItemId) -> dict[str, Any]:
    """Add a held copy of a queued run directly after it."""
    return {"ok": True, **service.queue.duplicate(item_id)}


@router.post("/queue/{item_id}/suspend", response_model=SuspendAccepted)
@slow
def suspend_item(service: Service, item_id: ItemId, body: SuspendRequest | None = None) -> dict[str, Any]:
    """Suspend the run of a queued run: back up, end, and wait in the queue to be resumed."""
    return {"ok": True, "id": service.suspend_item(item_id, hold=(body or SuspendRequest()).hold)}


@router.post("/training/suspend", response_model=SuspendAccepted)
@slow
def suspend(
    service: Service,
    body: SuspendRequest | None = None,
    run_id: Annotated[str | None, Query(max_length=100, description="ID of the run. If omitted: the current one.")] = None,
) -> dict[str, Any]:
    """Suspend a run: back up, leave the device, and wait in the queue to be resumed."""
    return {"ok": True, "id": service.suspend_training(run_id, hold=(body or SuspendRequest()).hold)}


def queue_request(
    service: TrainerService, body: dict[str, Any] | str | None
) -> tuple[TrainConfig | None, RunOptions | None, ItemChoices, dict[str, Any]]:
    """Return the configuration, options, choices and sweep values of a request.

    :raises ConfigInvalidError: if one of them is invalid, with a finding per issue.
    :raises ConfigNotFoundError: if no configuration has that name.
    """
    own = {"item", "values"}
    if not isinstance(body, dict) or not body.keys() & own:
        config, options = start_request(service, body)
        return config, options, ItemChoices(), {}
    unknown = sorted(body.keys() - START_KEYS - own)
    if unknown:
        raise ConfigValueError(
            f"Unknown key {unknown[0]!r} next to the configuration.", path=unknown[0], expected="config, options and item"
        )
    values = body.get("values") or {}
    if not isinstance(values, dict):
        raise ConfigValueError("This isn't an object.", path="values", expected="path of a setting -> list of values")
    config, options = start_request(service, {name: value for name, value in body.items() if name in START_KEYS})
    return config, options, choices_of(body.get("item")), values

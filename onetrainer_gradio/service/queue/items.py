"""Define a queued run: the choices of its owner, its state, and the order of the queue."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from onetrainer_gradio.config.declarations.train import TrainConfig

State = Literal["waiting", "starting", "running", "suspending", "completed", "stopped", "failed"]
STATES: tuple[State, ...] = get_args(State)
ON_DEVICE = frozenset({"starting", "running", "suspending"})
"""States in which an item has, or is about to have, a run."""
ENDED = frozenset({"completed", "stopped", "failed"})
OnFailure = Literal["continue", "hold", "retry"]

MAX_ITEMS = 1000
"""Runs that can wait at the same time."""
MAX_RETRIES = 20
MAX_TAGS = 50


class ItemChoices(BaseModel):
    """What the owner of a queued run chooses. ``None`` means: not set in this request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(None, max_length=500, description="Name of the run. If omitted, as in the options.")
    notes: str | None = Field(None, max_length=20_000, description="Notes for the reader of the queue.")
    tags: tuple[str, ...] | None = Field(None, max_length=MAX_TAGS, description="Tags to find the run by.")
    priority: int | None = Field(None, ge=-100, le=100, description="Runs with a higher priority start first.")
    device: str | None = Field(
        None,
        max_length=100,
        pattern=r"^(|cpu|mps|cuda(:[0-9]{1,3})?)$",
        description="Device to train on, such as `cuda:1`. Empty: the one in the settings.",
    )
    not_before: float | None = Field(
        None, ge=0, le=1e11, description="Earliest start, in seconds since the epoch. 0: as soon as possible."
    )
    after: str | None = Field(None, max_length=100, description="ID of a run or queued run that must finish first. Empty: none.")
    max_steps: int | None = Field(None, ge=0, le=2**53, description="Stop after this many micro-batches. 0: no limit.")
    on_failure: OnFailure | None = Field(
        None,
        description="What to do if the run fails: `continue` with the next one, `hold` the queue, or `retry` the run.",
    )
    retries: int | None = Field(None, ge=0, le=MAX_RETRIES, description="How often to retry a failed run.")
    held: bool | None = Field(None, description="Whether the run waits until its owner releases it.")

    def given(self) -> dict[str, Any]:
        """Return the choices that are set."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


@dataclass(frozen=True)
class QueueItem:
    """A queued run. Times are in seconds since the epoch.

    ``run_id`` is the run that it became, or that was suspended. ``devices`` are the devices that it needs. ``hold_reason`` is the
    reason if the panel, not the owner, holds it. ``fingerprints`` describe the folders of its concepts when it was added.
    ``account`` is the ID of the account that added it; empty without one.
    """

    id: str
    name: str = ""
    notes: str = ""
    tags: tuple[str, ...] = ()
    priority: int = 0
    device: str = ""
    not_before: float = 0.0
    after: str = ""
    max_steps: int = 0
    on_failure: OnFailure = "continue"
    retries: int = 0
    held: bool = False
    hold_reason: str = ""
    state: State = "waiting"
    position: int = 0
    revision: int = 1
    run_id: str = ""
    attempts: int = 0
    retry_at: float = 0.0
    unstarted: int = 0
    resume_from: str = ""
    resumes_run: str = ""
    sweep: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    added_at: float = 0.0
    added_by: str = ""
    account: str = ""
    ended_at: float = 0.0
    error: Mapping[str, Any] | None = None
    model_type: str = ""
    training_method: str = ""
    base_model: str = ""
    fingerprints: Mapping[str, Any] = field(default_factory=dict)
    claimed_by: Mapping[str, Any] | None = None

    @property
    def order(self) -> tuple[int, int]:
        """Return the key that sorts waiting items: highest priority first, then by position."""
        return (-self.priority, self.position)

    def to_json(self) -> str:
        """Return the item as JSON."""
        return json.dumps(asdict(self))


_TUPLES = ("tags", "devices")


def item_from_json(text: str) -> QueueItem:
    """Return the item of a JSON text; keys that this version doesn't have are ignored.

    :raises ValueError: if it isn't an item.
    """
    body = json.loads(text)
    if not isinstance(body, dict) or not isinstance(body.get("id"), str) or body.get("state") not in STATES:
        raise ValueError("not an item of the queue")
    known = {each.name: body[each.name] for each in fields(QueueItem) if each.name in body}
    return QueueItem(**known | {name: tuple(known.get(name) or ()) for name in _TUPLES})


def new_item_id() -> str:
    """Return the ID of a new item. It doesn't depend on the clock, which can jump."""
    return f"q-{secrets.token_hex(6)}"


def in_order(items: Iterable[QueueItem]) -> list[QueueItem]:
    """Return the waiting items in the order in which they start."""
    return sorted((item for item in items if item.state == "waiting"), key=lambda item: item.order)


def summary_of(config: TrainConfig) -> dict[str, Any]:
    """Return what a list shows of the settings."""
    return {
        "model_type": str(config.model_type),
        "training_method": str(config.training_method),
        "base_model": config.base_model_name,
        "devices": devices_of(config),
    }


def devices_of(config: TrainConfig) -> tuple[str, ...]:
    """Return the devices that a run needs: ``cpu``, ``mps``, ``cuda:N``, or ``cuda:*`` for all GPUs."""
    return devices_named(config.train_device, config.device_indexes if config.multi_gpu else None)


def devices_named(train_device: str, indexes: str | None) -> tuple[str, ...]:
    """Return the devices of a train device; ``indexes`` are those of several GPUs, None for one."""
    device = train_device.strip().lower()
    if device.startswith("cuda") and indexes is not None:
        chosen = [part.strip() for part in indexes.split(",") if part.strip()]
        return tuple(sorted({f"cuda:{part}" for part in chosen})) or ("cuda:*",)
    return ("cuda:0" if device == "cuda" else device or "cpu",)


def overlap(one: Iterable[str], other: Iterable[str]) -> bool:
    """Return whether two runs need the same device."""
    first, second = set(one), set(other)
    return bool(first & second) or any(
        "cuda:*" in mine and any(device.startswith("cuda") for device in theirs)
        for mine, theirs in ((first, second), (second, first))
    )

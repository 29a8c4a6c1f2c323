"""Define all events of a run as frozen dataclasses, and their form on disk and on the wire.

The tag of an event is its class name in snake case (``StepDone`` -> ``step_done``). ``encode`` and ``decode`` are the
only translation between events and JSON objects; the journal, REST and the WebSocket use it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints

Phase = Literal[
    "queued",
    "starting",
    "loading",
    "caching",
    "training",
    "sampling",
    "validating",
    "backing_up",
    "saving",
    "paused",
    "stopping",
]
EndReason = Literal["completed", "stopped", "failed", "lost"]
Outcome = Literal["completed", "stopped"]
CommandOutcome = Literal["done", "refused"]
StopStage = Literal["finish_step", "interrupt", "terminate", "kill"]


@dataclass(frozen=True, kw_only=True)
class ErrorInfo:
    """An error as data: class name of ``errors.py``, message, and what to do."""

    type: str
    message: str
    path: str = ""
    expected: str = ""
    suggestion: str = ""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events; ``at`` is the time of the event in seconds since the epoch."""

    at: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """The backend starts, with these ``versions`` and ``hardware``."""

    backend: str
    pid: int
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ChildProcessStarted(Event):
    """A process with its own process group works for the run. If the run is killed, that group is killed, too."""

    pid: int
    role: str


@dataclass(frozen=True, kw_only=True)
class PhaseChanged(Event):
    """The run enters a phase; ``detail`` is a short human-readable text."""

    phase: Phase
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class PhaseProgress(Event):
    """``done`` of ``total`` within a phase (images cached, sampler steps, components loaded)."""

    phase: Phase
    done: int
    total: int
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class RunPlanned(Event):
    """The plan of the run, known when data and model are loaded.

    ``total_steps``, ``steps_per_epoch`` and ``first_step`` count micro-batches as OneTrainer's ``global_step`` does;
    ``total_updates`` counts optimizer steps. ``learning_rates`` are the names of the parameter groups (``unet_lora`` ...).
    """

    total_steps: int
    steps_per_epoch: int
    total_updates: int
    epochs: int
    first_step: int
    images: int
    trainable_parameters: int
    learning_rates: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StepDone(Event):
    """One optimizer step. ``global_step``, ``epoch``, ``epoch_step``, ``epoch_sample`` are OneTrainer's TrainProgress after it.

    ``loss`` is the mean over the accumulation window, ``grad_norm`` the norm before clipping (None when not computed),
    ``seconds`` the wall time of the step, ``images`` how many it saw, ``learning_rates`` in the order of ``RunPlanned``.
    """

    update_step: int
    global_step: int
    epoch: int
    epoch_step: int
    epoch_sample: int
    loss: float
    smooth_loss: float
    grad_norm: float | None
    learning_rates: tuple[float, ...]
    seconds: float
    images: int


@dataclass(frozen=True, kw_only=True)
class SampleGenerated(Event):
    """A sample was saved at ``path``; the other fields are its parameters."""

    path: str
    kind: Literal["default", "custom"]
    index: int
    prompt: str
    negative_prompt: str
    width: int
    height: int
    seed: int
    diffusion_steps: int
    cfg_scale: float
    noise_scheduler: str
    global_step: int
    epoch: int
    epoch_step: int
    seconds: float
    ema: bool = False
    command_id: str = ""


@dataclass(frozen=True, kw_only=True)
class BackupCreated(Event):
    """A complete backup is in the folder ``path``."""

    path: str
    global_step: int
    epoch: int
    epoch_step: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class BackupFailed(Event):
    """A backup could not be written; earlier ones are intact and the run continues."""

    path: str
    error: ErrorInfo


@dataclass(frozen=True, kw_only=True)
class ModelSaved(Event):
    """A complete model file (or folder) is at ``path``; ``final`` marks the model at the end of the run."""

    path: str
    final: bool
    global_step: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class SaveFailed(Event):
    """An intermediate save could not be written; the run continues."""

    path: str
    error: ErrorInfo


@dataclass(frozen=True, kw_only=True)
class ValidationCompleted(Event):
    """Validation losses by concept name; ``total`` is their mean."""

    global_step: int
    losses: dict[str, float]
    total: float


@dataclass(frozen=True, kw_only=True)
class WarningIssued(Event):
    """A warning for the user; the run continues. ``code`` is stable, ``path`` a file or a setting."""

    code: str
    message: str
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class Resumed(Event):
    """The run resumes from the backup at ``path``, created after ``global_step`` steps by the run ``run`` (empty if unknown)."""

    path: str
    global_step: int
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class CommandReceived(Event):
    """The run has received a command and will answer it; it waits while the run loads, caches or finishes a step.

    ``by`` is the name of who sent it; empty if unknown.
    """

    command_id: str
    command: str
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class CommandCompleted(Event):
    """The one answer to a command; ``reason`` is why it was rejected, ``result`` is a path if there is one.

    ``by`` is the name of who sent the command; empty if unknown.
    """

    command_id: str
    command: str
    outcome: CommandOutcome
    reason: str = ""
    result: str = ""
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class StopEscalated(Event):
    """A stop has reached ``stage``; the next stage follows at ``deadline`` (seconds since the epoch, 0 = none)."""

    stage: StopStage
    deadline: float


@dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """The one last event of a run."""

    reason: EndReason
    error: ErrorInfo | None = None
    exit_code: int | None = None
    signal: str = ""


class Emit(Protocol):
    """A function that takes an event; cheap, callable from any thread, never raises for a slow viewer."""

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        ...


EVENTS: tuple[type[Event], ...] = (
    RunStarted,
    ChildProcessStarted,
    PhaseChanged,
    PhaseProgress,
    RunPlanned,
    StepDone,
    SampleGenerated,
    BackupCreated,
    BackupFailed,
    ModelSaved,
    SaveFailed,
    ValidationCompleted,
    WarningIssued,
    Resumed,
    CommandReceived,
    CommandCompleted,
    StopEscalated,
    RunEnded,
)


def tag(kind: type[Any]) -> str:
    """Return the class name in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


EVENT_BY_TAG: dict[str, type[Event]] = {tag(kind): kind for kind in EVENTS}

# What earlier versions wrote: tag -> tag now, and tag now -> field -> field now. Journals of their runs stay readable.
FORMER_TAGS: dict[str, str] = {
    "companion_started": "child_process_started",
    "progressed": "phase_progress",
    "sample_made": "sample_generated",
    "backup_made": "backup_created",
    "validated": "validation_completed",
    "warned": "warning_issued",
    "command_answered": "command_completed",
    "stop_rung": "stop_escalated",
}
FORMER_FIELDS: dict[str, dict[str, str]] = {
    "run_planned": {"pictures": "images"},
    "step_done": {"pictures": "images"},
    "stop_escalated": {"rung": "stage"},
}
_FORMER_TAG_OF = {now: former for former, now in FORMER_TAGS.items()}


def encode(event: Event) -> dict[str, Any]:
    """Return the event as a JSON object with its tag under ``type``."""
    body: dict[str, Any] = {"type": tag(type(event))}
    for item in fields(event):
        value = getattr(event, item.name)
        body[item.name] = vars(value).copy() if isinstance(value, ErrorInfo) else value
    return body


def tags_of(kind: str) -> tuple[str, ...]:
    """Return the tag ``kind`` and, if earlier versions wrote another one for the same event, that one, too."""
    return (kind, _FORMER_TAG_OF[kind]) if kind in _FORMER_TAG_OF else (kind,)


def modernize(body: dict[str, Any]) -> dict[str, Any]:
    """Return an event's JSON object with the tag and fields of this version; ``body`` itself if it has them already."""
    if "error" in body and (error := with_suggestion(body["error"])) is not body["error"]:
        body = {**body, "error": error}
    kind = body["type"]
    now = FORMER_TAGS.get(kind, kind)
    former = FORMER_FIELDS.get(now, {})
    if now == kind and former.keys().isdisjoint(body):
        return body
    return {former.get(name, name): now if name == "type" else value for name, value in body.items()}


def decode(body: dict[str, Any]) -> Event:
    """Return the event of a JSON object, which an earlier version may have written; unknown keys are ignored.

    :raises KeyError: if the tag is unknown or a required field is missing.
    """
    body = modernize(body)
    kind = EVENT_BY_TAG[body["type"]]
    known = {item.name for item in fields(kind)}
    values = {name: value for name, value in body.items() if name in known}
    if isinstance(error := values.get("error"), dict):
        values["error"] = ErrorInfo(**{name: value for name, value in error.items() if name in _ERROR_FIELDS})
    if isinstance(values.get("learning_rates"), list):
        values["learning_rates"] = tuple(values["learning_rates"])
    try:
        return kind(**values)
    except TypeError as error:
        raise KeyError(f"{body['type']}: {error}") from error


def with_suggestion(error: Any) -> Any:
    """Return an error as JSON with its suggestion under this version's key: before 0.1.0, the key was ``change``."""
    if isinstance(error, dict) and "change" in error and "suggestion" not in error:
        return {("suggestion" if name == "change" else name): value for name, value in error.items()}
    return error


def is_event(body: Any) -> bool:
    """Return whether a JSON value is an event: its tag is a string and, for the tags of this version, every field fits."""
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        return False
    body = modernize(body)
    return body["type"] not in EVENT_BY_TAG or all(
        fits(body[name]) if name in body else not needed for name, (fits, needed) in _fields_of(body["type"]).items()
    )


_ERROR_FIELDS = frozenset(item.name for item in fields(ErrorInfo))
Fits = Callable[[Any], bool]


@cache
def _fields_of(name: str) -> dict[str, tuple[Fits, bool]]:
    """Return for each field of an event the type of its JSON value, and whether it is required."""
    kind = EVENT_BY_TAG[name]
    hints = get_type_hints(kind)
    return {
        item.name: (
            _fits(hints[item.name]),
            item.default is MISSING and item.default_factory is MISSING,
        )
        for item in fields(kind)
    }


def _fits(hint: Any) -> Fits:
    if isinstance(hint, UnionType):
        parts = [_fits(part) for part in get_args(hint)]
        return lambda value: any(part(value) for part in parts)
    if hint is ErrorInfo:
        return lambda value: (
            isinstance(value, dict)
            and {"type", "message"} <= value.keys()
            and all(isinstance(value[name], str) for name in _ERROR_FIELDS & value.keys())
        )
    if hint is float:  # a number that isn't finite is written as null
        return lambda value: value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if hint is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    kinds: dict[Any, Any] = {Literal: str, tuple: list, dict: dict, NoneType: NoneType}
    wanted = kinds.get(get_origin(hint) or hint, hint)
    return lambda value: isinstance(value, wanted)

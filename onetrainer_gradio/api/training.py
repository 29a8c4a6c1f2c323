"""Training: start, stop, pause, backup, save, and where the run is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import Field, ValidationError

from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.shapes import ERRORS, CommandAccepted, Open, RunAccepted, State
from onetrainer_gradio.api.threads import control, slow
from onetrainer_gradio.api.waiting import answer_within
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import ConfigInvalidError, ConfigValueError, Finding
from onetrainer_gradio.service.host.path_guard import PathGuard
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.trainer import TrainerService

router = APIRouter(prefix="/api", tags=["training"], responses=ERRORS)

# A body with one of these keys is a request; any other object is a configuration itself.
START_KEYS = frozenset({"config", "name", "options"})

START_EXAMPLES: dict[str, Any] = {
    "current": {"summary": "the current settings", "value": {}},
    "saved": {"summary": "a saved configuration or preset", "value": {"config": "demo - new word LoRA"}},
    "engine": {"summary": "with OneTrainer", "value": {"config": {"epochs": 4}, "options": {"backend": "onetrainer"}}},
    "own": {"summary": "settings of one's own", "value": {"config": {"epochs": 4}, "options": {"name": "test", "max_steps": 20}}},
}


class CommandReply(Open):
    """What became of a command."""

    command_id: str
    command: str = ""
    outcome: str | None = Field(None, description="done, refused, or null while it is not decided.")
    waiting: bool = Field(False, description="Whether the current run has received it and will answer it.")
    reason: str = ""
    result: str = ""


@router.get("/training/status", response_model=State)
@control
def status(service: Service) -> dict[str, Any]:
    """What is going on."""
    return service.get_state()


@router.get("/training/progress", response_model=State)
@control
def progress(service: Service) -> dict[str, Any]:
    """Progress and the newest metrics; the whole curves stand under `/api/runs/{id}/metrics`."""
    return service.get_state()


@router.post("/training/start", response_model=RunAccepted)
@slow
def start(
    service: Service, body: Annotated[dict[str, Any] | str | None, Body(openapi_examples=START_EXAMPLES)] = None
) -> dict[str, Any]:
    """Start a run and return at once.

    The body is empty (the current settings), a configuration, the name of a saved one, or `{"config": ..., "options": ...}`.
    """
    config, options = start_request(service, body)
    run_id = service.start(config, options)
    return {"ok": True, "run_id": run_id, "state": service.get_state()}


@router.post("/training/stop", response_model=CommandAccepted)
@control
def stop(
    service: Service,
    now: Annotated[bool, Query(description="Do not wait for the step: climb the stop ladder.")] = False,
    run_id: Annotated[str | None, Query(description="Only this run; one that waits is taken out of the queue.")] = None,
) -> dict[str, Any]:
    """End the run: finish the step, back up and save as configured. A second stop hurries the first."""
    return accepted(service, service.stop_training(now=now, run_id=run_id))


@router.post("/training/pause", response_model=CommandAccepted)
@control
def pause(service: Service) -> dict[str, Any]:
    """Wait after the present step, model in memory."""
    return accepted(service, service.pause_training())


@router.post("/training/resume", response_model=CommandAccepted)
@control
def resume(service: Service) -> dict[str, Any]:
    """Go on after a pause."""
    return accepted(service, service.resume_training())


@router.post("/training/backup", response_model=CommandAccepted)
@control
def backup(service: Service) -> dict[str, Any]:
    """Make a backup now."""
    return accepted(service, service.backup())


@router.post("/training/save", response_model=CommandAccepted)
@control
def save(service: Service) -> dict[str, Any]:
    """Save the model now."""
    return accepted(service, service.save())


@router.get("/commands/{command_id}", response_model=CommandReply)
async def command(
    service: Service,
    command_id: str,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for the outcome.")] = 0.0,
) -> dict[str, Any]:
    """What became of a command: `outcome` is null until it is done or refused."""
    if (answer := await answer_within(service, command_id, wait)) is not None:
        return answer
    waiting = await in_thread(Threads.CONTROL, service.waiting_command, command_id)
    return {"command_id": command_id, "waiting": False} if waiting is None else waiting | {"waiting": True}


def accepted(service: TrainerService, command_id: str) -> dict[str, Any]:
    """The reply to a command."""
    return {"ok": True, "command_id": command_id, "state": service.get_state()}


def start_request(service: TrainerService, body: dict[str, Any] | str | None) -> tuple[TrainConfig | None, RunOptions | None]:
    """What a start asks for; None stands for the current settings and for no options.

    :raises ConfigInvalidError: when the configuration does not fit, with a finding for each place.
    :raises ConfigNotFoundError: when there is none of that name.
    """
    request = body if isinstance(body, dict) and (START_KEYS & body.keys() or not body) else {"config": body}
    unknown = sorted(request.keys() - START_KEYS)
    if unknown:
        raise ConfigValueError(
            f"Unknown key {unknown[0]!r} beside the configuration.",
            path=unknown[0],
            expected="config and options",
            suggestion="Put settings into config.",
        )
    options = options_of(service, request.get("options"))
    wanted = request.get("config", request.get("name"))
    if wanted is None:
        return None, options
    document = service.configs.read(wanted) if isinstance(wanted, str) else wanted
    if not isinstance(document, dict):
        raise ConfigValueError("That is no configuration.", path="config", value=wanted, expected="an object or a name")
    config, _ = from_document(document)
    return config, options


def options_of(service: TrainerService, values: Any) -> RunOptions | None:
    """Run options from a request.

    :raises ConfigInvalidError: with a finding for each option that does not fit.
    :raises ForbiddenPathError: when the backup to go on from lies outside the allowed folders.
    """
    if values is None:
        return None
    try:
        options = RunOptions.model_validate(values)
    except ValidationError as error:
        raise ConfigInvalidError(
            [
                Finding("error", ".".join(["options", *map(str, item["loc"])]), item["msg"], item.get("input"))
                for item in error.errors()
            ]
        ) from error
    if options.in_process:
        raise ConfigValueError(
            "Only the command line can make runs share the panel's process.",
            path="options.in_process",
            value=True,
            expected="false",
            suggestion="Omit it, or start the panel with --in-process.",
        )
    # A backend may be named by the place of its code; that choice belongs to whoever starts the panel.
    if ":" in options.backend and options.backend != service.settings.backend:
        raise ConfigValueError(
            "A backend is chosen by its name.", path="options.backend", value=options.backend, expected="a name such as builtin"
        )
    if options.resume_from and service.settings.allowed_roots:
        PathGuard((service.settings.data_folder, *service.settings.allowed_roots)).resolve(options.resume_from)
    return options

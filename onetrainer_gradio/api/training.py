"""Training: start, stop, pause, resume, backup, save, and the run's state."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from pydantic import Field, ValidationError

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.replies import ErrorEntry
from onetrainer_gradio.api.schemas import ERRORS, CommandAccepted, Open, RunAccepted, State
from onetrainer_gradio.api.threads import control, slow
from onetrainer_gradio.api.waiting import answer_within
from onetrainer_gradio.config import RunOptions, TrainConfig
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.errors import ConfigInvalidError, ConfigValueError, Finding
from onetrainer_gradio.service.host.path_guard import PathGuard
from onetrainer_gradio.service.host.threads import Threads, in_thread
from onetrainer_gradio.service.trainer import TrainerService

router = APIRouter(prefix="/api", tags=["training"], responses=ERRORS)

# A body with one of these keys is a request; any other object is a configuration.
START_KEYS = frozenset({"config", "name", "options", "queue"})

OfRun = Annotated[str | None, Query(max_length=100, description="ID of the run. If omitted: the current one.")]

WAIT_FOR_ESTIMATE_S = 5.0
"""How long the answer to a start waits for an estimate of its VRAM."""

START_EXAMPLES: dict[str, Any] = {
    "current": {"summary": "Current settings", "value": {}},
    "saved": {"summary": "Saved configuration or preset", "value": {"config": "Demo LoRA"}},
    "engine": {"summary": "With OneTrainer", "value": {"config": {"epochs": 4}, "options": {"backend": "onetrainer"}}},
    "queue": {"summary": "Now or later", "value": {"config": "Demo LoRA", "queue": True}},
    "own": {"summary": "Custom settings", "value": {"config": {"epochs": 4}, "options": {"name": "test", "max_steps": 20}}},
}


class StartAccepted(RunAccepted):
    """The run was started, or added to the queue, with the warnings about its VRAM."""

    warnings: list[ErrorEntry] = Field(
        default_factory=list, description="Warnings about the VRAM of the run, the same as those of the pre-flight check."
    )


class CommandReply(Open):
    """Outcome of a command."""

    command_id: str
    command: str = ""
    outcome: str | None = Field(None, description="`done`, `refused`, or null while pending.")
    waiting: bool = Field(False, description="Whether the current run has received the command and will answer it.")
    reason: str = ""
    result: str = ""


@router.get("/training/status", response_model=State)
@control
def status(service: Service) -> dict[str, Any]:
    """Return the state of training."""
    return service.get_state()


@router.get("/training/progress", response_model=State)
@control
def progress(service: Service) -> dict[str, Any]:
    """Return progress and the latest metrics. Complete metrics are in `/api/runs/{id}/metrics`."""
    return service.get_state()


@router.post("/training/start", response_model=StartAccepted)
@slow
def start(
    service: Service, body: Annotated[dict[str, Any] | str | None, Body(openapi_examples=START_EXAMPLES)] = None
) -> dict[str, Any]:
    """Start a run. With a GPU, the answer waits up to 5 seconds for an estimate of the run's VRAM; otherwise it comes at once.

    The body is empty (current settings), a configuration, the name of a saved one, or `{"config": ..., "options": ...}`.
    With `"queue": true`, a run that can't start now is added to the queue instead.
    """
    config, options = start_request(service, body)
    made = service.start_or_enqueue(config, options, queue=isinstance(body, dict) and body.get("queue") is True)
    if made["run_id"] is None:
        return {"ok": True, **made, "state": service.get_state()}
    # the run has started: what follows delays only this answer
    warnings = [asdict(finding) for finding in service.memory_findings(config, WAIT_FOR_ESTIMATE_S)]
    return {"ok": True, **made, "state": service.get_state(), "warnings": warnings}


@router.post("/training/stop", response_model=CommandAccepted)
@control
def stop(
    service: Service,
    now: Annotated[bool, Query(description="Don't wait for the step: escalate the stop at once.")] = False,
    run_id: Annotated[str | None, Query(description="Stop only this run. A queued run is removed from the queue.")] = None,
) -> dict[str, Any]:
    """Stop the run: finish the step, then back up and save as configured. A second stop escalates."""
    return accepted(service, service.stop_training(now=now, run_id=run_id))


@router.post("/training/pause", response_model=CommandAccepted)
@control
def pause(service: Service, run_id: OfRun = None) -> dict[str, Any]:
    """Pause after the current step. The model stays in memory."""
    return accepted(service, service.pause_training(run_id))


@router.post("/training/resume", response_model=CommandAccepted)
@control
def resume(service: Service, run_id: OfRun = None) -> dict[str, Any]:
    """Resume a paused run."""
    return accepted(service, service.resume_training(run_id))


@router.post("/training/backup", response_model=CommandAccepted)
@control
def backup(service: Service, run_id: OfRun = None) -> dict[str, Any]:
    """Write a backup after the current step."""
    return accepted(service, service.backup(run_id))


@router.post("/training/save", response_model=CommandAccepted)
@control
def save(service: Service, run_id: OfRun = None) -> dict[str, Any]:
    """Save the model after the current step."""
    return accepted(service, service.save(run_id))


@router.get("/commands/{command_id}", response_model=CommandReply)
async def command(
    service: Service,
    request: Request,
    command_id: str,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for the outcome.")] = 0.0,
) -> dict[str, Any]:
    """Return the outcome of a command. `outcome` is null until it is done or refused."""
    if (answer := await answer_within(service, command_id, wait, request.app.state.stopping)) is not None:
        return answer
    waiting = await in_thread(Threads.CONTROL, service.waiting_command, command_id)
    return {"command_id": command_id, "waiting": False} if waiting is None else waiting | {"waiting": True}


def accepted(service: TrainerService, command_id: str) -> dict[str, Any]:
    """Return the response to a command."""
    return {"ok": True, "command_id": command_id, "state": service.get_state()}


def start_request(service: TrainerService, body: dict[str, Any] | str | None) -> tuple[TrainConfig | None, RunOptions | None]:
    """Return the configuration and options of a start request. None means the current settings or no options.

    :raises ConfigInvalidError: if the configuration is invalid, with a finding per issue.
    :raises ConfigNotFoundError: if no configuration has that name.
    """
    request = body if isinstance(body, dict) and (START_KEYS & body.keys() or not body) else {"config": body}
    unknown = sorted(request.keys() - START_KEYS)
    if unknown:
        raise ConfigValueError(
            f"Unknown key {unknown[0]!r} next to the configuration.",
            path=unknown[0],
            expected="config and options",
            suggestion="Move settings into config.",
        )
    options = options_of(service, request.get("options"))
    if not isinstance(request.get("queue", False), bool):
        raise ConfigValueError("This isn't true or false.", path="queue", value=request["queue"], expected="true or false")
    wanted = request.get("config", request.get("name"))
    if wanted is None:
        return None, options
    document = service.configs.read(wanted) if isinstance(wanted, str) else wanted
    if not isinstance(document, dict):
        raise ConfigValueError("This isn't a configuration.", path="config", value=wanted, expected="an object or a name")
    config, _ = from_document(document)
    return config, options


def options_of(service: TrainerService, values: Any) -> RunOptions | None:
    """Return the run options of a request.

    :raises ConfigInvalidError: with a finding for each invalid option.
    :raises ForbiddenPathError: if the backup to resume from is outside the allowed folders.
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
            "Runs can share the panel's process only if the panel was started with --in-process.",
            path="options.in_process",
            value=True,
            expected="false",
            suggestion="Omit the option, or start the panel with --in-process.",
        )
    # A backend given as module:function runs arbitrary code; only the person who starts the panel may choose that.
    if ":" in options.backend and options.backend != service.settings.backend:
        raise ConfigValueError(
            "The backend must be one of the registered names.",
            path="options.backend",
            value=options.backend,
            expected="a name such as builtin",
        )
    if options.resumption is not None:
        raise ConfigValueError("Only the panel resumes runs automatically.", path="options.resumption", suggestion="Remove it.")
    if options.resume_from and service.settings.allowed_roots:
        PathGuard((service.settings.data_folder, *service.settings.allowed_roots)).resolve(options.resume_from)
    return options

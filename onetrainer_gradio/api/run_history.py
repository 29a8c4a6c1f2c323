"""The past of a run: its state at any step, its backups, and runs that OneTrainer made elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Open, RunAccepted, RunId
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.runs.backups import PruneRule, backups_of, pin

router = APIRouter(prefix="/api/runs", tags=["runs"], responses=ERRORS)
MAX_STEPS = 2**53


class Moment(Open):
    """The state of a run after one of its steps."""

    run_id: str = Field(description="The run of the chain that trained this step.")
    step: int
    first_step: int | None = Field(description="The first step of the chain; null without steps.")
    last_step: int | None
    values: dict[str, float] = Field(description="Loss, learning rates and the other metrics of the step.")
    events: list[dict[str, Any]] = Field(description="The newest events until then, oldest first.")
    samples: list[dict[str, Any]] = Field(description="The newest sample of each prompt at that time.")


class BackupList(BaseModel):
    """The backups of a run, oldest first."""

    backups: list[dict[str, Any]] = Field(
        description="`id`, `name`, `written_to`, `at`, `global_step`, `epoch`, `bytes`, `whole`, `problem`, `pinned` and more."
    )


class PinRequest(BaseModel):
    """Whether a backup is pinned."""

    pinned: bool


class PruneRequest(BaseModel):
    """Which backups to keep. Pinned ones, the newest whole one, and those of other programs always stay."""

    keep_last: int = Field(1, ge=1, le=10_000, description="Number of newest backups to keep.")
    keep_every: int = Field(0, ge=0, le=MAX_STEPS, description="Keep also the first backup in each such number of steps.")
    ids: list[str] | None = Field(
        None, max_length=1000, description="The backups to delete, as the preview lists them. Null: only a preview."
    )


class ImportRequest(BaseModel):
    """A workspace of OneTrainer."""

    workspace: str = Field(min_length=1, max_length=4096, description="The folder.")
    names: list[str] = Field([], max_length=1000, description="Only the starts with these names. Empty: all.")


class StartAgain(BaseModel):
    """How to start a run again."""

    name: str = Field("", max_length=200, description="Name of the new run. Empty: as before.")
    queue: bool = Field(False, description="Add the run to the queue if it can't start now.")


@router.get("/workspace", response_model=dict[str, Any])
@slow
def preview(
    service: Service, workspace: Annotated[str, Query(min_length=1, max_length=4096, description="The folder.")]
) -> dict[str, Any]:
    """List the runs that OneTrainer made in a workspace, without adding them."""
    return service.import_workspace(workspace, preview=True)


@router.post("/workspace", response_model=dict[str, Any])
@slow
def add(service: Service, body: ImportRequest) -> dict[str, Any]:
    """Add the runs that OneTrainer made in a workspace, or read them again. Nothing in the workspace is changed."""
    return service.import_workspace(body.workspace, body.names)


@router.get("/{run_id}/replay", response_model=Moment)
@slow
def replay(
    service: Service,
    run_id: RunId,
    step: Annotated[int | None, Query(ge=0, le=MAX_STEPS, description="Global step. If omitted: the last one.")] = None,
) -> dict[str, Any]:
    """Return the state of a run, or of the runs that it resumes, after a step."""
    return service.replay.at(run_id, step)


@router.get("/{run_id}/backups", response_model=BackupList)
@slow
def backups(service: Service, run_id: RunId) -> dict[str, Any]:
    """List the backups of a run, whether each is whole, and whether it is pinned."""
    return {"backups": [backup.as_dict() for backup in backups_of(service.runs.get(run_id))]}


@router.patch("/{run_id}/backups/{backup_id}", response_model=dict[str, Any])
@slow
def change_backup(service: Service, run_id: RunId, backup_id: str, body: PinRequest) -> dict[str, Any]:
    """Pin a backup, so that neither a rule nor rolling backups of the built-in engine delete it, or unpin it."""
    return pin(service.runs.get(run_id), backup_id, body.pinned).as_dict()


@router.post("/{run_id}/backups/prune", response_model=dict[str, Any])
@slow
def prune(service: Service, run_id: RunId, body: PruneRequest) -> dict[str, Any]:
    """Return which backups a rule deletes, and delete those that the request lists. Only what the run made is ever deleted."""
    rule = PruneRule(body.keep_last, body.keep_every)
    run = service.runs.get(run_id)
    if body.ids is None:
        return service.backup_pruning.preview(run, rule)
    return service.backup_pruning.delete(run, rule, body.ids)


@router.post("/{run_id}/start", response_model=RunAccepted)
@slow
def start_again(service: Service, run_id: RunId, body: StartAgain | None = None) -> dict[str, Any]:
    """Start a new run from the beginning with the settings of a run."""
    body = body or StartAgain(name="")
    made = service.start_or_enqueue(*service.settings_again(run_id, body.name), queue=body.queue)
    return {"ok": True, **made, "state": service.get_state()}

"""Response models that several endpoints share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from onetrainer_gradio.api.replies import ErrorReply

Status = Literal["idle", "initialized", "starting", "running", "stopping", "completed", "error"]

# Only one code has the model, which also defines it in the documentation: FastAPI builds a validator of it for each endpoint.
_ERROR = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorReply.__name__}"}}}}
# Error responses of all endpoints, for the documentation pages.
ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorReply, "description": "Not logged in."},
    404: {**_ERROR, "description": "Not found."},
    409: {**_ERROR, "description": "Conflicts with the current state."},
    422: {**_ERROR, "description": "Invalid input; `errors` lists each issue."},
}

RunId = Annotated[str, Path(description="ID of a run.", examples=["2026-11-23_15-04-05-a1b2"])]
SampleId = Annotated[str, Path(description="ID of a sample.")]


class Open(BaseModel):
    """A model that keeps additional keys."""

    model_config = ConfigDict(extra="allow")


class Done(BaseModel):
    """The request succeeded. There is nothing else to return."""

    ok: Literal[True] = True


class Progress(Open):
    """Progress of the run, in OneTrainer's counters."""

    epoch: int = Field(description="Epochs completed.")
    epoch_step: int = Field(description="Micro-batches in the current epoch.")
    epoch_sample: int = Field(description="Images in the current epoch.")
    global_step: int = Field(description="Micro-batches since the start.")


class State(Open):
    """State of training. There are more keys: `phase`, `run_id`, `speed`, `eta_s`, `loss`, `can`, `why` and others."""

    is_training: bool = Field(description="Whether a run is active.")
    status: Status = Field(description="Status of the run.")
    progress: Progress
    max_step: int = Field(description="Steps per epoch.")
    max_epoch: int = Field(description="Planned epochs.")
    error: str | None = Field(None, description="Why the last run failed.")


class Accepted(Open):
    """The request was accepted."""

    ok: Literal[True] = True
    state: State


class CommandAccepted(Accepted):
    """The command was queued. Its outcome is in `GET /api/commands/{command_id}` and in the events."""

    command_id: str


class RunAccepted(Accepted):
    """The run was started, or added to the queue."""

    run_id: str | None = Field(description="ID of the run; null if it was added to the queue.")
    id: str | None = Field(None, description="ID of the queued run.")
    place: int | None = Field(None, description="Place among the waiting runs, from 1.")

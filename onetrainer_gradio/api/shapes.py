"""The shapes that several endpoints share. Keys that the service adds go through."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from onetrainer_gradio.api.replies import ErrorReply

Status = Literal["idle", "initialized", "starting", "running", "stopping", "completed", "error"]

# What any endpoint may answer besides its success, for the documentation pages.
ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorReply, "description": "Not logged in."},
    404: {"model": ErrorReply, "description": "There is no such thing."},
    409: {"model": ErrorReply, "description": "Does not fit what is going on."},
    422: {"model": ErrorReply, "description": "The input is wrong; `errors` names each place."},
}

RunId = Annotated[str, Path(description="Id of a run.", examples=["2026-11-23_15-04-05-a1b2"])]
SampleId = Annotated[str, Path(description="Id of a sample.")]


class Open(BaseModel):
    """A shape that lets further keys through."""

    model_config = ConfigDict(extra="allow")


class Progress(Open):
    """Where the run is; OneTrainer's counters."""

    epoch: int = Field(description="Epochs completed.")
    epoch_step: int = Field(description="Micro-batches within the epoch.")
    epoch_sample: int = Field(description="Pictures within the epoch.")
    global_step: int = Field(description="Micro-batches since the beginning.")


class State(Open):
    """What is going on. More keys stand beside these: phase, run_id, speed, eta_s, loss, can, why ..."""

    is_training: bool = Field(description="Whether a run is under way.")
    status: Status = Field(description="The state in a word.")
    progress: Progress
    max_step: int = Field(description="Steps in an epoch.")
    max_epoch: int = Field(description="Epochs planned.")
    error: str | None = Field(None, description="Why the last run failed.")


class Accepted(Open):
    """A request was taken."""

    ok: Literal[True] = True
    state: State


class CommandAccepted(Accepted):
    """A command was queued; its outcome stands under `GET /api/commands/{command_id}` and in the events."""

    command_id: str


class RunAccepted(Accepted):
    """A run was started."""

    run_id: str

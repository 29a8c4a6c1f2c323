"""Results of a run: where they belong, and which of its saves is the result."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Open, RunId
from onetrainer_gradio.api.threads import slow

router = APIRouter(prefix="/api/runs", tags=["runs"], responses=ERRORS)


class ProgramReading(BaseModel):
    """What a program does with a file."""

    key: str
    title: str
    reads: bool
    problem: str = Field(description="Why it doesn't read the file; empty if it does.")
    convert_to: str = Field(description="The format that it reads instead; empty if converting doesn't help.")
    convert_to_title: str
    folder: str = Field(description="Where to copy the file to; empty: anywhere.")
    instruction: str


class TakeAway(Open):
    """A result, and the programs that it is for."""

    ok: Literal[True] = True
    id: str
    name: str
    path: str = Field(description="Where the file is on the machine of the panel.")
    bytes: int
    folder: bool
    format: str = Field(description="The format of a LoRA by its tensor names; empty if they follow none.")
    format_title: str
    algorithm: str
    tensors: int
    programs: list[ProgramReading]


class ResultChange(BaseModel):
    """A save or backup that became the result."""

    file: str = Field(description="ID of the save or backup.")
    kind: str
    name: str
    global_step: int
    at: float = Field(description="Seconds since the epoch.")
    earlier: str = Field(description="Where the earlier result is; empty if there was none.")
    warning: str = Field(description="What is missing in it; empty if nothing is.")


class Result(BaseModel):
    """The result of a run."""

    ok: Literal[True] = True
    path: str = Field(description="The output path.")
    file: str = Field(description="ID of the model, save or backup that is there; empty if none of the run is.")
    changes: list[ResultChange] = Field(description="The saves and backups that became the result, oldest first.")


class ResultChoice(BaseModel):
    """The save or backup to make the result."""

    file: str = Field(max_length=200, description="ID of a save or backup of the run.")


@router.get("/{run_id}/result", response_model=Result)
@slow
def result(service: Service, run_id: RunId) -> dict[str, Any]:
    """Return the output path of a run, and which of its files is there."""
    return service.results.get(run_id)


@router.post("/{run_id}/result", response_model=Result)
@slow
def choose_result(service: Service, run_id: RunId, body: ResultChoice) -> dict[str, Any]:
    """Make a save or backup the result. The earlier result is kept next to it; 409 if the file there isn't the run's."""
    return service.results.choose(run_id, body.file)


@router.delete("/{run_id}/result", response_model=Result)
@slow
def undo_result(service: Service, run_id: RunId) -> dict[str, Any]:
    """Put the earlier result back."""
    return service.results.undo(run_id)


@router.get("/{run_id}/files/{file_id}/programs", response_model=TakeAway)
@slow
def programs(service: Service, run_id: RunId, file_id: str) -> dict[str, Any]:
    """Return where a model or save belongs, and whether other programs read it. Only its header is read."""
    return service.take_away(run_id, file_id)

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


@router.get("/{run_id}/files/{file_id}/programs", response_model=TakeAway)
@slow
def programs(service: Service, run_id: RunId, file_id: str) -> dict[str, Any]:
    """Return where a model or save belongs, and whether other programs read it. Only its header is read."""
    return service.take_away(run_id, file_id)

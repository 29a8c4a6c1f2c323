"""Automatic resumes: what applies to new runs, and what is planned for one run."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, RunId
from onetrainer_gradio.api.threads import slow

router = APIRouter(prefix="/api", tags=["runs"], responses=ERRORS)


class AutoResumeSettings(BaseModel):
    """What applies to runs that are started without their own choice."""

    ok: bool = True
    attempts: int = Field(description="How often a run resumes at most. 0: never.")
    first_wait_s: float = Field(description="Seconds before the first attempt. Each further one waits twice as long.")
    lower_memory: bool = Field(description="Whether memory is saved after a run ran out of GPU memory.")


class AutoResumeChange(BaseModel):
    """Changes; omitted values stay as they are."""

    attempts: int | None = None
    first_wait_s: float | None = None
    lower_memory: bool | None = None


class AutoResumeStatus(BaseModel):
    """What is planned for an ended run."""

    ok: bool = True
    state: str = Field(
        description="`none`, `waiting`, `resumed`, `cancelled`, `exhausted`, `repeats` (it would fail again), `rejected`, or "
        "`saved` (its final model is saved)."
    )
    attempt: int = Field(description="Number of the automatic resume.")
    of: int = Field(description="How many there are at most.")
    at: float | None = Field(description="When it resumes at the earliest, in seconds since the epoch.")
    item: str = Field(description="ID of the queued run.")
    run_id: str = Field(description="ID of the run that resumed it.")
    reason: str = Field(description="Why it isn't resumed.")


@router.get("/auto-resume", response_model=AutoResumeSettings)
@slow
def default(service: Service) -> dict[str, Any]:
    """Return what applies to runs that are started without their own choice."""
    return service.auto_resume.default().model_dump()


@router.patch("/auto-resume", response_model=AutoResumeSettings)
@slow
def set_default(service: Service, body: AutoResumeChange) -> dict[str, Any]:
    """Change what applies to runs that are started without their own choice."""
    return service.auto_resume.set_default(body.model_dump(exclude_none=True)).model_dump()


@router.get("/runs/{run_id}/auto-resume", response_model=AutoResumeStatus)
@slow
def status(service: Service, run_id: RunId) -> dict[str, Any]:
    """Return what is planned for an ended run."""
    return service.auto_resume.status(run_id)


@router.post("/runs/{run_id}/auto-resume", response_model=AutoResumeStatus)
@slow
def resume_now(service: Service, run_id: RunId) -> dict[str, Any]:
    """Let a planned resume start as soon as the device is free."""
    service.auto_resume.resume_now(run_id)
    return service.auto_resume.status(run_id)


@router.delete("/runs/{run_id}/auto-resume", response_model=AutoResumeStatus)
@slow
def cancel(service: Service, run_id: RunId) -> dict[str, Any]:
    """Cancel a planned resume."""
    service.auto_resume.cancel(run_id)
    return service.auto_resume.status(run_id)

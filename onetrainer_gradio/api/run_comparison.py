"""Several runs side by side: their curves in one chart, and the settings in which they differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.serialization import SafeJSONResponse
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.runs.overlay import MAX_POINTS, MAX_RUNS, Axis, View

router = APIRouter(prefix="/api/runs", tags=["runs"], responses=ERRORS)

Ids = Annotated[str, Query(min_length=1, max_length=3000, description=f"IDs of at most {MAX_RUNS} runs, comma-separated.")]


class RunCurves(BaseModel):
    """The curves of one run."""

    run_id: str
    name: str
    x: list[float | None] = Field(description="Where each point begins on the axis: global step, epochs or seconds.")
    rows_per_point: float = Field(description="How many optimizer steps each point stands for.")
    series: dict[str, dict[str, list[float | None]]] = Field(
        description="For each metric `mean`, and `min` and `max` unless each point is one step. Null: no finite value."
    )
    validation: dict[str, dict[str, list[float | None]]] = Field(description="Validation losses with their own `x`, and `y`.")
    resumes: list[dict[str, Any]] = Field(description="Where on the axis a run of the chain continues the one before it.")
    last: dict[str, float | None] = Field(description="Values of the last step.")


class Curves(BaseModel):
    """Curves of several runs."""

    axis: Axis
    metrics: list[str]
    available: list[str] = Field(description="All metrics that at least one of the runs has.")
    missing: list[str] = Field(description="Requested runs that don't exist.")
    runs: list[RunCurves]


class ComparedRuns(BaseModel):
    """The settings in which runs differ."""

    runs: list[dict[str, Any]] = Field(description="The line of each run in the list, with its results.")
    settings: list[dict[str, Any]] = Field(description="`path`, `title` and `values`, one value per run.")
    total: int = Field(description="Number of differing settings; only the first 200 are listed.")


@router.get("/series", response_model=Curves)
@slow
def series(
    service: Service,
    ids: Ids,
    metrics: Annotated[
        str,
        Query(
            max_length=1000,
            description="Comma-separated: `loss`, `smooth_loss`, `grad_norm`, `speed` (images per second), `lr` (first group), "
            "`lr/GROUP`, `validation`, `validation/CONCEPT`; or `all`.",
        ),
    ] = "loss",
    axis: Annotated[Axis, Query(description="Horizontal axis; `time` is in seconds of the run.")] = "step",
    points: Annotated[int, Query(ge=2, le=MAX_POINTS, description="Maximum number of points per curve.")] = 1000,
    first: Annotated[float | None, Query(allow_inf_nan=False, description="Start of the visible part of the axis.")] = None,
    last: Annotated[float | None, Query(allow_inf_nan=False, description="End of the visible part of the axis.")] = None,
    chain: Annotated[bool, Query(description="Include the runs that each run was resumed from.")] = True,
) -> Response:
    """Return the curves of several runs, below 100 kB however long they are, with the extremes of each stretch."""
    names = tuple(name.strip() for name in metrics.split(",") if name.strip()) or ("loss",)
    view = View(names, axis, points, first, last, chain)
    return SafeJSONResponse(service.overlay.series(_split(ids), view))


@router.get("/compare", response_model=ComparedRuns)
@slow
def compare(service: Service, ids: Ids) -> dict[str, Any]:
    """Return the settings in which runs differ, and the results of each run."""
    chosen = _split(ids)[:MAX_RUNS]
    table = asdict(service.comparison.of_runs(chosen))
    return {**table, "runs": list(service.runs.listing.read(chosen).values())}


def _split(ids: str) -> list[str]:
    return list(dict.fromkeys(each.strip() for each in ids.split(",") if each.strip()))

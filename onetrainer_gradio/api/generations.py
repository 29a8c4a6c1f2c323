"""Images generated with the results of runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Open
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.generations import MOST_CELLS, Wish

router = APIRouter(prefix="/api/generations", tags=["generations"], responses=ERRORS)

GridId = Annotated[str, Path(description="ID of a grid.", max_length=100)]
Prompt = Annotated[str, Field(max_length=10_000)]


class GridRequest(BaseModel):
    """A grid of images to generate."""

    run_id: str = Field(max_length=200, description="The run whose results are used.")
    prompts: list[Prompt] = Field([], max_length=MOST_CELLS, description="Empty: the sample prompts of the run.")
    files: list[Annotated[str, Field(max_length=200)]] = Field(
        [], max_length=MOST_CELLS, description="IDs of models and saves of the run. Empty: its newest result."
    )
    strengths: list[Annotated[float, Field(ge=-4, le=4)]] = Field(
        [1.0], min_length=1, max_length=MOST_CELLS, description="Strengths of a LoRA; 0 is the base model, 1 as trained."
    )
    base: bool = Field(True, description="Also generate each prompt with the base model.")
    seed: int | None = Field(None, ge=0, lt=2**32, description="The seed of all images. Null: random.")
    sample: dict[str, Any] = Field({}, description="Parameters of the images that differ from the first sample of the run.")
    device: Literal["auto", "cpu"] = Field("auto", description="`auto`: the device of the run.")


class Grid(Open):
    """A grid of images."""

    ok: Literal[True] = True
    id: str
    run_id: str
    state: str = Field(description="`running`, `done`, `stopped` or `failed`.")
    doing: str
    error: str
    suggestion: str
    cells: list[dict[str, Any]]


class GridList(BaseModel):
    """Grids, newest first."""

    ok: Literal[True] = True
    generations: list[Grid]


class Deleted(BaseModel):
    """A grid was deleted."""

    ok: Literal[True] = True


@router.post("", response_model=Grid)
@slow
def start(service: Service, body: GridRequest) -> dict[str, Any]:
    """Start to generate images with the results of a run."""
    wish = Wish(
        **{
            **body.model_dump(),
            "prompts": tuple(body.prompts),
            "files": tuple(body.files),
            "strengths": tuple(body.strengths),
        }
    )
    return service.generations.start(wish)


@router.get("", response_model=GridList)
@slow
def grids(service: Service, run_id: Annotated[str, Query(max_length=200)] = "") -> dict[str, Any]:
    """List the grids of a run, or all."""
    return {"ok": True, "generations": service.generations.list(run_id)}


@router.get("/{grid_id}", response_model=Grid)
@slow
def grid(service: Service, grid_id: GridId) -> dict[str, Any]:
    """Return a grid and its progress."""
    return service.generations.get(grid_id)


@router.get("/{grid_id}/images/{number}", response_class=Response)
@slow
def image(service: Service, grid_id: GridId, number: Annotated[int, Path(ge=0, lt=MOST_CELLS)]) -> FileResponse:
    """Return an image."""
    return FileResponse(service.generations.image(grid_id, number), media_type="image/png")


@router.post("/{grid_id}/stop", response_model=Grid)
@slow
def stop(service: Service, grid_id: GridId) -> dict[str, Any]:
    """End a grid. Finished images stay."""
    return service.generations.stop(grid_id)


@router.delete("/{grid_id}", response_model=Deleted)
@slow
def delete(service: Service, grid_id: GridId) -> dict[str, Any]:
    """Delete a grid with its images."""
    service.generations.delete(grid_id)
    return {"ok": True}

"""Images generated with the results of runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from onetrainer_gradio.api.config import attachment
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.samples import FOREVER, Sample
from onetrainer_gradio.api.schemas import ERRORS, Done, Open
from onetrainer_gradio.api.threads import images, slow
from onetrainer_gradio.service.generations import GRIDS_PER_PAGE, MAX_CELLS, GenerationRequest

router = APIRouter(prefix="/api/generations", tags=["generations"], responses=ERRORS)

GridId = Annotated[str, Path(description="ID of a grid.", max_length=100)]
Prompt = Annotated[str, Field(max_length=10_000)]


class GridRequest(BaseModel):
    """A grid of images to generate."""

    run_id: str = Field(max_length=200, description="The run whose results are used.")
    prompts: list[Prompt] = Field([], max_length=MAX_CELLS, description="Empty: the sample prompts of the run.")
    files: list[Annotated[str, Field(max_length=200)]] = Field(
        [],
        max_length=MAX_CELLS,
        description="IDs of models and saves of the run, for a LoRA also of backups. Empty: its newest result.",
    )
    strengths: list[Annotated[float, Field(ge=-4, le=4)]] = Field(
        [1.0], min_length=1, max_length=MAX_CELLS, description="Strengths of a LoRA; 0 is the base model, 1 as trained."
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
    """A page of grids, newest first."""

    ok: Literal[True] = True
    generations: list[Grid]
    next: str | None = Field(None, description="The `before` of the next page; null on the last one.")


@router.post("", response_model=Grid)
@slow
def start(service: Service, body: GridRequest) -> dict[str, Any]:
    """Start to generate images with the results of a run."""
    request = GenerationRequest(
        **{
            **body.model_dump(),
            "prompts": tuple(body.prompts),
            "files": tuple(body.files),
            "strengths": tuple(body.strengths),
        }
    )
    return service.generations.start(request)


@router.get("", response_model=GridList)
@slow
def grids(
    service: Service,
    run_id: Annotated[str, Query(max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = GRIDS_PER_PAGE,
    before: Annotated[str, Query(max_length=100, description="The `next` of the previous page.")] = "",
) -> dict[str, Any]:
    """List the grids of a run, or all, in pages."""
    return {"ok": True, **service.generations.list(run_id, limit, before)}


@router.get("/{grid_id}", response_model=Grid)
@slow
def grid(service: Service, grid_id: GridId) -> dict[str, Any]:
    """Return a grid and its progress."""
    return service.generations.get(grid_id)


@router.get("/{grid_id}/images/{number}", response_class=Response)
@slow
def image(service: Service, grid_id: GridId, number: Annotated[int, Path(ge=0, lt=MAX_CELLS)]) -> FileResponse:
    """Return an image."""
    return FileResponse(service.generations.image(grid_id, number), media_type="image/png")


@router.get("/{grid_id}/images/{number}/thumbnail", response_class=Response)
@images
def thumbnail(
    service: Service,
    grid_id: GridId,
    number: Annotated[int, Path(ge=0, lt=MAX_CELLS)],
    w: Annotated[int, Query(ge=16, le=1024, description="Width in pixels.")] = 256,
) -> FileResponse:
    """Return a WebP thumbnail of an image."""
    return FileResponse(service.generations.thumbnail(grid_id, number, w), media_type="image/webp", headers=FOREVER)


@router.get("/{grid_id}/images.zip", response_class=Response)
@slow
def archive(service: Service, grid_id: GridId) -> StreamingResponse:
    """Download the finished images as an uncompressed zip stream."""
    pieces = service.generations.archive(grid_id)
    return StreamingResponse(pieces, media_type="application/zip", headers=attachment(f"images-{grid_id}.zip"))


@router.post("/{grid_id}/images/{number}/keep", response_model=Sample)
@slow
def keep(service: Service, grid_id: GridId, number: Annotated[int, Path(ge=0, lt=MAX_CELLS)]) -> dict[str, Any]:
    """Keep an image as a sample of the run, and return the sample."""
    return service.keep_as_sample(grid_id, number)


@router.post("/{grid_id}/resume", response_model=Grid)
@slow
def resume(service: Service, grid_id: GridId) -> dict[str, Any]:
    """Generate the missing images of a stopped or failed grid."""
    return service.generations.resume(grid_id)


@router.post("/{grid_id}/stop", response_model=Grid)
@slow
def stop(service: Service, grid_id: GridId) -> dict[str, Any]:
    """End a grid. Finished images stay."""
    return service.generations.stop(grid_id)


@router.delete("/{grid_id}", response_model=Done)
@slow
def delete(service: Service, grid_id: GridId) -> dict[str, Any]:
    """Delete a grid with its images."""
    service.generations.delete(grid_id)
    return {"ok": True}

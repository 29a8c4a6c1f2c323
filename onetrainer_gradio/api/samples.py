"""Samples: generate them, list them, and download the images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, Response

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, CommandAccepted, Open, SampleId
from onetrainer_gradio.api.serialization import SafeJSONResponse
from onetrainer_gradio.api.threads import control, images
from onetrainer_gradio.api.training import accepted

router = APIRouter(prefix="/api/samples", tags=["samples"], responses=ERRORS)

# The image of an ID never changes.
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
IMAGE_RESPONSE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/*": {}}, "description": "The image."}}


class Sample(Open):
    """A sample: its parameters and where it is in the API."""

    id: str
    run_id: str
    kind: Literal["default", "custom"]
    prompt: str
    global_step: int


class SampleList(BaseModel):
    """A page of samples, newest first."""

    samples: list[Sample]
    next: str | None = Field(None, description="The `before` of the next page; null on the last one.")
    total: int | None = Field(None, description="Total number of samples; null while unknown.")


@router.post("/default", response_model=CommandAccepted)
@control
def sample_default(service: Service) -> dict[str, Any]:
    """Generate samples for the configured prompts."""
    return accepted(service, service.sample_default())


@router.post("/custom", response_model=CommandAccepted)
@control
def sample_custom(
    service: Service, params: Annotated[dict[str, Any], Body(openapi_examples={"plain": {"value": {"prompt": "a red house"}}})]
) -> dict[str, Any]:
    """Generate one sample with the given parameters (those of a configured sample).

    Missing parameters get the defaults of the model type, see `/api/samples/parameters`.
    """
    return accepted(service, service.sample_custom(params))


@router.get("/parameters", response_model=dict[str, Any])
def parameters(
    service: Service,
    model_type: Annotated[
        str,
        Query(description="Such as `STABLE_DIFFUSION_15`. If omitted: that of the current run, otherwise of the settings."),
    ] = "",
) -> dict[str, Any]:
    """Return the default parameters of a sample for a model type."""
    return service.new_sample(model_type)


@router.get("/list", response_model=SampleList)
def samples(
    service: Service,
    run_id: Annotated[str | None, Query(description="Only samples of this run.")] = None,
    kind: Annotated[Literal["default", "custom"] | None, Query(description="Only samples of this kind.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 60,
    before: Annotated[str | None, Query(description="The `next` of the previous page.")] = None,
) -> dict[str, Any]:
    """List samples, newest first, in pages."""
    return service.samples.list(run_id=run_id, kind=kind, limit=limit, before=before)


@router.get("/latest", response_model=SampleList)
def latest(service: Service, n: Annotated[int, Query(ge=1, le=500)] = 1) -> dict[str, Any]:
    """Return the newest samples."""
    return {"samples": service.samples.latest(n)}


@router.get("/{sample_id}", response_model=Sample, responses=IMAGE_RESPONSE)
def sample(service: Service, request: Request, sample_id: SampleId) -> Any:
    """Return a sample: its metadata, or the image if `Accept` prefers one."""
    headers = {"Vary": "Accept"}
    if prefers_image(request.headers.get("accept", "")):
        return FileResponse(service.samples.path(sample_id), headers=headers)
    return SafeJSONResponse(service.samples.get(sample_id), headers=headers)


@router.get("/{sample_id}/image", response_class=Response, responses=IMAGE_RESPONSE)
def image(
    service: Service,
    sample_id: SampleId,
    download: Annotated[bool, Query(description="Download the image instead of showing it.")] = False,
) -> Response:
    """Return the image in full size."""
    path = service.samples.path(sample_id)
    return FileResponse(path, filename=path.name if download else None, headers=FOREVER)


@router.get("/{sample_id}/thumbnail", response_class=Response, responses=IMAGE_RESPONSE)
@images
def thumbnail(
    service: Service, sample_id: SampleId, w: Annotated[int, Query(ge=16, le=1024, description="Width in pixels.")] = 256
) -> Response:
    """Return a WebP thumbnail of the image."""
    return FileResponse(service.samples.thumbnail(sample_id, w), media_type="image/webp", headers=FOREVER)


def prefers_image(accept: str) -> bool:
    """Return whether an Accept header prefers an image to JSON. The default is JSON."""
    best = {"image": 0.0, "json": 0.0}
    for part in accept.lower().split(","):
        kind, _, rest = part.strip().partition(";")
        quality = quality_of(rest)
        if kind.startswith("image/"):
            best["image"] = max(best["image"], quality)
        elif kind in {"application/json", "text/html", "application/*"}:
            best["json"] = max(best["json"], quality)
    return best["image"] > best["json"]


def quality_of(parameters: str) -> float:
    """Return the ``q`` of one entry of an Accept header."""
    for parameter in parameters.split(";"):
        key, _, value = parameter.strip().partition("=")
        if key == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0

"""Base models on the Hugging Face Hub: search, description and download before a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Done, Open
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.hub.models import MAX_FOUND

router = APIRouter(prefix="/api/hub", tags=["Hugging Face Hub"], responses=ERRORS)

DownloadId = Annotated[str, Path(description="ID of a download.", max_length=100)]
ModelTypeName = Annotated[str, Query(max_length=100, description="Only models that this type can be loaded from.")]
_NAME = r"^[\w.-]+/[\w.-]+$"


class FoundModel(Open):
    """A model. `describe` adds `files` and `missing`."""

    id: str
    downloads: int
    license: str
    gated: bool = Field(description="Whether an account that has accepted its conditions is needed.")
    model_type: str = Field(description="The model type to train it as.")
    model_types: list[str] = Field(description="All model types that can be loaded from it.")
    bytes: int | None = Field(description="What is downloaded for training; null in a list.")
    local: bool = Field(description="Whether it is on this machine.")
    trainable: bool = Field(description="Whether it can be trained here.")
    reason: str = Field(description="Why it can't.")


class FoundModels(BaseModel):
    """Models, those that can be trained here first."""

    ok: Literal[True] = True
    models: list[FoundModel]


class Described(BaseModel):
    """A model."""

    ok: Literal[True] = True
    model: FoundModel


class DownloadRequest(BaseModel):
    """A model to download."""

    repo: str = Field(pattern=_NAME, max_length=200, description="OWNER/NAME.")
    revision: str = Field("main", pattern=r"^[\w./-]+$", max_length=200)
    model_type: str = Field("", max_length=100, description="Download the components of this type. Empty: of the pipeline.")


class DownloadState(Open):
    """A download and its progress."""

    id: str
    repository: str
    cache: str = Field(description="The cache folder of the Hugging Face libraries that it is stored in.")
    state: str = Field(description="`waiting`, `running`, `paused`, `done` or `failed`.")
    done: int = Field(description="Bytes on this machine.")
    total: int
    error: str
    suggestion: str


class DownloadList(BaseModel):
    """Downloads, newest first."""

    ok: Literal[True] = True
    downloads: list[DownloadState]


class DownloadReply(BaseModel):
    """A download."""

    ok: Literal[True] = True
    download: DownloadState


@router.get("/models", response_model=FoundModels)
@slow
def search(
    service: Service,
    search: Annotated[str, Query(min_length=1, max_length=200, description="A part of the name.")],
    model_type: ModelTypeName = "",
    limit: Annotated[int, Query(ge=1, le=MAX_FOUND)] = 20,
) -> dict[str, Any]:
    """Find base models by name."""
    return {"ok": True, "models": service.hub_models.search(search, model_type, limit)}


@router.get("/models/{owner}/{name}", response_model=Described)
@slow
def describe(
    service: Service,
    owner: Annotated[str, Path(max_length=100)],
    name: Annotated[str, Path(max_length=100)],
    model_type: ModelTypeName = "",
) -> dict[str, Any]:
    """Return a model with the size of what is downloaded for training."""
    return {"ok": True, "model": service.hub_models.describe(f"{owner}/{name}", model_type)}


@router.post("/downloads", response_model=DownloadReply)
@slow
def download(service: Service, body: DownloadRequest) -> dict[str, Any]:
    """Download what training needs of a model. A paused download of it continues."""
    return {"ok": True, "download": service.downloads.start(body.repo, body.revision, body.model_type)}


@router.get("/downloads", response_model=DownloadList)
@slow
def downloads(service: Service) -> dict[str, Any]:
    """List downloads."""
    return {"ok": True, "downloads": service.downloads.list()}


@router.get("/downloads/{download_id}", response_model=DownloadReply)
@slow
def one(service: Service, download_id: DownloadId) -> dict[str, Any]:
    """Return a download."""
    return {"ok": True, "download": service.downloads.get(download_id)}


@router.post("/downloads/{download_id}/pause", response_model=DownloadReply)
@slow
def pause(service: Service, download_id: DownloadId) -> dict[str, Any]:
    """Pause a download. Its downloaded files are kept."""
    return {"ok": True, "download": service.downloads.pause(download_id)}


@router.post("/downloads/{download_id}/resume", response_model=DownloadReply)
@slow
def resume(service: Service, download_id: DownloadId) -> dict[str, Any]:
    """Continue a paused or failed download."""
    return {"ok": True, "download": service.downloads.resume(download_id)}


@router.delete("/downloads/{download_id}", response_model=Done)
@slow
def remove(service: Service, download_id: DownloadId) -> dict[str, Any]:
    """Remove a download. If it isn't done, what it downloaded is deleted."""
    service.downloads.remove(download_id)
    return {"ok": True}

"""Uploads into datasets: files and zip archives in pieces, resumable."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Done
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.datasets.uploads import PIECE_BYTES
from onetrainer_gradio.service.host.threads import Threads, in_thread

router = APIRouter(prefix="/api/datasets/uploads", tags=["datasets"], responses=ERRORS)

UploadId = Annotated[str, Path(description="ID of an upload.", max_length=100)]


class NewUpload(BaseModel):
    """A file to upload."""

    dataset: str = Field(description="Name of a dataset of the panel.", max_length=255, examples=["cats"])
    name: str = Field(description="File name, with folders if the dataset has some.", max_length=4096, examples=["cat.png"])
    bytes: int = Field(ge=0, description="Size of the file.")
    sha256: str = Field("", max_length=64, description="SHA-256 of the file, to check it at the end.")
    batch: str = Field("", max_length=100, description="Any text that the files of one drop share: captions follow their images.")


class Upload(BaseModel):
    """An upload."""

    ok: Literal[True] = True
    id: str
    dataset: str
    name: str = Field(description="The safe form of the name.")
    bytes: int
    offset: int = Field(description="Send the bytes from here on.")
    state: Literal["receiving", "placing", "unpacking", "done", "failed", "cancelled"]
    piece_bytes: int = Field(description="Send at most this many bytes per request.")
    to_unpack: int = Field(description="Bytes of the files in an archive.")
    unpacked: int = Field(description="Bytes of them that are unpacked.")
    added: int = Field(description="Files that were added to the dataset.")
    names: list[str] = Field(description="The first of them.")
    skipped: list[tuple[str, str]] = Field(description="The first files that weren't added, with the reason.")
    skipped_count: int
    error: str


class UploadList(BaseModel):
    """Unfinished uploads."""

    ok: Literal[True] = True
    uploads: list[Upload]


@router.post("", response_model=Upload)
@slow
def begin(service: Service, body: NewUpload) -> dict[str, Any]:
    """Start an upload, or continue an unfinished one of the same file."""
    return service.datasets.uploads.begin(body.dataset, body.name, body.bytes, sha256=body.sha256, batch=body.batch)


@router.get("", response_model=UploadList)
@slow
def uploads(service: Service, dataset: Annotated[str, Query(max_length=255)] = "") -> dict[str, Any]:
    """List the unfinished uploads."""
    return {"uploads": service.datasets.uploads.list(dataset)}


@router.get("/{upload_id}", response_model=Upload)
@slow
def upload(service: Service, upload_id: UploadId) -> dict[str, Any]:
    """Return an upload with the offset to continue at."""
    return service.datasets.uploads.get(upload_id)


@router.put(
    "/{upload_id}",
    response_model=Upload,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "maxLength": PIECE_BYTES}}},
        }
    },
)
async def write(
    service: Service,
    request: Request,
    upload_id: UploadId,
    offset: Annotated[int, Query(ge=0, description="Where the piece starts in the file.")],
    sha256: Annotated[str, Query(max_length=64, description="SHA-256 of the piece, to check it.")] = "",
) -> dict[str, Any]:
    """Send a piece of the file: the raw bytes as the body. 409 if it doesn't start at the upload's offset."""
    data = await request.body()
    return await in_thread(Threads.SLOW, service.datasets.uploads.write, upload_id, offset, data, sha256=sha256)


@router.delete("/{upload_id}", response_model=Done)
@slow
def cancel(service: Service, upload_id: UploadId) -> dict[str, Any]:
    """Cancel an upload and remove its bytes. An archive that is being unpacked stops; its files so far stay."""
    service.datasets.uploads.cancel(upload_id)
    return {"ok": True}

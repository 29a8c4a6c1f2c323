"""Browse files and folders on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.threads import slow

router = APIRouter(prefix="/api/files", tags=["files"], responses=ERRORS)


class FileEntry(BaseModel):
    """A file or folder."""

    name: str
    path: str = Field(description="Value for a setting.")
    folder: bool
    bytes: int | None = Field(description="File size; null for a folder.")
    modified_at: float = Field(description="Seconds since the epoch.")


class Place(BaseModel):
    """A folder to start from."""

    title: str
    path: str


class Files(BaseModel):
    """Contents of a folder."""

    ok: bool = True
    path: str
    parent: str = Field(description="Parent folder; empty if there is none or it isn't allowed.")
    file: str = Field(description="The requested file, if the path is a file.")
    entries: list[FileEntry] = Field(description="Folders first.")
    left_out: int = Field(description="Number of omitted entries. Use `search` to narrow the list.")
    images: int = Field(description="Number of images in the folder, regardless of `kind`.")
    other_files: int = Field(description="Number of other files in the folder.")
    thumbnails: list[str] = Field(description="URLs of thumbnails of the first images. `?w=` sets the width in pixels.")
    places: list[Place]


class NewFolder(BaseModel):
    """A folder to create."""

    path: str = Field(description="Parent folder, relative to the data folder.")
    name: str = Field(description="Name of the new folder, without slashes.", examples=["my run"])


class Made(BaseModel):
    """A new folder."""

    ok: bool = True
    path: str


@router.post("/folder", response_model=Made)
def make_folder(service: Service, body: NewFolder) -> dict[str, Any]:
    """Create a folder inside the allowed folders. 409 if the name already exists."""
    return {"ok": True, "path": str(service.folders.make(body.path, body.name))}


@router.get("", response_model=Files)
@slow
def files(
    service: Service,
    path: Annotated[str, Query(description="A folder or file, relative to the data folder. Empty: the data folder.")] = "",
    kind: Annotated[
        Literal["any", "folder", "model", "image", "json", "text"],
        Query(description="Which files to list in addition to folders."),
    ] = "any",
    search: Annotated[str, Query(description="Part of a name.", max_length=200)] = "",
    hidden: Annotated[bool, Query(description="Include names that start with a dot.")] = False,
    nearest: Annotated[bool, Query(description="If the path doesn't exist, list its nearest existing parent.")] = False,
) -> dict[str, Any]:
    """List a folder on this machine, inside the allowed folders."""
    listing = service.folders.list(path, kind, search, hidden=hidden, nearest=nearest)
    thumbnails = [f"/api/concepts/images/{shown}" for path in listing.first_images if (shown := service.concepts.shown(path))]
    return {"ok": True, **asdict(listing), "thumbnails": thumbnails, "places": service.folders.places()}

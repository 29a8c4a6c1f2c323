"""Files and folders of the machine, to choose from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.shapes import ERRORS
from onetrainer_gradio.api.threads import slow

router = APIRouter(prefix="/api/files", tags=["files"], responses=ERRORS)


class FileEntry(BaseModel):
    """A file or folder."""

    name: str
    path: str = Field(description="What a setting is given.")
    folder: bool
    bytes: int | None = Field(description="Size of a file.")
    modified_at: float = Field(description="Seconds since the epoch.")


class Place(BaseModel):
    """A folder to begin at."""

    title: str
    path: str


class Files(BaseModel):
    """What lies in a folder."""

    ok: bool = True
    path: str
    parent: str = Field(description="The folder above; empty where there is none that may be seen.")
    file: str = Field(description="The file that was asked for, when it was one.")
    entries: list[FileEntry] = Field(description="Folders first.")
    left_out: int = Field(description="How many entries more there are; narrow them by `search`.")
    images: int = Field(description="How many images are in the folder, whatever kind was asked for.")
    other_files: int = Field(description="How many files that are not images are in it.")
    thumbnails: list[str] = Field(description="Addresses of thumbnails of its first images; `?w=` sets their width in pixels.")
    places: list[Place]


class NewFolder(BaseModel):
    """A folder to make."""

    path: str = Field(description="The folder to make it in; relative to the data folder.")
    name: str = Field(description="Its name: one part of a path.", examples=["my run"])


class Made(BaseModel):
    """A folder that was made."""

    ok: bool = True
    path: str


@router.post("/folder", response_model=Made)
def make_folder(service: Service, body: NewFolder) -> dict[str, Any]:
    """Make a folder inside the allowed folders; 409 where there is something of that name."""
    return {"ok": True, "path": str(service.folders.make(body.path, body.name))}


@router.get("", response_model=Files)
@slow
def files(
    service: Service,
    path: Annotated[str, Query(description="A folder or file; relative to the data folder. Empty: the data folder.")] = "",
    kind: Annotated[
        Literal["any", "folder", "model", "picture", "json", "text"], Query(description="Which files are shown beside folders.")
    ] = "any",
    search: Annotated[str, Query(description="A part of the names.", max_length=200)] = "",
    hidden: Annotated[bool, Query(description="Show names that begin with a dot.")] = False,
    nearest: Annotated[bool, Query(description="Go to the nearest folder above when the path is not there.")] = False,
) -> dict[str, Any]:
    """What lies in a folder of this machine, inside the allowed folders."""
    listing = service.folders.list(path, kind, search, hidden=hidden, nearest=nearest)
    thumbnails = [f"/api/concepts/pictures/{shown}" for path in listing.first_images if (shown := service.concepts.shown(path))]
    return {"ok": True, **asdict(listing), "thumbnails": thumbnails, "places": service.folders.places()}

"""Datasets: folders of the panel, and the images of any allowed folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.datasets.image_index import MAX_PER_PAGE
from onetrainer_gradio.service.datasets.image_index import Query as ImageQuery

router = APIRouter(prefix="/api/datasets", tags=["datasets"], responses=ERRORS)

_MAX_LETTERS = 4096
FolderText = Annotated[
    str,
    Field(
        description="Folder of a dataset: `datasets/NAME` for one of the panel, or any allowed path.",
        max_length=_MAX_LETTERS,
        examples=["datasets/cats"],
    ),
]
FolderQuery = Annotated[
    str,
    Query(description="Folder of a dataset: `datasets/NAME` for one of the panel, or any allowed path.", max_length=1000),
]
DatasetName = Annotated[str, Path(description="Name of a dataset of the panel.", max_length=255)]


class Dataset(BaseModel):
    """A dataset of the panel."""

    name: str
    folder: str = Field(description="Value for the folder of a concept.")
    images: int
    modified_at: float = Field(description="Seconds since the epoch.")
    created_by: str = Field("", description="Who created it; empty if unknown.")


class DatasetList(BaseModel):
    """All datasets of the panel."""

    ok: Literal[True] = True
    datasets: list[Dataset]


class DatasetReply(BaseModel):
    """One dataset."""

    ok: Literal[True] = True
    dataset: Dataset


class NewDataset(BaseModel):
    """A dataset to create, or a new name."""

    name: str = Field(description="A name without slashes.", max_length=_MAX_LETTERS, examples=["cats"])


class Deleted(BaseModel):
    """Where a deleted dataset is now."""

    ok: Literal[True] = True
    trash: str = Field(description="Folder in the trash. Move it back to restore the dataset.")


class Filter(BaseModel):
    """Which images of a folder."""

    search: str = Field("", max_length=1000, description="Text in the caption or the name.")
    tag: str = Field("", max_length=1000, description="A tag of the caption.")
    caption: Literal["", "missing", "present"] = ""
    masked: Literal["", "yes", "no"] = ""
    aspect: Literal["", "portrait", "landscape", "square"] = ""
    smaller_than: int = Field(0, ge=0, le=100_000, description="The shorter side is smaller than this, in pixels.")
    broken: bool = Field(False, description="Only images that can't be trained.")
    duplicates: bool = Field(False, description="Only duplicates that the last inspection found.")
    sort: str = Field(
        "name",
        pattern="^-?(name|modified|bytes|pixels|aspect|caption|words)$",
        description="`name`, `modified`, `bytes`, `pixels`, `aspect`, `caption` or `words`; a leading `-` reverses the order.",
    )
    subfolders: bool = Field(True, description="Include images in subfolders.")
    excluded: bool = Field(False, description="List the excluded images instead.")

    def query(self) -> ImageQuery:
        """Return it for the service."""
        return ImageQuery(
            search=self.search,
            tag=self.tag,
            caption=self.caption,
            masked=self.masked,
            aspect=self.aspect,
            smaller_than=self.smaller_than,
            broken=self.broken,
            sort=self.sort,
            subfolders=self.subfolders,
            excluded=self.excluded,
        )


class DatasetImage(BaseModel):
    """An image of a dataset."""

    path: str = Field(description="Path in the folder.")
    bytes: int
    modified_at: float
    width: int | None = Field(description="Pixels of the upright image; null if it can't be read.")
    height: int | None
    problem: str = Field(description="Why it can't be trained; empty if it can.")
    caption: str | None = Field(description="Content of the caption file; null without one.")
    caption_cut: bool = Field(description="Whether only the beginning of the caption is in this list.")
    caption_version: str = Field(description="Changes with the caption file; empty without one.")
    caption_problem: str = Field(description="Why the caption file can't be read.")
    masked: bool
    conditioned: bool
    thumbnail: str = Field(description="URL of a thumbnail. `?w=` sets the width in pixels.")
    mask_thumbnail: str = Field("", description="The same for its mask; empty without one.")


class DatasetImages(BaseModel):
    """A page of images."""

    ok: Literal[True] = True
    folder: str
    path: str = Field(description="Absolute path of the folder.")
    writable: bool = Field(description="Whether the panel can change the files.")
    total: int = Field(description="Images in the folder.")
    matches: int = Field(description="Images that match the filter.")
    offset: int
    complete: bool = Field(description="If false, repeat the request: reading continues where it stopped.")
    images: list[DatasetImage]


class TagList(BaseModel):
    """Tags with their number of images."""

    ok: Literal[True] = True
    tags: list[tuple[str, int]]
    total: int = Field(description="Number of different tags.")
    images: int
    complete: bool = Field(description="If false, repeat the request.")


class ImagesRequest(BaseModel):
    """Which images to list."""

    folder: FolderText
    filter: Filter = Filter()
    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(100, ge=1, le=MAX_PER_PAGE)


class TagsRequest(BaseModel):
    """Whose tags to count."""

    folder: FolderText
    filter: Filter = Filter()
    delimiter: str = Field(",", min_length=1, max_length=10)
    limit: int = Field(1000, ge=1, le=10_000)


@router.get("", response_model=DatasetList)
@slow
def datasets(service: Service) -> dict[str, Any]:
    """List the datasets of the panel."""
    return {"datasets": service.datasets.library.list()}


@router.post("", response_model=DatasetReply)
@slow
def create(service: Service, body: NewDataset) -> dict[str, Any]:
    """Create an empty dataset. 409 if the name exists."""
    return {"dataset": service.datasets.library.create(body.name)}


@router.post("/images", response_model=DatasetImages)
@slow
def images(service: Service, asked: ImagesRequest) -> dict[str, Any]:
    """List the images of a folder in pages, filtered and sorted."""
    query = asked.filter.query()
    if asked.filter.duplicates:
        query = replace(query, among=service.datasets.inspector.duplicates(asked.folder))
    page = service.datasets.index.page(asked.folder, query, asked.offset, asked.limit)
    return {**page, "images": [with_url(image) for image in page["images"]]}


@router.post("/tags", response_model=TagList)
@slow
def tags(service: Service, asked: TagsRequest) -> dict[str, Any]:
    """Count the tags in the captions of a folder."""
    return service.datasets.index.tags(asked.folder, asked.filter.query(), asked.delimiter, asked.limit)


@router.post("/{dataset}/rename", response_model=DatasetReply)
@slow
def rename(service: Service, dataset: DatasetName, body: NewDataset) -> dict[str, Any]:
    """Rename a dataset. Concepts that use its folder keep the old path. Only its creator and owners may."""
    return {"dataset": service.datasets.library.rename(dataset, body.name)}


@router.delete("/{dataset}", response_model=Deleted)
@slow
def delete(service: Service, dataset: DatasetName) -> dict[str, Any]:
    """Move a dataset to the trash folder of the datasets."""
    return {"trash": str(service.datasets.library.delete(dataset))}


def with_url(image: dict[str, Any]) -> dict[str, Any]:
    """Return an image with the URLs of its thumbnail and of that of its mask."""
    names = ("thumbnail", "mask_thumbnail")
    return {**image, **{name: f"/api/concepts/images/{image[name]}" if image.get(name) else "" for name in names}}

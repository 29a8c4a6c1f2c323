"""The folders of pictures: what lies in them, small pictures, and a preview of what the settings make of one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, Response

from onetrainer_gradio.api.consequences import Asked, changed
from onetrainer_gradio.api.samples import FOREVER, PICTURE
from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.shapes import ERRORS, Open
from onetrainer_gradio.api.threads import images, slow
from onetrainer_gradio.service.datasets.concepts import MOST_VARIANTS

router = APIRouter(prefix="/api/concepts", tags=["concepts"], responses=ERRORS)


class StatisticsAsked(Asked):
    """Whose statistics are asked for."""

    index: int | None = Field(None, ge=0, description="Of which concept; left out: of all, with their total.")


class ConceptStatistics(Open):
    """What lies in the folder of a concept. A folder that cannot be looked into has a `problem` and no more keys."""

    index: int
    name: str
    folder: str
    enabled: bool
    problem: str = Field(description="Why the folder cannot be looked into; empty when it can.")
    complete: bool = Field(description="Whether everything was looked at in the time there was.")
    per_epoch: int = Field(description="Pictures an epoch takes of it, repeats included.")


class Statistics(BaseModel):
    """The folders of the concepts."""

    ok: Literal[True] = True
    complete: bool = Field(description="False: ask again, the look goes on where it stopped.")
    concepts: list[ConceptStatistics]
    total: dict[str, Any] | None = Field(description="An epoch of all concepts in use: pictures, steps, buckets.")


class PreviewAsked(Asked):
    """Which draws are asked for."""

    index: int = Field(ge=0, description="Of which concept.")
    picture: int = Field(0, ge=0, description="Which of its pictures, in the order of their names.")
    variants: int = Field(6, ge=1, le=MOST_VARIANTS)
    seed: int = Field(0, description="The same seed draws the same.")
    width: int = Field(320, ge=64, le=768, description="Of the longer side, in pixels.")


class Variant(BaseModel):
    """One draw."""

    image: str = Field(description="A data address.")
    width: int = Field(description="The size it is trained in.")
    height: int
    changes: list[str] = Field(description="What was done to the picture, in words.")
    caption: str


class ConversionAsked(Asked):
    """What is converted."""

    index: int = Field(ge=0, description="Of which concept.")
    what: Literal["captions", "images"] = Field(
        description="`captions`: caption files become UTF-8, each original is kept as `.bak`. `images`: copies of images in "
        "formats that aren't trained are written next to them as JPEG or PNG."
    )


class Failed(BaseModel):
    """Files that weren't converted."""

    count: int
    first: list[tuple[str, str]] = Field(description="Names and reasons of the first.")


class Conversion(BaseModel):
    """What was converted."""

    ok: Literal[True] = True
    converted: int
    made: list[str] = Field(description="Names of the first files that were written.")
    failed: Failed
    left: int = Field(description="Files that there was no time for: ask again to go on.")


class Preview(BaseModel):
    """A picture and what is drawn from it."""

    ok: Literal[True] = True
    file: str
    picture: int
    pictures: int = Field(description="How many there are.")
    width: int
    height: int
    image: str = Field(description="As it is; a data address.")
    captions: list[str] = Field(description="The captions that one is drawn from.")
    variants: list[Variant]
    notes: list[str]


@router.post("/statistics", response_model=Statistics)
@slow
def statistics(service: Service, asked: StatisticsAsked) -> dict[str, Any]:
    """What lies in the folders: pictures, captions, masks, sizes, buckets, and what an epoch takes; in a few seconds at most."""
    told = service.concepts.statistics(changed(service, asked), asked.index)
    for concept in told["concepts"]:
        if concept.get("thumbnail"):
            concept["thumbnail"] = f"/api/concepts/pictures/{concept['thumbnail']}"
    return told


@router.post("/preview", response_model=Preview)
@slow
def preview(service: Service, asked: PreviewAsked) -> dict[str, Any]:
    """A picture of a concept as it is trained, drawn several times, with its caption."""
    return service.concepts.preview(
        changed(service, asked),
        asked.index,
        picture=asked.picture,
        variants=asked.variants,
        seed=asked.seed,
        width_px=asked.width,
    )


@router.post("/convert", response_model=Conversion)
def convert(service: Service, asked: ConversionAsked) -> dict[str, Any]:
    """Convert captions to UTF-8, or copies of images to a format that is trained. Originals are kept."""
    return service.concepts.convert(changed(service, asked), asked.index, asked.what)


@router.get("/pictures/{picture_id}", response_class=Response, responses=PICTURE)
@images
def picture(
    service: Service,
    picture_id: Annotated[str, Path(description="Of the statistics.", max_length=64)],
    w: Annotated[int, Query(ge=16, le=1024, description="Width in pixels.")] = 192,
) -> Response:
    """A small WebP of a picture that the statistics named."""
    return FileResponse(service.concepts.thumbnail(picture_id, w), media_type="image/webp", headers=FOREVER)

"""Dataset folders: statistics, thumbnails, and a preview of the augmentation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, Response

from onetrainer_gradio.api.consequences import ChangedSettings, changed
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.samples import FOREVER, IMAGE_RESPONSE
from onetrainer_gradio.api.schemas import ERRORS, Open
from onetrainer_gradio.api.threads import images, slow
from onetrainer_gradio.service.datasets.concepts import MAX_VARIANTS

router = APIRouter(prefix="/api/concepts", tags=["concepts"], responses=ERRORS)


class StatisticsRequest(ChangedSettings):
    """Select the concept for the statistics."""

    index: int | None = Field(None, ge=0, description="Index of the concept. Omit it for all concepts and their total.")


class ConceptStatistics(Open):
    """Statistics of a concept's folder. If the folder can't be scanned, `problem` is set and further keys are missing."""

    index: int
    name: str
    folder: str
    enabled: bool
    problem: str = Field(description="Why the folder can't be scanned; empty if it can.")
    complete: bool = Field(description="Whether the scan finished within the time limit.")
    per_epoch: int = Field(description="Images per epoch, including repeats.")


class Statistics(BaseModel):
    """Statistics of the concepts."""

    ok: Literal[True] = True
    complete: bool = Field(description="If false, repeat the request: the scan continues where it stopped.")
    concepts: list[ConceptStatistics]
    total: dict[str, Any] | None = Field(description="One epoch of all enabled concepts: images, steps, buckets.")


class PreviewRequest(ChangedSettings):
    """Select the image and the number of variants for the preview."""

    index: int = Field(ge=0, description="Index of the concept.")
    image_index: int = Field(0, ge=0, description="Index of the image, in file name order.")
    variants: int = Field(6, ge=1, le=MAX_VARIANTS)
    seed: int = Field(0, description="The same seed gives the same variants.")
    width: int = Field(320, ge=64, le=768, description="Longer side in pixels.")


class Variant(BaseModel):
    """One random variant of an image."""

    image: str = Field(description="A data URL.")
    width: int = Field(description="Training width in pixels.")
    height: int = Field(description="Training height in pixels.")
    changes: list[str] = Field(description="The augmentations that were applied, as text.")
    caption: str


class ConversionRequest(ChangedSettings):
    """Select what to convert."""

    index: int = Field(ge=0, description="Index of the concept.")
    what: Literal["captions", "images"] = Field(
        description="`captions`: caption files are converted to UTF-8, and each original is kept as `.bak`. `images`: images in "
        "unsupported formats are copied next to the originals as JPEG or PNG."
    )


class Failed(BaseModel):
    """Files that couldn't be converted."""

    count: int
    first: list[tuple[str, str]] = Field(description="File name and reason of the first ones.")


class Conversion(BaseModel):
    """Result of a conversion."""

    ok: Literal[True] = True
    converted: int
    made: list[str] = Field(description="Names of the first written files.")
    failed: Failed
    left: int = Field(description="Files that are left after the time limit. Repeat the request to continue.")


class Preview(BaseModel):
    """An image and random variants of it."""

    ok: Literal[True] = True
    file: str
    image_index: int
    images: int = Field(description="Number of images in the concept.")
    width: int
    height: int
    image: str = Field(description="The unchanged image as a data URL.")
    captions: list[str] = Field(description="The captions to choose from.")
    variants: list[Variant]
    notes: list[str]


@router.post("/statistics", response_model=Statistics)
@slow
def statistics(service: Service, asked: StatisticsRequest) -> dict[str, Any]:
    """Scan the dataset folders: images, captions, masks, sizes, buckets and images per epoch. Takes a few seconds at most."""
    found = service.concepts.statistics(changed(service, asked), asked.index)
    for concept in found["concepts"]:
        if concept.get("thumbnail"):
            concept["thumbnail"] = f"/api/concepts/images/{concept['thumbnail']}"
    return found


@router.post("/preview", response_model=Preview)
@slow
def preview(service: Service, asked: PreviewRequest) -> dict[str, Any]:
    """Preview random augmentations of an image and its caption."""
    return service.concepts.preview(
        changed(service, asked),
        asked.index,
        image_index=asked.image_index,
        variants=asked.variants,
        seed=asked.seed,
        width_px=asked.width,
    )


@router.post("/convert", response_model=Conversion)
def convert(service: Service, asked: ConversionRequest) -> dict[str, Any]:
    """Convert captions to UTF-8, or copies of images to a supported format. Originals are kept."""
    return service.concepts.convert(changed(service, asked), asked.index, asked.what)


@router.get("/images/{image_id}", response_class=Response, responses=IMAGE_RESPONSE)
@images
def thumbnail(
    service: Service,
    image_id: Annotated[str, Path(description="Image ID from the statistics.", max_length=64)],
    w: Annotated[int, Query(ge=16, le=1024, description="Width in pixels.")] = 192,
) -> Response:
    """Return a WebP thumbnail of an image from the statistics."""
    return FileResponse(service.concepts.thumbnail(image_id, w), media_type="image/webp", headers=FOREVER)

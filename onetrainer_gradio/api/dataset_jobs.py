"""Long work on datasets: inspection, automatic captions and masks; and the bucket view."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, Response

from onetrainer_gradio.api.consequences import ChangedSettings, changed
from onetrainer_gradio.api.dataset_files import FolderRequest, ImageText, Selection
from onetrainer_gradio.api.datasets import Filter, FolderQuery, FolderText
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.samples import FOREVER, IMAGE_RESPONSE
from onetrainer_gradio.api.schemas import ERRORS, Open
from onetrainer_gradio.api.threads import images, slow
from onetrainer_gradio.service.datasets.annotation import Annotation
from onetrainer_gradio.service.datasets.bucket_view import bucket_view, bucketing_of

router = APIRouter(prefix="/api/datasets", tags=["datasets"], responses=ERRORS)

JobId = Annotated[str, Path(description="ID of a job.", max_length=100)]
Resolution = Annotated[
    str, Field(max_length=200, description="`512`, `512,768` or `768x512`; empty: that of the settings.", examples=["512"])
]


class BucketsRequest(ChangedSettings):
    """Whose buckets to show."""

    folder: FolderText
    filter: Filter = Filter()
    resolution: Resolution = ""
    bucket: tuple[int, int] | None = Field(None, description="Width and height of the bucket whose images to list.")
    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(100, ge=0, le=500)


class Bucket(BaseModel):
    """A bucket."""

    width: int
    height: int
    images: int


class ResolutionBuckets(BaseModel):
    """The buckets at an edge length."""

    resolution: str
    buckets: list[Bucket]


class BucketImage(BaseModel):
    """What an image becomes."""

    path: str
    width: int
    height: int
    bucket: tuple[int, int] = Field(description="Training width and height.")
    scaled: tuple[int, int] = Field(description="Size before the crop.")
    cropped: float = Field(description="Share of the scaled image that is cropped away.")
    scale: float = Field(description="Above 1, the image is upscaled.")


class Buckets(BaseModel):
    """Buckets of a folder."""

    ok: Literal[True] = True
    resolutions: list[ResolutionBuckets]
    unreadable: int
    matches: int
    images: list[BucketImage]


class InspectRequest(ChangedSettings):
    """What to inspect."""

    folder: FolderText
    subfolders: bool = True
    resolution: Resolution = ""


class JobState(Open):
    """Work on a dataset."""

    id: str
    kind: str
    folder: str
    state: Literal["running", "done", "stopped", "failed"]
    doing: str
    done: int
    total: int
    error: str
    suggestion: str


class JobReply(BaseModel):
    """One job."""

    ok: Literal[True] = True
    job: JobState
    result: dict[str, Any] = Field(default_factory=dict, description="What it found so far.")


class JobList(BaseModel):
    """The jobs of the panel."""

    ok: Literal[True] = True
    jobs: list[JobState]


class Problem(BaseModel):
    """A problem of an image."""

    kind: Literal["broken", "small", "rotated", "format"]
    path: str
    detail: str


class Group(BaseModel):
    """Images that are equal or similar."""

    kind: Literal["exact", "similar"]
    images: list[str]
    keep: str = Field(description="The image that stays.")


class Report(BaseModel):
    """What the last inspection found."""

    ok: Literal[True] = True
    counts: dict[str, int]
    problems: list[Problem] = Field(description="The first 1000.")
    groups: list[Group] = Field(description="The first 1000.")
    similar: bool = Field(description="False without the package ImageHash: then only exact duplicates are found.")
    inspected: int


class FixRequest(FolderRequest):
    """What to deal with."""

    kind: Literal["exact", "similar", "broken", "small", "rotated", "format"]
    images: list[ImageText] | None = Field(None, max_length=200_000, description="Omit it for all of this kind.")


class IgnoreRequest(FolderRequest):
    """What not to report again."""

    kind: Literal["exact", "similar", "broken", "small", "rotated", "format"]
    images: list[ImageText] = Field(max_length=200_000)


class Fixed(BaseModel):
    """What was dealt with."""

    ok: Literal[True] = True
    fixed: int = 0
    skipped: list[tuple[str, str]] = []


class OfferedModel(BaseModel):
    """A model for captions or masks."""

    kind: str
    name: str
    title: str
    about: str
    local: bool = Field(False, description="Whether it is on this machine, so that nothing is downloaded.")


class ModelList(BaseModel):
    """Models for captions or masks."""

    ok: Literal[True] = True
    models: list[OfferedModel]


class AnnotateRequest(Selection):
    """What to caption or mask, and how."""

    task: Literal["caption", "mask"]
    kind: Literal["transformers", "tagger", "text", "background"]
    model: str = Field(max_length=4096, description="A name of the Hugging Face Hub, or a folder.")
    device: str = Field("auto", pattern="^(auto|cpu|cuda(:[0-9]{1,3})?|mps)$")
    replace: bool = Field(False, description="Also images that have a caption or a mask.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the model; docs/api.md lists them.")
    before: str = Field("", max_length=1000, description="Text before each caption, such as a trigger word.")
    after: str = Field("", max_length=1000)
    preview: bool = Field(False, description="Only the first five images, and write nothing.")
    resume: str = Field("", max_length=100, description="ID of a stopped job to continue.")


@router.post("/buckets", response_model=Buckets)
@slow
def buckets(service: Service, asked: BucketsRequest) -> dict[str, Any]:
    """Show what each image becomes at a resolution."""
    bucketing = bucketing_of(changed(service, asked), asked.resolution)
    rows = service.datasets.index.rows(asked.folder, None, asked.filter.query())
    return bucket_view(rows, bucketing, asked.bucket, asked.offset, asked.limit)


@router.post("/inspection", response_model=JobReply)
@slow
def inspect(service: Service, asked: InspectRequest) -> dict[str, Any]:
    """Inspect a folder: duplicates, small, rotated and unreadable images."""
    bucketing = bucketing_of(changed(service, asked), asked.resolution)
    job = service.datasets.inspector.start(asked.folder, bucketing, subfolders=asked.subfolders)
    return {"job": job.as_dict(), "result": job.result}


@router.get("/inspection", response_model=Report)
@slow
def report(service: Service, folder: FolderQuery) -> dict[str, Any]:
    """Return what the last inspection of a folder found."""
    found = service.datasets.inspector.report(folder)
    return {**found, "problems": found["problems"][:1000], "groups": found["groups"][:1000]}


@router.post("/inspection/fix", response_model=Fixed)
@slow
def fix(service: Service, body: FixRequest) -> dict[str, Any]:
    """Deal with the problems of one kind. Duplicates keep one image of each group."""
    return service.datasets.inspector.fix(body.folder, body.kind, body.images)


@router.post("/inspection/ignore", response_model=Fixed)
@slow
def ignore(service: Service, body: IgnoreRequest) -> dict[str, Any]:
    """Don't report a problem of some images again until their files change."""
    service.datasets.inspector.ignore(body.folder, body.kind, body.images)
    return {}


@router.get("/models", response_model=ModelList)
@slow
def models(service: Service, task: Annotated[Literal["caption", "mask"], Query()] = "caption") -> dict[str, Any]:
    """List the models that are offered for a task. Captioners in the folder `captioners` of the data folder come first."""
    return {"models": [asdict(model) for model in service.datasets.annotator.models(task)]}


@router.post("/annotate", response_model=JobReply)
@slow
def annotate(service: Service, body: AnnotateRequest) -> dict[str, Any]:
    """Caption or mask images with a model, in a job. 409 while a run trains, except on the CPU."""
    names = ("task", "kind", "model", "device", "replace", "options", "before", "after", "preview", "resume")
    asked = Annotation(**{name: getattr(body, name) for name in names})
    job = service.datasets.annotator.start(body.folder, body.images, body.filter.query(), asked)
    return {"job": job.as_dict(), "result": {}}


@router.get("/jobs", response_model=JobList)
@slow
def jobs(service: Service) -> dict[str, Any]:
    """List the jobs of this panel, newest first."""
    return {"jobs": service.datasets.jobs.list()}


@router.get("/jobs/{job_id}", response_model=JobReply)
@slow
def job(
    service: Service, job_id: JobId, wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for its end.")] = 0
) -> dict[str, Any]:
    """Return a job with its result so far."""
    found = service.datasets.jobs.wait(job_id, wait)
    return {"job": found.as_dict(), "result": dict(found.result)}


@router.post("/jobs/{job_id}/stop", response_model=JobReply)
@slow
def stop(service: Service, job_id: JobId) -> dict[str, Any]:
    """End a job after the current image."""
    found = service.datasets.jobs.stop(job_id)
    return {"job": found.as_dict(), "result": dict(found.result)}


@router.get("/mask-previews/{name}", response_class=Response, responses=IMAGE_RESPONSE)
@images
def mask_preview(service: Service, name: Annotated[str, Path(max_length=64)]) -> Response:
    """Return the image of a mask from a preview."""
    return FileResponse(
        service.datasets.annotator.preview_file(name.removesuffix(".png")), media_type="image/png", headers=FOREVER
    )

"""Files of datasets: captions, masks, crops, and moves to the trash, out of training or to another folder."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, Response

from onetrainer_gradio.api.datasets import Filter, FolderQuery, FolderText
from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.samples import IMAGE_RESPONSE
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.threads import images, slow
from onetrainer_gradio.service.datasets.caption_edits import CaptionEdit
from onetrainer_gradio.service.host.threads import Threads, in_thread

router = APIRouter(prefix="/api/datasets", tags=["datasets"], responses=ERRORS)

_MAX_IMAGES = 200_000
ImageText = Annotated[str, Field(description="Path of an image in the folder.", max_length=4096, examples=["a.png"])]
ImageQuery = Annotated[str, Query(description="Path of an image in the folder.", max_length=1000)]


class Selection(BaseModel):
    """Some images of a folder."""

    folder: FolderText
    images: list[ImageText] | None = Field(
        None, max_length=_MAX_IMAGES, description="Paths in the folder. Omit it for all images that the filter selects."
    )
    filter: Filter = Filter()


class OneImage(BaseModel):
    """One image of a folder."""

    folder: FolderText
    image: ImageText


class CaptionText(BaseModel):
    """A caption."""

    ok: Literal[True] = True
    text: str = Field(description="Content of the caption file.")
    version: str = Field(description="Send it back with a change; empty without a file.")
    encoding: str = ""
    problem: str = Field("", description="Why the file can't be read.")


class NewCaption(OneImage):
    """A caption to write."""

    text: str = Field(max_length=1_000_000)
    version: str = Field(max_length=64, description="The version that was read; empty if there was no file.")


class Edit(BaseModel):
    """A change of captions."""

    kind: Literal["replace", "add_tags", "remove_tags", "rename_tag", "order_tags", "trigger", "remove_duplicates", "set"]
    find: str = Field("", max_length=10_000, description="Text to replace, or tag to rename.")
    to: str = Field("", max_length=10_000, description="New text, tag, trigger word or caption.")
    tags: list[Annotated[str, Field(max_length=1000)]] = Field(
        [], max_length=10_000, description="Tags to add, remove or put first."
    )
    first: bool = Field(False, description="Add tags at the start.")
    match_case: bool = False
    whole_word: bool = False
    delimiter: str = Field(",", min_length=1, max_length=10)


class CaptionChange(Selection):
    """A change of many captions."""

    edit: Edit
    preview: bool = Field(False, description="Return what would change, and write nothing.")


class Example(BaseModel):
    """A changed caption."""

    path: str
    before: str
    after: str


class CaptionsChanged(BaseModel):
    """What was changed."""

    ok: Literal[True] = True
    changed: int
    unchanged: int
    examples: list[Example]
    skipped: list[tuple[str, str]]


class Undoable(BaseModel):
    """The last change of captions."""

    title: str
    at: float
    images: int


class UndoReply(BaseModel):
    """What could be undone."""

    ok: Literal[True] = True
    last: Undoable | None


class FolderRequest(BaseModel):
    """A folder."""

    folder: FolderText


class Undone(BaseModel):
    """What was undone."""

    ok: Literal[True] = True
    undone: int
    skipped: list[tuple[str, str]]
    title: str


class MoveRequest(Selection):
    """Where to move images."""

    to: FolderText


class Moved(BaseModel):
    """Files that were moved."""

    ok: Literal[True] = True
    moved: int = Field(description="Images moved to the trash; else files.")
    entry: str = Field("", description="ID in the trash, to restore them.")
    skipped: list[tuple[str, str]] = []


class TrashEntry(BaseModel):
    """What one action moved to the trash."""

    id: str
    at: float
    reason: str
    count: int
    files: list[str] = Field(description="The first files.")


class Trash(BaseModel):
    """The trash of a dataset."""

    ok: Literal[True] = True
    entries: list[TrashEntry]


class RestoreRequest(FolderRequest):
    """What to restore."""

    entry: str = Field(max_length=100)


class Restored(BaseModel):
    """What was restored."""

    ok: Literal[True] = True
    restored: int
    skipped: list[tuple[str, str]]


class ImageEdit(OneImage):
    """How to change an image."""

    rotate: Literal[0, 90, 180, 270] = Field(0, description="Degrees clockwise, after the crop.")
    crop: tuple[int, int, int, int] | None = Field(
        None, description="Left, top, width and height in pixels of the upright image."
    )


class Edited(BaseModel):
    """The new image."""

    ok: Literal[True] = True
    path: str
    entry: str = Field(description="ID of the original in the trash.")


class Masked(BaseModel):
    """The mask was written or removed."""

    ok: Literal[True] = True
    mask: str = ""


@router.get("/captions", response_model=CaptionText)
@slow
def caption(service: Service, folder: FolderQuery, image: ImageQuery) -> dict[str, Any]:
    """Return the caption of an image as it is in the file now."""
    return service.datasets.captions.read(folder, image)


@router.put("/captions", response_model=CaptionText)
@slow
def write_caption(service: Service, body: NewCaption) -> dict[str, Any]:
    """Write a caption. 409 with both texts in `errors[0].value` if the file has changed since it was read."""
    return service.datasets.captions.write(body.folder, body.image, body.text, body.version)


@router.post("/captions/change", response_model=CaptionsChanged)
@slow
def change_captions(service: Service, body: CaptionChange) -> dict[str, Any]:
    """Change many captions: find and replace, tags, trigger word. With `preview`, nothing is written."""
    edit = CaptionEdit(**{**body.edit.model_dump(), "tags": tuple(body.edit.tags)})
    return service.datasets.captions.change(body.folder, body.images, body.filter.query(), edit, preview=body.preview)


@router.get("/captions/undo", response_model=UndoReply)
@slow
def undoable(service: Service, folder: FolderQuery) -> dict[str, Any]:
    """Return the last change of captions that can be undone."""
    return {"last": service.datasets.captions.undoable(folder)}


@router.post("/captions/undo", response_model=Undone)
@slow
def undo(service: Service, body: FolderRequest) -> dict[str, Any]:
    """Undo the last change of captions in a folder."""
    return service.datasets.captions.undo(body.folder)


@router.post("/images/trash", response_model=Moved)
@slow
def trash(service: Service, body: Selection) -> dict[str, Any]:
    """Move images with their captions and masks to the trash of the dataset."""
    return service.datasets.moves.trash(body.folder, body.images, body.filter.query())


@router.post("/images/exclude", response_model=Moved)
@slow
def exclude(service: Service, body: Selection) -> dict[str, Any]:
    """Take images out of training: they move to the hidden folder `.excluded`."""
    return service.datasets.moves.exclude(body.folder, body.images, body.filter.query())


@router.post("/images/include", response_model=Moved)
@slow
def include(service: Service, body: Selection) -> dict[str, Any]:
    """Move excluded images back. The filter must have `excluded`."""
    return service.datasets.moves.include(body.folder, body.images, body.filter.query())


@router.post("/images/move", response_model=Moved)
@slow
def move(service: Service, body: MoveRequest) -> dict[str, Any]:
    """Move images with their captions and masks to another folder."""
    return service.datasets.moves.move(body.folder, body.images, body.filter.query(), body.to)


@router.get("/trash", response_model=Trash)
@slow
def trash_entries(service: Service, folder: FolderQuery) -> dict[str, Any]:
    """List the trash of a dataset, newest first."""
    return {"entries": service.datasets.moves.trash_entries(folder)}


@router.post("/trash/restore", response_model=Restored)
@slow
def restore(service: Service, body: RestoreRequest) -> dict[str, Any]:
    """Move files back from the trash."""
    return service.datasets.moves.restore(body.folder, body.entry)


@router.post("/images/edit", response_model=Edited)
@images
def edit_image(service: Service, body: ImageEdit) -> dict[str, Any]:
    """Crop and rotate an image without loss: the result is a PNG file, and the original goes to the trash."""
    return service.datasets.edits.edit(body.folder, body.image, rotate=body.rotate, crop=body.crop)


@router.get("/images/file", response_class=Response, responses=IMAGE_RESPONSE)
@slow
def image_file(
    service: Service,
    folder: FolderQuery,
    image: ImageQuery,
    what: Annotated[Literal["image", "mask"], Query(description="The image, or its mask.")] = "image",
) -> Response:
    """Return an image or its mask in full size."""
    return FileResponse(service.datasets.file(folder, image, what), headers={"Cache-Control": "no-cache"})


@router.put(
    "/masks",
    response_model=Masked,
    openapi_extra={
        "requestBody": {"required": True, "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def put_mask(service: Service, request: Request, folder: FolderQuery, image: ImageQuery) -> dict[str, Any]:
    """Write the mask of an image: a PNG as the body, white where it is trained. An earlier mask goes to the trash."""
    data = await request.body()
    return await in_thread(Threads.IMAGES, service.datasets.edits.put_mask, folder, image, data)


@router.delete("/masks", response_model=Masked)
@slow
def remove_mask(service: Service, folder: FolderQuery, image: ImageQuery) -> dict[str, Any]:
    """Move the mask of an image to the trash."""
    service.datasets.edits.remove_mask(folder, image)
    return {}

"""Publishing results of runs to the Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS, Open, RunId
from onetrainer_gradio.api.threads import slow
from onetrainer_gradio.service.hub.publishing import MAX_SAMPLES, PublishOptions

router = APIRouter(prefix="/api/runs", tags=["publishing"], responses=ERRORS)

PublicationId = Annotated[str, Path(description="ID of a publication.", max_length=100)]
_MAX_TEXT = 100_000


class PublishRequest(BaseModel):
    """What to publish, and where."""

    preview: bool = Field(False, description="Only return what would be published.")
    repository: str = Field("", max_length=200, description="OWNER/NAME, or NAME. Empty: from the name of the run.")
    private: bool = Field(True, description="Whether only you can see a new repository.")
    file: str = Field("", max_length=200, description="ID of a model or save of the run. Empty: its result.")
    samples: list[Annotated[str, Field(max_length=300)]] | None = Field(
        None, max_length=MAX_SAMPLES, description="IDs of samples. Null: the newest of each prompt."
    )
    license: str = Field(
        "",
        max_length=60,
        pattern=r"^[a-z0-9.+-]*$",
        description="ID of a license, such as `mit`. Empty: that of the base model.",
    )
    license_text: str = Field("", max_length=_MAX_TEXT, description="The text of another license, stored as LICENSE.md.")
    trigger_word: str | None = Field(None, max_length=200, description="Null: from the captions of the run.")
    description: str = Field("", max_length=10_000, description="A paragraph in the model card.")
    card: str = Field("", max_length=_MAX_TEXT, description="The whole model card instead of the generated one.")
    settings: bool = Field(True, description="Add the training settings, without paths.")
    new_revision: bool = Field(False, description="Allow changing a repository that has files.")


class PublishReply(Open):
    """A preview (`card`, `files`, `account`, `exists`, `problem`), or a publication (`id`, `state`, `done`, `total`, `url`)."""

    ok: Literal[True] = True
    repository: str


class Publication(Open):
    """A publication and its progress."""

    ok: Literal[True] = True
    id: str
    state: str = Field(description="`running`, `done`, `stopped` or `failed`.")
    repository: str
    url: str


class PublicationList(BaseModel):
    """Publications, newest first."""

    ok: Literal[True] = True
    publications: list[dict[str, Any]]


@router.post("/{run_id}/publish", response_model=PublishReply)
@slow
def publish(service: Service, run_id: RunId, body: PublishRequest) -> dict[str, Any]:
    """Publish a result of a run to the Hugging Face Hub, or preview its model card and files."""
    chosen = body.model_dump(exclude={"preview", "samples"})
    options = PublishOptions(run_id=run_id, samples=None if body.samples is None else tuple(body.samples), **chosen)
    return service.publishing.preview(options) if body.preview else service.publishing.start(options)


@router.get("/{run_id}/publications", response_model=PublicationList)
@slow
def publications(service: Service, run_id: RunId) -> dict[str, Any]:
    """List what was published of a run, and what is being published."""
    return {"ok": True, "publications": service.publishing.list(run_id)}


@router.get("/{run_id}/publications/{publication_id}", response_model=Publication)
def publication(service: Service, run_id: RunId, publication_id: PublicationId) -> dict[str, Any]:
    """Return a publication and its progress in bytes."""
    return service.publishing.get(publication_id)


@router.post("/{run_id}/publications/{publication_id}/stop", response_model=Publication)
def stop(service: Service, run_id: RunId, publication_id: PublicationId) -> dict[str, Any]:
    """End a publication. Nothing of it becomes visible."""
    return service.publishing.stop(publication_id)

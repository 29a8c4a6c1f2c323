"""The copy of the data folder on the Hugging Face Hub."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.threads import control

router = APIRouter(prefix="/api/data-copy", tags=["system"], responses=ERRORS)


class DataCopyReply(BaseModel):
    """Where the data folder is copied to, and the outcome of the last push."""

    ok: Literal[True] = True
    repository: str = Field(description="Empty: nothing is pushed.")
    limit_bytes: int
    pushed_at: float | None = Field(description="Seconds since the epoch. Null: not pushed since the panel started.")
    tried_at: float | None = Field(description="When the last push ended, whether it failed, found nothing new or pushed.")
    files: int
    bytes: int
    omitted: list[str] = Field(description="What is omitted because of the limit.")
    error: str = Field(description="Why the last push failed. It is retried.")


@router.get("", response_model=DataCopyReply)
@control
def data_copy(service: Service) -> DataCopyReply:
    """Return the state of the copy."""
    return DataCopyReply(**service.data_copy.state())


@router.post("", response_model=DataCopyReply)
@control
def push_data(service: Service) -> DataCopyReply:
    """Push the data folder in the background. Returns at once."""
    service.data_copy.request()
    return DataCopyReply(**service.data_copy.state())

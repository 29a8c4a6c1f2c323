"""Secrets: they can be set, but not read."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS

router = APIRouter(prefix="/api/secrets", tags=["secrets"], responses={401: ERRORS[401]})


class SecretsStatus(BaseModel):
    """Which secrets the panel has."""

    ok: bool = True
    huggingface_token: bool = Field(description="Whether a Hugging Face token is set, in the panel or in HF_TOKEN.")


class SecretsChange(BaseModel):
    """New secrets."""

    huggingface_token: str = Field(max_length=500, description="Hugging Face token. Empty removes it.")


@router.get("", response_model=SecretsStatus)
def status(service: Service) -> dict[str, Any]:
    """Show which secrets are set, without their values."""
    return {"ok": True, **service.secrets.status()}


@router.put("", response_model=SecretsStatus)
def change(service: Service, body: SecretsChange) -> dict[str, Any]:
    """Store secrets on this machine, in a file that only its owner can read."""
    service.secrets.set_huggingface_token(body.huggingface_token)
    return status(service)


@router.delete("", response_model=SecretsStatus)
def forget(service: Service) -> dict[str, Any]:
    """Remove all secrets."""
    service.secrets.clear()
    return status(service)

"""The machine: versions, devices, resource usage and processes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.serialization import SafeJSONResponse

router = APIRouter(prefix="/api/system", tags=["system"], responses={401: ERRORS[401]})


@router.get("/info", response_model=dict[str, Any])
def info(service: Service) -> SafeJSONResponse:
    """Return versions, hardware and devices."""
    return SafeJSONResponse(service.system.info())


@router.get("/resources", response_model=dict[str, Any])
def resources(service: Service) -> SafeJSONResponse:
    """Return the usage of CPU, RAM, disk, GPU and VRAM, with the last 10 minutes."""
    return SafeJSONResponse(service.system.resources())


@router.get("/processes", response_model=dict[str, Any])
def processes(service: Service) -> SafeJSONResponse:
    """List the processes of the panel and its runs."""
    return SafeJSONResponse({"processes": service.system.processes()})

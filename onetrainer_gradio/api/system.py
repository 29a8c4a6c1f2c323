"""The machine: versions, devices, resource usage and processes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.shapes import ERRORS
from onetrainer_gradio.api.wire import WireResponse

router = APIRouter(prefix="/api/system", tags=["system"], responses={401: ERRORS[401]})


@router.get("/info", response_model=dict[str, Any])
def info(service: Service) -> WireResponse:
    """Return versions, hardware and devices."""
    return WireResponse(service.system.info())


@router.get("/resources", response_model=dict[str, Any])
def resources(service: Service) -> WireResponse:
    """Return the usage of CPU, RAM, disk, GPU and VRAM, with the last 10 minutes."""
    return WireResponse(service.system.resources())


@router.get("/processes", response_model=dict[str, Any])
def processes(service: Service) -> WireResponse:
    """List the processes of the panel and its runs."""
    return WireResponse({"processes": service.system.processes()})

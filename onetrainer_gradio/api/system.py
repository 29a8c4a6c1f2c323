"""The machine: versions and devices, use of its parts, and the processes of the panel."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from onetrainer_gradio.api.seam import Service
from onetrainer_gradio.api.shapes import ERRORS
from onetrainer_gradio.api.wire import WireResponse

router = APIRouter(prefix="/api/system", tags=["system"], responses={401: ERRORS[401]})


@router.get("/info", response_model=dict[str, Any])
def info(service: Service) -> WireResponse:
    """Versions, hardware and devices."""
    return WireResponse(service.system.info())


@router.get("/resources", response_model=dict[str, Any])
def resources(service: Service) -> WireResponse:
    """Use of processor, memory, disk and graphics cards, now and in the last minutes."""
    return WireResponse(service.system.resources())


@router.get("/processes", response_model=dict[str, Any])
def processes(service: Service) -> WireResponse:
    """The panel's processes and those of the runs."""
    return WireResponse({"processes": service.system.processes()})

"""The machine: versions, devices, resource usage and processes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.schemas import ERRORS
from onetrainer_gradio.api.serialization import SafeJSONResponse
from onetrainer_gradio.service.host.certificates import Certificate

router = APIRouter(prefix="/api/system", tags=["system"], responses={401: ERRORS[401]})


@router.get("/info", response_model=dict[str, Any])
def info(service: Service, request: Request) -> SafeJSONResponse:
    """Return versions, hardware and devices. `https` is the certificate, or null if the panel itself is served over HTTP."""
    certificate: Certificate | None = request.app.state.certificate
    return SafeJSONResponse({**service.system.info(), "https": certificate.described() if certificate else None})


@router.get("/resources", response_model=dict[str, Any])
def resources(service: Service) -> SafeJSONResponse:
    """Return the usage of CPU, RAM, disk, GPU and VRAM, with the last 10 minutes."""
    return SafeJSONResponse(service.system.resources())


@router.get("/processes", response_model=dict[str, Any])
def processes(service: Service) -> SafeJSONResponse:
    """List the processes of the panel and its runs."""
    return SafeJSONResponse({"processes": service.system.processes()})

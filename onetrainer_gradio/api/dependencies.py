"""Provide the service to endpoints.

The two functions are coroutines because FastAPI runs any other dependency on a thread.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from onetrainer_gradio.service.host.access import Access
from onetrainer_gradio.service.trainer import TrainerService


async def service_of(connection: HTTPConnection) -> TrainerService:
    """Return the app's service."""
    service: TrainerService = connection.app.state.service
    return service


async def access_of(connection: HTTPConnection) -> Access:
    """Return the app's access rules."""
    access: Access = connection.app.state.access
    return access


Service = Annotated[TrainerService, Depends(service_of)]
AccessRules = Annotated[Access, Depends(access_of)]

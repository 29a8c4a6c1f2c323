"""Report whether the panel is alive and ready: for containers, load balancers and monitoring."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from onetrainer_gradio.api.dependencies import Service
from onetrainer_gradio.api.serialization import SafeJSONResponse
from onetrainer_gradio.api.threads import control
from onetrainer_gradio.service.people.roles import Role, acting

router = APIRouter(tags=["system"])


class Health(BaseModel):
    """Whether the panel is ready. `reasons` is only in responses to clients that are logged in."""

    ok: bool = Field(description="Whether the panel can start runs and serve the page.")
    reasons: list[str] | None = Field(None, description="Why it isn't ready.")


@router.get("/health/live", response_model=Health, response_model_exclude_none=True)
async def live() -> dict[str, bool]:
    """Report that the process responds. A container is restarted if it doesn't."""
    return {"ok": True}


@router.get("/health", response_model=Health, responses={503: {"model": Health, "description": "Not ready."}})
@control
def ready(request: Request, service: Service) -> Response:
    """Report whether the panel is ready: status 200 or 503."""
    reasons = [*service.not_ready(), *(reason for why in request.app.state.not_ready if (reason := why()))]
    body: dict[str, object] = {"ok": not reasons}
    if acting().role >= Role.VIEWER:
        body["reasons"] = reasons
    return SafeJSONResponse(body, status_code=503 if reasons else 200, headers={"Cache-Control": "no-store"})

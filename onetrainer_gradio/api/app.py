"""The API as one FastAPI app: every path, the error funnel, and the guard before everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import Request
from starlette.routing import Match

from onetrainer_gradio import __version__
from onetrainer_gradio.api import (
    concepts,
    config,
    consequences,
    documentation,
    files,
    libraries,
    live,
    onetrainer,
    replies,
    runs,
    samples,
    secrets,
    session,
    system,
    training,
)
from onetrainer_gradio.api.bodies import Bodies
from onetrainer_gradio.api.failures import Failures
from onetrainer_gradio.api.guard import Guard
from onetrainer_gradio.api.hub import Hub
from onetrainer_gradio.api.policy import Policy
from onetrainer_gradio.api.prefix import Prefix
from onetrainer_gradio.api.wire import WireResponse
from onetrainer_gradio.service.host.access import Access
from onetrainer_gradio.service.trainer import TrainerService

ROUTERS: tuple[APIRouter, ...] = (
    training.router,
    libraries.router,  # before config: "delete any name" stands there
    config.router,
    files.router,
    consequences.router,
    concepts.router,
    samples.router,
    runs.router,
    system.router,
    onetrainer.router,
    secrets.router,
    live.router,
    session.router,
    documentation.router,
)

ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

DESCRIPTION = """Everything that the page can do, for programs.

Errors have one shape everywhere: `{"ok": false, "error": "...", "errors": [{"path", "message", ...}], "status": 409}`.
Live messages come over the WebSocket at `/ws` or by polling `/api/events`.
A panel with a password or token wants the header `Authorization: Bearer <token>`."""


def create_api(service: TrainerService, access: Access) -> FastAPI:
    """The API over a service; it opens the service when the server starts and closes it when it ends.

    Pages that are mounted on it afterwards stand behind the same guard.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened: TrainerService = app.state.service
        await run_in_threadpool(opened.open)
        try:
            yield
        finally:
            await run_in_threadpool(opened.close)

    app = FastAPI(
        title="OneTrainer panel",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        default_response_class=WireResponse,
    )
    put_service(app, service)
    app.state.access = access
    app.state.head = ""
    for router in ROUTERS:
        app.include_router(router)
    app.add_api_route("/api/{path:path}", unknown_path, methods=ALL_METHODS, include_in_schema=False)
    replies.install(app)
    # What is added last runs first: the guard stands before the compression and the prefix.
    app.add_middleware(Bodies)
    app.add_middleware(Prefix)
    app.add_middleware(Policy)
    app.add_middleware(
        GZipMiddleware,
        minimum_size=1000,
        compresslevel=5,
        exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream"),
    )
    app.add_middleware(Guard, access=access)
    app.add_middleware(Failures)
    return app


def put_service(app: FastAPI, service: TrainerService) -> None:
    """Let a (not yet started) app serve this service."""
    app.state.service = service
    app.state.hub = Hub(service.feed)


def unknown_path(request: Request, path: str) -> dict[str, Any]:
    """Answer what no other route does, so that it does not fall through to the page.

    :raises HTTPException: always: 405 for a known path with another method, else 404.
    """
    for route in request.app.routes:
        match, _ = route.matches(request.scope)
        if match is Match.PARTIAL:
            raise HTTPException(405, f"{request.method} is not possible on /api/{path}.")
    raise HTTPException(404, f"There is no path /api/{path}. All of them stand at /docs.")

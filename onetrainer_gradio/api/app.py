"""Build the API as one FastAPI app: all routes, error handlers and the access guard."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import Request
from starlette.routing import Match

from onetrainer_gradio import __version__
from onetrainer_gradio.api import (
    account,
    auto_resume,
    concepts,
    config,
    consequences,
    data_copy,
    dataset_files,
    dataset_jobs,
    dataset_uploads,
    datasets,
    documentation,
    files,
    generations,
    health,
    hub_models,
    libraries,
    live,
    metrics,
    new_lora,
    notifications,
    onetrainer,
    people,
    publishing,
    queue,
    replies,
    results,
    run_comparison,
    run_history,
    runs,
    samples,
    secrets,
    session,
    shared,
    sign_in,
    system,
    training,
)
from onetrainer_gradio.api.bodies import Bodies
from onetrainer_gradio.api.failures import Failures
from onetrainer_gradio.api.guard import Guard
from onetrainer_gradio.api.hub import Hub
from onetrainer_gradio.api.lingering_close import LingeringClose
from onetrainer_gradio.api.policy import Policy
from onetrainer_gradio.api.prefix import Prefix
from onetrainer_gradio.api.rate_limits import RateLimits
from onetrainer_gradio.api.requests import RequestMetrics, Requests, RouteNames
from onetrainer_gradio.api.route_table import RouteTable
from onetrainer_gradio.api.serialization import SafeJSONResponse
from onetrainer_gradio.api.strict_transport import StrictTransport
from onetrainer_gradio.api.waiting import StopSignal
from onetrainer_gradio.service.host.access import Access
from onetrainer_gradio.service.host.rate_limits import RateLimiter
from onetrainer_gradio.service.people.identity_provider import IdentityProvider
from onetrainer_gradio.service.people.provider_settings import ProviderSettings
from onetrainer_gradio.service.trainer import TrainerService

ROUTERS: tuple[APIRouter, ...] = (
    training.router,
    queue.router,
    libraries.router,  # before config, whose DELETE route matches any name
    config.router,
    files.router,
    consequences.router,
    concepts.router,
    dataset_uploads.router,
    dataset_files.router,
    dataset_jobs.router,
    datasets.router,
    generations.router,
    hub_models.router,
    results.router,
    new_lora.router,
    samples.router,
    run_comparison.router,  # these three before runs, whose paths begin with an ID
    run_history.router,
    publishing.router,
    runs.router,
    system.router,
    health.router,
    data_copy.router,
    metrics.router,
    onetrainer.router,
    secrets.router,
    notifications.router,
    auto_resume.router,
    live.router,
    session.router,
    sign_in.router,
    account.router,
    people.router,
    shared.router,
    documentation.router,
)

ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

DESCRIPTION = """Everything the page can do, for programs.

All errors have the same form: `{"ok": false, "error": "...", "errors": [{"path", "message", ...}], "status": 409}`.
Live messages arrive over the WebSocket at `/ws` or by polling `/api/events`.
If the panel has a password or token, send the header `Authorization: Bearer <token>`."""


def create_api(
    service: TrainerService,
    access: Access,
    rate_limiter: RateLimiter | None = None,
    provider: ProviderSettings | None = None,
) -> FastAPI:
    """Return the API for a service; the app opens the service at startup and closes it at shutdown.

    Pages mounted on it later are protected by the same guard. ``provider`` is where people sign in, in addition to passwords.
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
        default_response_class=SafeJSONResponse,
    )
    put_service(app, service)
    app.state.access = access
    app.state.identity_provider = IdentityProvider(provider) if provider and access.settings.accounts else None
    app.state.stopping = StopSignal()
    app.state.not_ready = []
    app.state.certificate = None
    app.state.rate_limiter = rate_limiter or RateLimiter()
    for router in ROUTERS:
        set_summaries(router)
        app.include_router(router)
    app.add_api_route("/api/{path:path}", unknown_path, methods=ALL_METHODS, include_in_schema=False)
    replies.install(app)
    # Middleware added last runs first: the guard runs before compression and the prefix.
    app.add_middleware(RouteNames)
    app.add_middleware(Bodies)
    app.add_middleware(Prefix)
    app.add_middleware(Policy)
    app.add_middleware(
        GZipMiddleware,
        minimum_size=1000,
        compresslevel=5,
        exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream"),
    )
    app.add_middleware(RateLimits, limiter=app.state.rate_limiter)
    app.add_middleware(Guard, access=access, table=RouteTable(app.routes))
    app.add_middleware(StrictTransport)
    app.add_middleware(Failures)
    app.add_middleware(Requests, metrics=RequestMetrics(metrics.install(app)))
    app.add_middleware(LingeringClose)
    return app


def put_service(app: FastAPI, service: TrainerService) -> None:
    """Set the service of an app that has not started yet."""
    app.state.service = service
    app.state.hub = Hub(service.feed)


def set_summaries(router: APIRouter) -> None:
    """Use the first sentence of each endpoint's docstring as its summary in the documentation."""
    for route in router.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            route.summary = re.split(r"\.\s", f"{route.description} ", maxsplit=1)[0]


def unknown_path(request: Request, path: str) -> dict[str, Any]:
    """Answer API paths that no route matches, so that they don't reach the page.

    :raises HTTPException: always: 405 for an existing path with another method, else 404.
    """
    for route in request.app.routes:
        match, _ = route.matches(request.scope)
        if match is Match.PARTIAL:
            raise HTTPException(405, f"/api/{path} doesn't support {request.method}.")
    raise HTTPException(404, f"/api/{path} doesn't exist. See /docs for all paths.")

"""Give each request an ID, count and time it, and log it."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onetrainer_gradio.api.cookies import client_of
from onetrainer_gradio.service.host.logs import REQUEST_ID

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
# A proxy may send the ID that it logs. Anything else could forge lines of the log.
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_KEY = "onetrainer_gradio.request"
NO_ROUTE = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS_S = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0)


@dataclass
class _Request:
    """What is learned about a request on its way through the middleware."""

    route: str = NO_ROUTE
    status: int = 0


class RequestMetrics:
    """Number and duration of requests, by method, route and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "onetrainer_gradio_http_requests", "HTTP requests.", ("method", "route", "status"), registry=registry
        )
        self.duration = Histogram(
            "onetrainer_gradio_http_request_duration_seconds",
            "Time until the end of the response.",
            ("method", "route"),
            registry=registry,
            buckets=BUCKETS_S,
        )

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. Unknown methods are one label, because a client may invent any number of them."""
        method = method if method in METHODS else NO_ROUTE
        self.requests.labels(method, route, str(status)).inc()
        self.duration.labels(method, route).observe(seconds)


class Requests:
    """Observe all requests, also those that the guard rejects."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ID.fullmatch(given) else uuid4().hex
        token = REQUEST_ID.set(request_id)
        try:
            if scope["type"] == "websocket":
                await self.app(scope, receive, send)
            else:
                await self._http(scope, receive, send, request_id)
        finally:
            REQUEST_ID.reset(token)

    async def _http(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        request = scope[_KEY] = _Request()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                message.setdefault("headers", [])
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        began = time.perf_counter()
        try:
            await self.app(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - began
            self.metrics.add(scope["method"], request.route, request.status, seconds)
            if log.isEnabledFor(logging.INFO):
                log.info(
                    "%s %s: %d",
                    scope["method"],
                    scope["path"],
                    request.status,
                    extra={
                        "method": scope["method"],
                        "path": scope["path"],
                        "route": request.route,
                        "status": request.status,
                        "duration_ms": round(seconds * 1000, 1),
                        "client": client_of(scope),
                    },
                )


class RouteNames:
    """Note which route answers a request. The innermost middleware, because the others copy the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        try:
            await self.app(scope, receive, send)
        finally:
            request, route = scope.get(_KEY), scope.get("route")
            if isinstance(request, _Request) and route is not None:
                request.route = str(getattr(route, "path", NO_ROUTE))

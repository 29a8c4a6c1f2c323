"""Limit how often people and addresses use what costs time, memory or traffic."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from onetrainer_gradio.errors import RateLimitError

# Several people may share an address, such as that of an office or of a share link.
PEOPLE_PER_ADDRESS = 4


@dataclass(frozen=True)
class RateLimit:
    """How many requests per minute a person may send to some routes (keys of the table of permissions).

    The page of one person stays far below: it uploads three files at a time, and checks settings once per edit.
    """

    title: str
    per_minute: int
    routes: tuple[str, ...]


RATE_LIMITS: tuple[RateLimit, ...] = (
    RateLimit(
        "logins",
        30,
        ("POST /login", "POST /api/login", "POST /setup", "POST /api/setup", "GET /login/start", "GET /login/callback"),
    ),
    # each computes a password hash, which takes 64 MB for a moment
    RateLimit(
        "changes of passwords",
        30,
        ("POST /api/account/password", "PUT /api/account/two-factor", "DELETE /api/account/two-factor"),
    ),
    RateLimit("connections", 120, ("WEBSOCKET /ws",)),
    RateLimit(
        "uploads", 6000, ("POST /api/datasets/uploads", "PUT /api/datasets/uploads/{upload_id}", "PUT /api/datasets/masks")
    ),
    RateLimit(
        "checks",
        600,
        (
            "POST /api/config/validate",
            "POST /api/config/diff",
            "POST /api/config/migrate",
            "POST /api/config/import",
            "POST /api/config/layers",
            "POST /api/config/timesteps",
            "POST /api/queue/sweep/preview",
            "POST /api/new_lora/plan",
        ),
    ),
    RateLimit("estimates", 300, ("POST /api/config/memory", "POST /api/new_lora/check")),
    RateLimit(
        "statistics",
        600,
        (
            "POST /api/concepts/statistics",
            "POST /api/concepts/preview",
            "POST /api/datasets/images",
            "POST /api/datasets/tags",
            "POST /api/datasets/buckets",
            "GET /api/runs/series",
            "GET /api/runs/compare",
            "GET /metrics",
        ),
    ),
    RateLimit(
        "image jobs",
        120,
        (
            "POST /api/concepts/convert",
            "POST /api/datasets/inspection",
            "POST /api/datasets/inspection/fix",
            "POST /api/datasets/annotate",
            "POST /api/datasets/captions/change",
            "POST /api/datasets/images/edit",
        ),
    ),
    RateLimit(
        "generation",
        60,
        (
            "POST /api/generations",
            "POST /api/generations/{grid_id}/resume",
            "POST /api/samples/default",
            "POST /api/samples/custom",
            "POST /api/shared/{command}",
        ),
    ),
    RateLimit(
        "starts of runs",
        120,
        (
            "POST /api/training/start",
            "POST /api/runs/{run_id}/start",
            "POST /api/runs/{run_id}/resume",
            "POST /api/queue",
            "POST /api/queue/sweep",
        ),
    ),
    RateLimit("searches of the Hub", 120, ("GET /api/hub/models", "GET /api/hub/models/{owner}/{name}")),
    RateLimit(
        "transfers with the Hub",
        60,
        ("POST /api/hub/downloads", "POST /api/hub/downloads/{download_id}/resume", "POST /api/runs/{run_id}/publish"),
    ),
    RateLimit(
        "downloads of archives",
        30,
        (
            "GET /api/runs/{run_id}/files.zip",
            "GET /api/generations/{grid_id}/images.zip",
            "POST /api/runs/{run_id}/files/{file_id}/convert",
        ),
    ),
    RateLimit("downloads", 600, ("GET /api/runs/{run_id}/files/{file_id}", "GET /api/runs/{run_id}/converted/{converted_id}")),
    RateLimit(
        "actions of the page",
        1200,
        (
            "POST /gradio_api/queue/join",
            "POST /gradio_api/call/{api_name}",
            "POST /gradio_api/call/v2/{api_name}",
            "POST /gradio_api/run/{api_name}",
            "POST /gradio_api/api/{api_name}",
        ),
    ),
)
_BY_ROUTE: Mapping[str, RateLimit] = {route: limit for limit in RATE_LIMITS for route in limit.routes}


class RateLimiter:
    """Count requests in the last minute. Safe from any thread. ``factor`` multiplies all limits; 0 turns them off."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, route: str, *, person: str, address: str) -> None:
        """Count a request to a route. An empty ``person`` is nobody in particular: only the address counts.

        :raises RateLimitError: if one of them has to wait.
        """
        limit = _BY_ROUTE.get(route)
        if limit is None or self.factor <= 0:
            return
        if person:
            self._count(limit, "person", person, limit.per_minute)
        self._count(limit, "address", address, limit.per_minute * (PEOPLE_PER_ADDRESS if person else 1))

    def _count(self, limit: RateLimit, kind: str, name: str, per_minute: int) -> None:
        item = RateLimitItemPerMinute(max(1, math.ceil(per_minute * self.factor)))
        if not self._limiter.hit(item, kind, limit.title, name):
            window = self._limiter.get_window_stats(item, kind, limit.title, name)
            raise RateLimitError(limit.title, item.amount, max(1.0, window.reset_time - time.time()))

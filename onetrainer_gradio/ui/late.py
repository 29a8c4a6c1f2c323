"""Build the page's app in a thread while the rest of the panel already responds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send


class LatePage:
    """An ASGI app whose real app takes seconds to import. Requests wait for it.

    ``on_failure`` is called when the real app can't be built; requests then fail with the same error.
    """

    def __init__(self, build: Callable[[], FastAPI], on_failure: Callable[[], Any] = lambda: None) -> None:
        self.on_failure = on_failure
        self.failure: BaseException | None = None
        self._build = build
        self._app: FastAPI | None = None
        self._lock = threading.Lock()
        self._begun: asyncio.Event | None = None

    def app(self) -> FastAPI:
        """Return the real app; the first call builds it."""
        with self._lock:
            if self._app is None:
                self._app = self._build()
            return self._app

    @property
    def ready(self) -> bool:
        """Whether the real app answers."""
        return self._begun is not None and self._begun.is_set() and self.failure is None

    @property
    def routes(self) -> list[BaseRoute]:
        """All routes of the real app."""
        return self.app().routes

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Build the app and keep its lifespan open while the body of this context runs."""
        self._begun = begun = asyncio.Event()
        ending = asyncio.Event()

        def ended(task: asyncio.Task[None]) -> None:
            self.failure = None if task.cancelled() else task.exception()
            begun.set()
            if self.failure is not None:
                self.on_failure()

        task = asyncio.create_task(self._live(begun, ending))
        task.add_done_callback(ended)
        try:
            yield
        finally:
            ending.set()
            await task

    async def _live(self, begun: asyncio.Event, ending: asyncio.Event) -> None:
        app = await asyncio.to_thread(self.app)
        async with app.router.lifespan_context(app):
            begun.set()
            await ending.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection once the app is built."""
        if self._begun is not None:
            await self._begun.wait()
        if self.failure is not None:
            raise self.failure
        app = await asyncio.to_thread(self.app) if self._app is None else self._app
        await app(scope, receive, send)

"""Endpoints that run on threads with a limit of their own: a stop is answered at once, whatever else is asked.

An endpoint without one of these runs on the server's common threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from onetrainer_gradio.service.host.threads import Threads, in_thread

P = ParamSpec("P")
T = TypeVar("T")


def _on(kind: Threads) -> Callable[[Callable[P, T]], Callable[P, Awaitable[T]]]:
    def mark(endpoint: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        @wraps(endpoint)
        async def run(*args: P.args, **kwargs: P.kwargs) -> T:
            return await in_thread(kind, endpoint, *args, **kwargs)

        return run

    return mark


def control(endpoint: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """For what must be answered at once and returns at once: the state of the run and commands."""
    return _on(Threads.CONTROL)(endpoint)


def snapshot(endpoint: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """For snapshots of the whole state."""
    return _on(Threads.FEED)(endpoint)


def images(endpoint: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """For what decodes an image."""
    return _on(Threads.IMAGES)(endpoint)


def slow(endpoint: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """For what reads many files or waits for something."""
    return _on(Threads.SLOW)(endpoint)

"""Run endpoints on separate thread pools, so that a stop is answered at once under any load.

Endpoints without one of these decorators run on the server's common threads.
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
    """Mark an endpoint that must answer at once: the run's state and commands."""
    return _on(Threads.CONTROL)(endpoint)


def snapshot(endpoint: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Mark an endpoint that reads the whole state."""
    return _on(Threads.FEED)(endpoint)


def images(endpoint: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Mark an endpoint that decodes an image."""
    return _on(Threads.IMAGES)(endpoint)


def slow(endpoint: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Mark an endpoint that reads many files or waits."""
    return _on(Threads.SLOW)(endpoint)


def sign_in(endpoint: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Mark an endpoint that waits for the sign-in provider."""
    return _on(Threads.SIGN_IN)(endpoint)

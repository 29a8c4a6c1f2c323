"""How many threads each kind of call may occupy, so that slow calls never delay a stop.

A web server that runs every call on one pool of threads can be held up by whatever is slow. Here each kind of call has its own
limit. The threads of ``CONTROL`` are a reserve: only calls that return at once use them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from onetrainer_gradio.errors import BusyError

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Enum):
    """A kind of call: what it is called, how many run at the same time, and how many more may wait."""

    CONTROL = ("state and commands", 8, 2000)
    FEED = ("live state", 4, 2000)
    IMAGES = ("images", 4, 500)
    SLOW = ("checks and statistics", 8, 200)
    SIGN_IN = ("sign-ins with the provider", 4, 40)  # they wait for it, and anyone may start one

    @property
    def at_once(self) -> int:
        """How many of these calls run at the same time."""
        return self.value[1]

    @property
    def max_waiting(self) -> int:
        """How many more may wait for a thread."""
        return self.value[2]


# Limits belong to an event loop.
_LIMITERS: RunVar[dict[Threads, CapacityLimiter]] = RunVar("onetrainer_gradio_threads")


async def in_thread(kind: Threads, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``function`` on a thread of this kind and wait for its result without holding up anyone else.

    :raises BusyError: when too many calls of this kind are waiting already.
    """
    limiter = _limiter(kind)
    if limiter.statistics().tasks_waiting >= kind.max_waiting:
        raise BusyError(
            f"Too many requests are waiting ({kind.value[0]})",
            expected=f"at most {kind.max_waiting} at the same time",
            suggestion="Try again later.",
        )
    return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=limiter)


def _limiter(kind: Threads) -> CapacityLimiter:
    limiters = _LIMITERS.get({})
    if kind not in limiters:
        limiters = {**limiters, kind: CapacityLimiter(kind.at_once)}
        _LIMITERS.set(limiters)
    return limiters[kind]

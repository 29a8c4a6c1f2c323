"""Send numbered messages to all viewers, and keep the newest for viewers that reconnect."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Callback = Callable[[Message], None]

RING_MESSAGES = 2000


class Feed:
    """Send messages to subscribers in order. A subscriber must not block; the publishing thread calls it.

    The numbers start at the start time in milliseconds, so that they keep increasing after a restart of the panel and a
    viewer of the earlier panel gets a snapshot.
    """

    def __init__(self, snapshot: Callable[[], dict[str, Any]] = dict, ring: int = RING_MESSAGES) -> None:
        self._snapshot = snapshot
        self._lock = threading.RLock()
        self._seq = int(time.time() * 1000)
        self._ring: deque[Message] = deque(maxlen=ring)
        self._callbacks: dict[int, Callback] = {}
        self._viewers: set[int] = set()
        self._next_callback = 0

    @property
    def seq(self) -> int:
        """Return the number of the newest message."""
        return self._seq

    @property
    def watched(self) -> bool:
        """Return whether there are viewers."""
        return bool(self._viewers)

    def subscribe(self, callback: Callback, *, viewer: bool = True) -> Callable[[], None]:
        """Call ``callback`` with each new message. Return a function that ends this.

        A part of the service that isn't a ``viewer`` doesn't count for ``watched``.
        """
        with self._lock:
            number = self._next_callback
            self._next_callback += 1
            self._callbacks[number] = callback
            if viewer:
                self._viewers.add(number)

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks.pop(number, None)
                self._viewers.discard(number)

        return unsubscribe

    def publish(self, kind: str, **content: Any) -> Message:
        """Send a message to all subscribers."""
        with self._lock:
            self._seq += 1
            message = {"type": kind, "seq": self._seq, **content}
            self._ring.append(message)
            for callback in tuple(self._callbacks.values()):
                callback(message)
            return message

    def snapshot(self) -> Message:
        """Return everything that a new viewer needs; messages with a higher number follow it."""
        # The number is read first: changes during the snapshot are then sent twice rather than never.
        seq = self._seq
        return {"type": "connected", "seq": seq, **self._snapshot()}

    def since(self, seq: int) -> list[Message] | None:
        """Return the messages after number ``seq``, or None if they are no longer complete."""
        with self._lock:
            if seq == self._seq:
                return []
            oldest = self._ring[0]["seq"] if self._ring else self._seq + 1
            if seq < oldest - 1 or seq > self._seq:
                return None
            return [message for message in self._ring if message["seq"] > seq]

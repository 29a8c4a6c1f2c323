"""What happens, for every viewer at once: numbered messages, the newest of them kept for those who come back."""

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
    """Hands messages to subscribers in order. A subscriber must not block; it is called by the thread that publishes.

    The numbers begin at the time of the start in milliseconds, so that they go on growing when the panel is restarted and a
    viewer of the former panel is told to take a snapshot.
    """

    def __init__(self, snapshot: Callable[[], dict[str, Any]] = dict, ring: int = RING_MESSAGES) -> None:
        self._snapshot = snapshot
        self._lock = threading.RLock()
        self._seq = int(time.time() * 1000)
        self._ring: deque[Message] = deque(maxlen=ring)
        self._callbacks: dict[int, Callback] = {}
        self._next_callback = 0

    @property
    def seq(self) -> int:
        """The number of the newest message."""
        return self._seq

    @property
    def watched(self) -> bool:
        """Whether anybody is subscribed."""
        return bool(self._callbacks)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` with each message from now on; the result ends that."""
        with self._lock:
            number = self._next_callback
            self._next_callback += 1
            self._callbacks[number] = callback

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks.pop(number, None)

        return unsubscribe

    def publish(self, kind: str, **content: Any) -> Message:
        """Send a message to everybody."""
        with self._lock:
            self._seq += 1
            message = {"type": kind, "seq": self._seq, **content}
            self._ring.append(message)
            for callback in tuple(self._callbacks.values()):
                callback(message)
            return message

    def snapshot(self) -> Message:
        """Everything a new viewer needs; messages with a higher number come after it."""
        # The number is read first: what happens while the snapshot is made is then told twice rather than never.
        seq = self._seq
        return {"type": "connected", "seq": seq, **self._snapshot()}

    def since(self, seq: int) -> list[Message] | None:
        """The messages after number ``seq``, or None when they are no longer all there."""
        with self._lock:
            if seq == self._seq:
                return []
            oldest = self._ring[0]["seq"] if self._ring else self._seq + 1
            if seq < oldest - 1 or seq > self._seq:
                return None
            return [message for message in self._ring if message["seq"] > seq]

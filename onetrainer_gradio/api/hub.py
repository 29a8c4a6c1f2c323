"""Distribute the service's feed to all WebSocket viewers, with one subscription and one encoding per message.

Each viewer has an outbox of limited size. For a slow viewer, newer messages replace unread ones. If that is not enough, its
outbox is cleared and it gets a new ``connected`` message with the whole state. A slow viewer never blocks others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from onetrainer_gradio.api.serialization import encode
from onetrainer_gradio.service.host.threads import Threads, in_thread

MAX_WAITING = 256
MAX_WAITING_BYTES = 2_000_000

# Only the newest message of these types is sent.
LATEST_WINS = frozenset({"training_state", "system", "config"})

# Sorts after every message of the feed.
MAX_SEQ = 2**63

PONG = b'{"type":"pong"}'


class Feed(Protocol):
    """The part of the service's feed that the hub uses."""

    def subscribe(self, callback: Callable[[dict[str, Any]], None], /) -> Callable[[], None]:
        """Call back with each message, from any thread, until the returned function is called."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Return the ``connected`` message: the whole state and its ``seq``."""
        ...

    def since(self, seq: int, /) -> list[dict[str, Any]] | None:
        """Return the messages after ``seq``, or None if they are no longer available."""
        ...


class Outbox:
    """Messages waiting for one viewer. Use it only on the event loop's thread."""

    def __init__(self, max_waiting: int = MAX_WAITING, max_bytes: int = MAX_WAITING_BYTES) -> None:
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._waiting: dict[object, tuple[int, bytes]] = {}
        self._bytes = 0
        self._something = asyncio.Event()
        self.overflown = False
        self.seen_seq = -1

    def put(self, kind: str, seq: int, text: bytes) -> None:
        """Add a message of the feed, unless the viewer's snapshot already contains it."""
        if seq <= self.seen_seq or self.overflown:
            return
        key: object = kind if kind in LATEST_WINS else seq
        _, replaced = self._waiting.pop(key, (0, b""))
        self._waiting[key] = (seq, text)
        self._bytes += len(text) - len(replaced)
        if len(self._waiting) > self._max_waiting or self._bytes > self._max_bytes:
            self.clear()
            self.overflown = True
        self._something.set()

    def answer(self, text: bytes) -> None:
        """Add an answer for this viewer only. Equal answers are sent once."""
        self._waiting.setdefault(text, (MAX_SEQ, text))
        self._something.set()

    def caught_up(self, seq: int) -> None:
        """Drop messages up to ``seq``, which the viewer already has."""
        self.seen_seq = seq
        self._waiting = {key: (number, text) for key, (number, text) in self._waiting.items() if number > seq}
        self._bytes = sum(len(text) for _, text in self._waiting.values())

    def clear(self) -> None:
        """Drop all waiting messages."""
        self._waiting.clear()
        self._bytes = 0

    async def take(self) -> list[bytes]:
        """Wait for messages and return all of them, oldest first. The list is empty after an overflow."""
        await self._something.wait()
        self._something.clear()
        taken = [text for _, text in self._waiting.values()]
        self.clear()
        return taken


class Hub:
    """Send the feed to the viewers. Everything except the feed's callback runs on the event loop."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._outboxes: set[Outbox] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self._making = asyncio.Lock()
        self._next: asyncio.Future[tuple[int, bytes]] | None = None

    @property
    def viewers(self) -> int:
        """Return the number of connected viewers."""
        return len(self._outboxes)

    async def join(self, since: int | None) -> tuple[Outbox, list[bytes]]:
        """Add a viewer. Return its outbox and the first messages (those after ``since``, or the whole state)."""
        outbox = Outbox()
        # Subscribe before reading the state, so that no message is lost. Duplicates are skipped by number.
        self._outboxes.add(outbox)
        self._listen()
        missed = None if since is None else await in_thread(Threads.FEED, self._feed.since, since)
        if since is None or missed is None:
            return outbox, await self.whole_state(outbox)
        outbox.caught_up(int(missed[-1]["seq"]) if missed else since)
        return outbox, [encode(message) for message in missed]

    async def whole_state(self, outbox: Outbox) -> list[bytes]:
        """Return the ``connected`` message. The outbox continues from there."""
        outbox.overflown = False
        seq, text = await self._snapshot()
        outbox.caught_up(seq)
        return [text]

    async def _snapshot(self) -> tuple[int, bytes]:
        """Return the number and text of a snapshot that is taken after this call. Concurrent callers share it."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._make())
        return await asyncio.shield(self._next)

    async def _make(self) -> tuple[int, bytes]:
        async with self._making:
            self._next = None  # later callers need a newer one
            return await in_thread(Threads.FEED, self._encoded)

    def _encoded(self) -> tuple[int, bytes]:
        snapshot = self._feed.snapshot()
        return int(snapshot["seq"]), encode({**snapshot, "type": "connected"})

    def leave(self, outbox: Outbox) -> None:
        """Remove a viewer. Safe to repeat."""
        self._outboxes.discard(outbox)
        if not self._outboxes and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _listen(self) -> None:
        if self._unsubscribe is not None:
            return
        loop = asyncio.get_running_loop()

        def on_message(message: dict[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the panel is shutting down
                loop.call_soon_threadsafe(self._spread, message)

        self._unsubscribe = self._feed.subscribe(on_message)

    def _spread(self, message: dict[str, Any]) -> None:
        if not self._outboxes:
            return
        text = encode(message)
        for outbox in self._outboxes:
            outbox.put(str(message["type"]), int(message["seq"]), text)

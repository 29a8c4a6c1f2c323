"""Send notifications in one thread, each by a process that ends in time, again after growing waits if a service fails."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onetrainer_gradio.errors import BusyError
from onetrainer_gradio.service.host.module_process import end_answering, start_answering
from onetrainer_gradio.service.notifications.history import (
    EXPIRED,
    EXPIRES_S,
    INTERRUPTED,
    Delivery,
    Entry,
    NotificationHistory,
)
from onetrainer_gradio.service.notifications.notification import KINDS, Notification
from onetrainer_gradio.service.notifications.preferences import PreferenceStore

WAITS_S = (30.0, 120.0, 600.0, 1800.0, 7200.0)
"""Seconds between the attempts of a delivery."""
LIMIT_S = 40.0
NO_ADDRESS = "The address of this channel was removed."
TOO_LONG = "The service didn't answer in time."
ENDED = "The process that sends notifications ended."
MAX_ATTACHED_BYTES = 8_000_000
_ATTACHED = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
_CLOSES_WITHIN_S = 3.0


@dataclass(frozen=True)
class Outcome:
    """Whether something was sent or recognized, by which service, and if not, why."""

    ok: bool
    service: str = ""
    reason: str = ""


Send = Callable[[dict[str, Any]], Outcome]


class SenderProcess:
    """Start a process for each request, and end it when it takes too long or the panel is closed."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def __call__(self, request: dict[str, Any]) -> Outcome:
        """Return the outcome of a request; see ``sender.py``."""
        try:
            process = start_answering("onetrainer_gradio.service.notifications.sender", "send notifications", {})
        except BusyError as error:
            return Outcome(ok=False, reason=error.message)
        with self._lock:
            self._running.add(process)
        try:
            answer, _ = process.communicate(json.dumps(request).encode() + b"\n", timeout=0.0 if self._closed else self._limit_s)
        except subprocess.TimeoutExpired:
            return Outcome(ok=False, reason=TOO_LONG)
        except OSError:
            return Outcome(ok=False, reason=ENDED)
        finally:
            with self._lock:
                self._running.discard(process)
            end_answering(process)
        return _outcome(answer)

    def close(self) -> None:
        """End all processes."""
        self._closed = True
        with self._lock:
            for process in self._running:
                process.kill()


def _outcome(answer: bytes) -> Outcome:
    try:
        body = json.loads(answer)
        return Outcome(ok=bool(body["ok"]), service=str(body["service"]), reason=str(body["reason"]))
    except (ValueError, KeyError, TypeError):
        return Outcome(ok=False, reason=ENDED)


class Deliverer:
    """The thread that sends what waits in the history. It never raises into a run, and a slow service delays only other sends."""

    def __init__(
        self,
        history: NotificationHistory,
        preferences: PreferenceStore,
        *,
        public_only: bool,
        send: Send | None = None,
        changed: Callable[[Entry], None] = lambda entry: None,
        waits_s: Sequence[float] = WAITS_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._history = history
        self._preferences = preferences
        self._public_only = public_only
        self._process = SenderProcess()
        self._send = send or self._process
        self._changed = changed
        self._waits_s = tuple(waits_s)
        self._clock = clock
        self._wake = threading.Condition()
        self._starts = False
        self._woken = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send. While nothing waits, no thread works."""
        self._starts = True
        if self._history.waiting():
            self.wake()

    def wake(self) -> None:
        """Look for something to send at once."""
        with self._wake:
            self._woken = True
            if self._thread is None and self._starts and not self._closing:
                self._thread = threading.Thread(target=self._loop, name="notifications-send", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def close(self) -> None:
        """End the thread, after what is being sent now if that takes no longer than a moment. Closing twice is harmless."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=_CLOSES_WITHIN_S)
            self._process.close()
            thread.join(timeout=_CLOSES_WITHIN_S)
        self._process.close()

    def check(self, address: str) -> Outcome:
        """Return whether Apprise supports an address."""
        return self._send({"check": True, "address": address})

    def send_now(self, channel_id: str, notification: Notification, *, sample: bool) -> Outcome:
        """Send a notification through a channel and wait for the outcome."""
        address = self._preferences.address(channel_id)
        if not address:
            return Outcome(ok=False, reason=NO_ADDRESS)
        return self._send(
            {
                "address": address,
                "title": notification.title,
                "body": notification.text or notification.title,
                "level": KINDS[notification.kind].level,
                "attachment": attachable(notification.sample_file) if sample else "",
                "public_only": self._public_only,
            }
        )

    def _loop(self) -> None:
        while True:
            due = None if self._closing else self._due()
            if due is not None:
                self._deliver(*due)
                continue
            pause_s = self._pause_s()
            with self._wake:
                if pause_s is not None and not self._woken and not self._closing:
                    self._wake.wait(pause_s)
                if self._closing or (pause_s is None and not self._woken):
                    self._thread = None
                    return
                self._woken = False

    def _due(self) -> tuple[Entry, str, Delivery] | None:
        now = self._clock()
        return next((each for each in self._history.waiting() if self._left_s(each[2], now) <= 0), None)

    def _left_s(self, delivery: Delivery, now: float) -> float:
        """Return the seconds until the next attempt, at most the wait that began: the clock may have been set back."""
        longest = self._waits_s[min(delivery.attempts, len(self._waits_s)) - 1] if delivery.attempts else 0.0
        return min(delivery.due_at - now, longest) if delivery.due_at - now <= longest else 0.0

    def _pause_s(self) -> float | None:
        now = self._clock()
        lefts = [self._left_s(delivery, now) for _, _, delivery in self._history.waiting()]
        return max(0.01, min(lefts)) if lefts else None

    def _deliver(self, entry: Entry, channel_id: str, delivery: Delivery) -> None:
        channel = next((each for each in self._preferences.preferences().channels if each.id == channel_id), None)
        attempts = delivery.attempts + 1
        if channel is None or not channel.on:
            self._record(entry, channel_id, replace(delivery, state="failed", error="The channel was removed or turned off."))
            return
        if self._clock() - entry.notification.at > EXPIRES_S:
            self._record(entry, channel_id, replace(delivery, state="failed", error=delivery.error or EXPIRED))
            return
        # recorded first: a notification in this state when the panel is killed isn't sent again
        self._history.update(entry.number, channel_id, replace(delivery, state="sending", attempts=attempts))
        outcome = self.send_now(channel_id, entry.notification, sample=channel.sample)
        if outcome.ok:
            after = Delivery(state="sent", attempts=attempts)
        elif self._closing and outcome.reason in (ENDED, TOO_LONG):
            after = Delivery(state="failed", attempts=attempts, error=INTERRUPTED)
        elif attempts > len(self._waits_s) or outcome.reason == NO_ADDRESS:
            after = Delivery(state="failed", attempts=attempts, error=outcome.reason)
        else:
            due_at = self._clock() + self._waits_s[attempts - 1]
            after = Delivery(state="waiting", attempts=attempts, due_at=due_at, error=outcome.reason)
        self._record(entry, channel_id, after)

    def _record(self, entry: Entry, channel_id: str, delivery: Delivery) -> None:
        updated = self._history.update(entry.number, channel_id, delivery)
        if updated is not None:
            self._changed(updated)


def attachable(path: str) -> str:
    """Return the path of a sample if it can be attached: an image of a size that services accept; else ""."""
    file = Path(path)
    try:
        suits = path and file.suffix.lower() in _ATTACHED and file.is_file() and file.stat().st_size <= MAX_ATTACHED_BYTES
    except OSError:
        return ""
    return path if suits else ""

"""Keep the newest notifications and how each channel took them, so that a restarted panel sends nothing twice."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from onetrainer_gradio.service.host.atomic import read_json, write_json
from onetrainer_gradio.service.notifications.notification import KINDS, Notification

_LOG = logging.getLogger(__name__)
MAX_KEPT = 200
MAX_KEYS = 2000
# A notification that no channel accepted for this long is outdated.
EXPIRES_S = 86400.0
INTERRUPTED = "The panel ended while this was being sent, so it may or may not have arrived."
EXPIRED = "It was too old to be sent."

DeliveryState = Literal["waiting", "sending", "sent", "failed"]


@dataclass(frozen=True)
class Delivery:
    """How a channel took a notification: ``attempts`` so far, the next one at ``due_at``, and why the last one failed."""

    state: DeliveryState = "waiting"
    attempts: int = 0
    due_at: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Entry:
    """A notification with its number and its deliveries by channel."""

    number: int
    notification: Notification
    deliveries: dict[str, Delivery] = field(default_factory=dict)


class NotificationHistory:
    """The newest notifications, the keys of those before, and since which run the ends of runs are reported.

    Safe from any thread. A disk that can't be written costs the memory of it, never an error.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._keys: dict[str, None] = {}
        self._number = 0
        self.after_run: str | None = None
        """Runs with IDs up to this one are never reported; None until ``begin`` was called on a new data folder."""
        self._load()

    def begin(self, newest_ended_run: str, keys: Iterable[str]) -> None:
        """Note which runs had ended before anything was recorded: they aren't news."""
        with self._lock:
            self.after_run = newest_ended_run
            self._keys |= dict.fromkeys(keys)
            self._save()

    def known(self, key: str) -> bool:
        """Return whether there is, or was, a notification with this key."""
        with self._lock:
            return key in self._keys

    def note(self, key: str) -> None:
        """Mark a key as done without a notification."""
        with self._lock:
            if key not in self._keys:
                self._keep_key(key)
                self._save()

    def forget(self, key: str) -> None:
        """Allow a notification with this key again, such as when a disk has space again."""
        with self._lock:
            if key in self._keys:
                del self._keys[key]
                self._save()

    def add(self, notification: Notification, channels: Sequence[str]) -> Entry | None:
        """Add a notification to be sent through ``channels``. Return None if there is one with its key."""
        with self._lock:
            if notification.key in self._keys:
                return None
            self._number += 1
            entry = Entry(self._number, notification, dict.fromkeys(channels, Delivery()))
            self._entries.append(entry)
            del self._entries[:-MAX_KEPT]
            self._keep_key(notification.key)
            self._save()
            return entry

    def update(self, number: int, channel: str, delivery: Delivery) -> Entry | None:
        """Record a delivery. Return the entry, or None if it isn't kept any more."""
        with self._lock:
            for at, entry in enumerate(self._entries):
                if entry.number == number:
                    self._entries[at] = replace(entry, deliveries={**entry.deliveries, channel: delivery})
                    self._save()
                    return self._entries[at]
            return None

    def waiting(self) -> list[tuple[Entry, str, Delivery]]:
        """Return what isn't sent yet, oldest first."""
        with self._lock:
            return [
                (entry, channel, delivery)
                for entry in self._entries
                for channel, delivery in entry.deliveries.items()
                if delivery.state == "waiting"
            ]

    def page(self, limit: int, before: int | None = None) -> tuple[list[Entry], int | None]:
        """Return the newest entries, or those before a number, and the number for the next page, or None."""
        with self._lock:
            found = [entry for entry in reversed(self._entries) if before is None or entry.number < before]
        shown = found[: max(1, limit)]
        return shown, shown[-1].number if len(shown) < len(found) else None

    def newest(self) -> Entry | None:
        """Return the newest entry."""
        with self._lock:
            return self._entries[-1] if self._entries else None

    def clear(self) -> None:
        """Remove all entries; their keys stay, so that nothing is reported again."""
        with self._lock:
            self._entries.clear()
            self._save()

    def _keep_key(self, key: str) -> None:
        self._keys[key] = None
        while len(self._keys) > MAX_KEYS:
            oldest = next(iter(self._keys))
            del self._keys[oldest]
            run_id, _, what = oldest.partition(":")
            if what == "end":  # the run's key is gone, so the run must count as old
                self.after_run = max(self.after_run or "", run_id)

    def _save(self) -> None:
        document = {
            "version": 1,
            "number": self._number,
            "after_run": self.after_run,
            "keys": list(self._keys),
            "entries": [asdict(entry) for entry in self._entries],
        }
        try:
            write_json(self._path, document, mode=0o600)
        except OSError as error:
            _LOG.warning("Can't record notifications: %s", error)

    def _load(self) -> None:
        document = read_json(self._path)
        if not isinstance(document, dict):
            return
        after, number, keys, entries = (document.get(name) for name in ("after_run", "number", "keys", "entries"))
        if not isinstance(after, str) or type(number) is not int or not isinstance(keys, list) or not isinstance(entries, list):
            return
        self.after_run, self._number = after, number
        self._keys = {key: None for key in keys if isinstance(key, str)}
        self._entries = [entry for body in entries if (entry := _entry(body)) is not None]


def _entry(body: Any) -> Entry | None:
    """Return an entry of the file; what was being sent when the panel ended isn't sent again."""
    try:
        known = {item.name for item in fields(Notification)}
        notification = Notification(**{name: value for name, value in body["notification"].items() if name in known})
        deliveries = {str(channel): Delivery(**values) for channel, values in body["deliveries"].items()}
        number = int(body["number"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if notification.kind not in KINDS:
        return None
    for channel, delivery in deliveries.items():
        if delivery.state == "sending":
            deliveries[channel] = replace(delivery, state="failed", error=INTERRUPTED)
    return Entry(number, notification, deliveries)

"""Make the notification of a queue that waits for its owner."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from onetrainer_gradio.service.notifications.notification import Notification


def queue_notification(
    reason: str, item: Mapping[str, Any] | None, summary: Mapping[str, Any], waits: Mapping[str, Mapping[str, Any]]
) -> Notification | None:
    """Return the notification of a change of the queue, if it now waits for its owner because of it.

    ``item`` is the queued run that changed, ``waits`` why each one doesn't start.
    """
    if reason == "held" and item is not None and item["held"] and item["hold_reason"]:
        title = f"The queued run “{item['name'] or item['id']}” is held"
        return _waiting(f"queue:held:{item['id']}:{item['revision']}", title, item["hold_reason"])
    if reason == "paused" and summary["pause_reason"]:
        key = f"queue:paused:{summary['revision']}"
        return _waiting(key, "The queue is paused", f"{summary['pause_reason']} Resume the queue to start the next run.")
    late = next((wait for wait in waits.values() if wait["code"] == "memory_not_freed"), None)
    if reason == "waits" and late is not None:
        return _waiting(f"queue:memory:{summary['revision']}", "The queue waits for GPU memory", late["text"])
    return None


def _waiting(key: str, title: str, text: str) -> Notification:
    return Notification(key=key, kind="waiting", at=time.time(), title=title, text=text)

"""Notifications of a waiting queue: a run is held, a failure paused the queue, or GPU memory isn't freed."""

from __future__ import annotations

from typing import Any

from onetrainer_gradio.service.notifications.from_queue import queue_notification

ITEM = {"id": "q-1", "name": "cat", "held": True, "hold_reason": "The second pre-flight check failed.", "revision": 3}
SUMMARY: dict[str, Any] = {"pause_reason": "", "revision": 7}


def test_what_the_panel_held_or_paused_waits_for_someone() -> None:
    held = queue_notification("held", ITEM, SUMMARY, {})
    assert held is not None
    assert (held.kind, held.title, held.text) == ("waiting", "The queued run “cat” is held", ITEM["hold_reason"])
    paused = queue_notification("paused", None, {**SUMMARY, "pause_reason": "“cat” failed."}, {})
    assert paused is not None
    assert paused.text == "“cat” failed. Resume the queue to start the next run."
    late = queue_notification("waits", None, SUMMARY, {"q-1": {"code": "memory_not_freed", "text": "The memory isn't free."}})
    assert late is not None
    assert len({held.key, paused.key, late.key}) == 3


def test_what_its_owner_did_is_no_news() -> None:
    assert queue_notification("held", {**ITEM, "hold_reason": ""}, SUMMARY, {}) is None
    assert queue_notification("paused", None, SUMMARY, {}) is None
    assert queue_notification("waits", None, SUMMARY, {"q-1": {"code": "device", "text": "x"}}) is None
    assert queue_notification("added", ITEM, SUMMARY, {}) is None

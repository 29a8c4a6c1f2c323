"""One feed serves all viewers."""

from __future__ import annotations

import threading
import time
from typing import Any

from onetrainer_gradio.service.runs.feed import Feed


def test_every_subscriber_gets_every_message_in_order() -> None:
    """Numbers grow by one; an unsubscribed viewer gets nothing more."""
    feed = Feed()
    heard: list[list[int]] = [[], []]
    leave = feed.subscribe(lambda message: heard[0].append(message["seq"]))
    feed.subscribe(lambda message: heard[1].append(message["seq"]))
    feed.publish("a")
    leave()
    leave()
    feed.publish("b")
    assert heard[1] == [heard[0][0], heard[0][0] + 1]
    assert len(heard[0]) == 1


def test_whoever_comes_back_gets_what_was_missed() -> None:
    """After a short absence a viewer gets the missed messages, after a long one a snapshot."""
    feed = Feed(ring=3)
    numbers = [feed.publish("n", value=value)["seq"] for value in range(5)]
    assert [message["value"] for message in feed.since(numbers[2]) or []] == [3, 4]
    assert [message["value"] for message in feed.since(numbers[1]) or []] == [2, 3, 4]
    assert feed.since(numbers[4]) == []
    assert feed.since(numbers[0]) is None


def test_a_number_of_a_former_or_future_panel_asks_for_a_snapshot() -> None:
    """Numbers keep growing over a restart, so an old position is never mistaken for a new one."""
    old = Feed()
    position = old.publish("n")["seq"]
    time.sleep(0.003)
    new = Feed()
    assert new.seq > position
    assert new.since(position) is None
    new.publish("n")
    assert new.since(position) is None
    assert new.since(new.seq + 1) is None


def test_nothing_falls_between_a_snapshot_and_the_messages_after_it() -> None:
    """Anything that happens while the snapshot is created has a higher number than the snapshot."""
    feed = Feed(lambda: {"state": feed.publish("meanwhile")["seq"]})
    snapshot = feed.snapshot()
    assert snapshot["type"] == "connected"
    assert [message["type"] for message in feed.since(snapshot["seq"]) or []] == ["meanwhile"]


def test_threads_publish_without_mixing_the_order() -> None:
    """Callbacks get the numbers in order, whichever thread publishes."""
    feed = Feed()
    heard: list[dict[str, Any]] = []
    feed.subscribe(heard.append)
    threads = [threading.Thread(target=lambda: [feed.publish("n") for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [message["seq"] for message in heard]
    assert numbers == list(range(numbers[0], numbers[0] + 800))

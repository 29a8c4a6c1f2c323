"""The WebSocket hub."""

from __future__ import annotations

import asyncio
import threading
import time

import orjson
import pytest

from onetrainer_gradio.api.hub import MAX_WAITING, PONG, Hub, Outbox
from onetrainer_gradio.service.runs.feed import Feed

pytestmark = pytest.mark.slow


def messages(texts) -> list[dict]:
    return [orjson.loads(text) for text in texts]


class CountingFeed:
    """The service's feed, with a count of its listeners."""

    def __init__(self) -> None:
        self.feed = Feed(lambda: {"state": {"status": "idle"}})
        self.listeners = 0
        self.snapshot = self.feed.snapshot
        self.since = self.feed.since

    def subscribe(self, callback):
        self.listeners += 1
        leave = self.feed.subscribe(callback)

        def unsubscribe():
            self.listeners -= 1
            leave()

        return unsubscribe


def run(scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 10))


async def settled() -> None:
    """Let the loop process what other threads gave it."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_viewer_gets_the_state_first_and_then_what_happens():
    async def scenario():
        feed = Feed(lambda: {"state": {"status": "idle"}})
        feed.publish("event", text="before")
        hub = Hub(feed)
        outbox, first = await hub.join(None)
        assert [message["type"] for message in messages(first)] == ["connected"]
        feed.publish("event", text="after")
        assert [message["text"] for message in messages(await outbox.take())] == ["after"]

    run(scenario)


def test_a_viewer_that_comes_back_gets_what_it_missed():
    async def scenario():
        feed = Feed(dict)
        seen = feed.publish("event", text="seen")["seq"]
        feed.publish("event", text="missed")
        _, first = await Hub(feed).join(seen)
        assert [message["text"] for message in messages(first)] == ["missed"]
        _, nothing = await Hub(feed).join(feed.seq)
        assert nothing == []

    run(scenario)


@pytest.mark.parametrize("since", [1, 10**18])
def test_a_position_that_is_not_known_gets_the_whole_state(since):
    async def scenario():
        feed = Feed(dict)
        feed.publish("event")
        _, first = await Hub(feed).join(since)
        assert [message["type"] for message in messages(first)] == ["connected"]

    run(scenario)


def test_nothing_is_lost_between_the_state_and_the_first_message():
    """Anything that happens while the state is being read arrives once: in the state or after it."""

    async def scenario():
        feed = Feed(dict)
        hub = Hub(feed)
        stop = threading.Event()

        def publish() -> None:
            while not stop.is_set():
                feed.publish("event")
                time.sleep(0)

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            for _ in range(20):
                outbox, first = await hub.join(None)
                start = messages(first)[0]["seq"]
                numbers: list[int] = []
                while len(numbers) < 20:
                    batch = await outbox.take()
                    if outbox.overflown:
                        break
                    numbers += [message["seq"] for message in messages(batch)]
                else:
                    assert numbers == list(range(start + 1, start + 1 + len(numbers)))
                hub.leave(outbox)
        finally:
            stop.set()
            thread.join()

    run(scenario)


def test_one_subscription_serves_all_and_ends_with_the_last():
    async def scenario():
        feed = CountingFeed()
        hub = Hub(feed)
        outboxes = [(await hub.join(None))[0] for _ in range(10)]
        assert (feed.listeners, hub.viewers) == (1, 10)
        message = feed.feed.publish("event")
        texts = {(await outbox.take())[0] for outbox in outboxes}
        assert messages(texts) == [message]
        for outbox in outboxes:
            hub.leave(outbox)
            hub.leave(outbox)
        assert (feed.listeners, hub.viewers) == (0, 0)

    run(scenario)


def test_of_states_only_the_newest_waits():
    """A slow viewer gets only the newest state, and all events in order."""

    async def scenario():
        feed = Feed(dict)
        outbox, _ = await Hub(feed).join(None)
        for number in range(50):
            feed.publish("training_state", number=number)
            feed.publish("system", number=number)
        feed.publish("event", number=1)
        await settled()
        waiting = messages(await outbox.take())
        assert [(message["type"], message["number"]) for message in waiting] == [
            ("training_state", 49),
            ("system", 49),
            ("event", 1),
        ]
        assert [message["seq"] for message in waiting] == sorted(message["seq"] for message in waiting)

    run(scenario)


def test_a_viewer_too_slow_for_all_gets_the_whole_state_again_and_holds_up_nobody():
    async def scenario():
        feed = Feed(dict)
        hub = Hub(feed)
        slow, _ = await hub.join(None)
        quick, _ = await hub.join(None)
        got = 0
        for _ in range(2 * MAX_WAITING):
            feed.publish("event", text="x" * 100)
            await settled()
            got += len(await quick.take())
        assert got == 2 * MAX_WAITING
        assert await slow.take() == []
        assert slow.overflown
        fresh = messages(await hub.whole_state(slow))
        assert [message["type"] for message in fresh] == ["connected"]
        assert fresh[0]["seq"] == feed.seq
        feed.publish("event", text="after")
        assert [message["text"] for message in messages(await slow.take())] == ["after"]

    run(scenario)


def test_an_outbox_is_limited_in_bytes_too():
    async def scenario():
        outbox = Outbox(max_waiting=1000, max_bytes=1000)
        for number in range(20):
            outbox.put("event", number, b"x" * 100)
        assert outbox.overflown
        assert await outbox.take() == []

    run(scenario)


def test_pongs_do_not_pile_up():
    async def scenario():
        outbox = Outbox()
        for _ in range(100):
            outbox.answer(PONG)
        assert await outbox.take() == [PONG]

    run(scenario)


def test_messages_after_the_end_of_the_loop_are_dropped():
    """The service may still publish while the server shuts down."""
    feed = Feed(dict)

    async def scenario():
        await Hub(feed).join(None)

    run(scenario)
    feed.publish("event")


def test_numbers_that_json_does_not_know_become_null():
    async def scenario():
        feed = Feed(dict)
        outbox, _ = await Hub(feed).join(None)
        feed.publish("metrics", rows=[[1.0, float("nan"), float("inf")]])
        assert messages(await outbox.take())[0]["rows"] == [[1.0, None, None]]

    run(scenario)

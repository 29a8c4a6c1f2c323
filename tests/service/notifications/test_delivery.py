"""Notifications are sent in the background, retried with growing delays, never sent twice, and never delay a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onetrainer_gradio.service.host.secret_store import SecretStore
from onetrainer_gradio.service.notifications.delivery import ENDED, NO_ADDRESS, Deliverer, Outcome
from onetrainer_gradio.service.notifications.history import EXPIRES_S, INTERRUPTED, Delivery, NotificationHistory
from onetrainer_gradio.service.notifications.notification import Notification
from onetrainer_gradio.service.notifications.preferences import PreferenceStore

WAITS_S = (0.02, 0.04)


class Service:
    """The service behind one channel, with predefined responses."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.clock = folder, clock
        self.secrets = SecretStore(folder / "secrets.json")
        self.preferences = PreferenceStore(folder / "preferences.json", self.secrets, {})
        self.history = NotificationHistory(folder / "notifications.json")
        self.history.begin("", [])
        self.sent: list[dict[str, Any]] = []
        self.answers: list[Outcome] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.deliverers: list[Deliverer] = []
        self.open()

    def open(self) -> None:
        self.deliverer = Deliverer(
            self.history, self.preferences, public_only=False, send=self.send, waits_s=WAITS_S, clock=self.clock
        )
        self.deliverers.append(self.deliverer)

    def send(self, request: dict[str, Any]) -> Outcome:
        self.sent.append(request)
        self.go_on.wait(10)
        return self.answers.pop(0) if self.answers else Outcome(ok=True)

    def add(self, channel: str, key: str = "a", at: float | None = None) -> None:
        note = Notification(key=key, kind="failed", at=self.clock() if at is None else at, title=f"Run {key}", text="why")
        self.history.add(note, [channel])
        self.deliverer.wake()

    def delivery(self, number: int = 0) -> Delivery:
        [delivery] = self.history.page(10)[0][number].deliveries.values()
        return delivery

    def until(self, state: str) -> Delivery:
        give_up_at = time.monotonic() + 10
        while self.delivery().state != state:
            assert time.monotonic() < give_up_at, self.delivery()
            time.sleep(0.005)
        return self.delivery()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    yield made
    made.go_on.set()
    for deliverer in made.deliverers:
        deliverer.close()


def test_a_notification_is_sent_with_its_level_and_address(service: Service) -> None:
    channel = service.preferences.add("json://host/key", "JSON", {})
    service.deliverer.start()
    service.add(channel.id)
    assert service.until("sent") == Delivery(state="sent", attempts=1)
    assert service.sent == [
        {
            "address": "json://host/key",
            "title": "Run a",
            "body": "why",
            "level": "failure",
            "attachment": "",
            "public_only": False,
        }
    ]


def test_a_failure_is_tried_again_after_growing_waits_and_then_given_up(service: Service) -> None:
    channel = service.preferences.add("json://host/key", "JSON", {})
    service.answers = [Outcome(ok=False, reason="no"), Outcome(ok=False, reason="no"), Outcome(ok=False, reason="never")]
    service.deliverer.start()
    service.add(channel.id)
    assert service.until("failed") == Delivery(state="failed", attempts=3, due_at=0.0, error="never")
    assert len(service.sent) == 3


def test_a_service_that_recovers_gets_it_once(service: Service) -> None:
    channel = service.preferences.add("json://host/key", "JSON", {})
    service.answers = [Outcome(ok=False, reason="busy")]
    service.deliverer.start()
    service.add(channel.id)
    assert service.until("sent").attempts == 2
    assert len(service.sent) == 2


@pytest.mark.slow
def test_adding_never_waits_for_a_slow_service(service: Service) -> None:
    channel = service.preferences.add("json://host/key", "JSON", {})
    service.go_on.clear()
    service.deliverer.start()
    began = time.monotonic()
    for number in range(50):
        service.add(channel.id, str(number))
    assert time.monotonic() - began < 5
    service.go_on.set()


@pytest.mark.slow
def test_a_new_panel_sends_what_waited_and_not_what_was_being_sent(service: Service, tmp_path: Path) -> None:
    channel = service.preferences.add("json://host/key", "JSON", {})
    service.add(channel.id, "before")
    service.go_on.clear()
    service.deliverer.start()
    service.until("sending")
    service.add(channel.id, "after")
    service.history = NotificationHistory(tmp_path / "notifications.json")  # as a panel that was killed here finds it
    assert [service.delivery(1).error, service.delivery(0).state] == [INTERRUPTED, "waiting"]
    first, service.sent = service.deliverer, []
    service.open()
    service.go_on.set()
    first.close()
    service.sent.clear()
    service.deliverer.start()
    service.until("sent")
    assert [request["title"] for request in service.sent] == ["Run after"]


@pytest.mark.slow
def test_a_send_that_ends_with_the_panel_is_not_repeated(service: Service) -> None:
    channel = service.preferences.add("json://host/key", "JSON", {})
    service.answers = [Outcome(ok=False, reason=ENDED)]
    service.go_on.clear()
    service.deliverer.start()
    service.add(channel.id)
    service.until("sending")
    closing = threading.Thread(target=service.deliverer.close)
    closing.start()
    time.sleep(0.1)
    service.go_on.set()
    closing.join()
    assert service.delivery() == Delivery(state="failed", attempts=1, error=INTERRUPTED)


def test_what_is_a_day_old_is_not_sent(service: Service) -> None:
    channel = service.preferences.add("json://host/key", "JSON", {})
    service.deliverer.start()
    service.add(channel.id, at=time.time() - EXPIRES_S - 1)
    assert service.until("failed").attempts == 0
    assert service.sent == []


@pytest.mark.slow
def test_a_channel_without_address_turned_off_or_removed_gets_nothing(service: Service) -> None:
    gone = service.preferences.add("json://host/key", "JSON", {})
    off = service.preferences.add("json://host/key", "JSON", {})
    bare = service.preferences.add("json://host/key", "JSON", {})
    service.add(gone.id, "gone")
    service.add(off.id, "off")
    service.add(bare.id, "bare")
    service.preferences.remove(gone.id)
    service.preferences.change_channel(off.id, {"on": False})
    service.secrets.clear()
    service.deliverer.start()
    assert service.until("failed").error == NO_ADDRESS
    assert [service.delivery(number).state for number in range(3)] == ["failed"] * 3
    assert service.sent == []


def test_a_clock_that_was_set_back_delays_nothing_beyond_the_wait(tmp_path: Path) -> None:
    """An attempt scheduled for tomorrow by a wrong clock is due after its delay."""
    now = [1e9]
    service = Service(tmp_path, clock=lambda: now[0])
    try:
        channel = service.preferences.add("json://host/key", "JSON", {})
        service.add(channel.id, at=1e9)
        entry, name, _ = service.history.waiting()[0]
        service.history.update(entry.number, name, Delivery(attempts=1, due_at=1e9 + 86400))
        service.deliverer.start()
        assert service.until("sent").attempts == 2
    finally:
        service.deliverer.close()

"""Notifications over REST, with local services as channels; no response, file or log contains an address."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from tests.fakes.sinks import HttpSink, http_sink

pytest.importorskip("apprise")
pytestmark = pytest.mark.slow

SECRETS = ("hunter2secret", "keyofthehook")


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with http_sink() as made:
        yield made


def until(condition):
    give_up_at = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    return found


def test_a_finished_run_reaches_a_channel_with_its_sample(panel, sink, log_records):
    """A channel is added and gets a message with the newest sample; the outcome is in the list and in the feed."""
    logging.getLogger().setLevel(logging.DEBUG)
    added = panel.client.post("/api/notifications/channels", json={"address": sink.address, "label": "Desk"}).json()["channel"]
    assert (added["service"], added["address"], added["on"]) == ("JSON", "••••••••", True)
    run_id = panel.finished(steps=5, step_s=0, sample_every=5)
    body = until(lambda: sink.received and sink.received[-1])
    assert body["title"] == "Run “try” finished"
    assert [item["filename"] for item in body["attachments"]] == ["0000-5.png"]
    [listed] = until(
        lambda: [
            each
            for each in panel.client.get("/api/notifications").json()["notifications"]
            if each["deliveries"][0]["state"] == "sent"
        ]
    )
    assert (listed["run_id"], listed["deliveries"][0]["label"]) == (run_id, "Desk")
    assert panel.client.get(listed["thumbnail"]).status_code == 200
    snapshot = panel.client.get("/api/events").json()["snapshot"]
    assert snapshot["notification"]["id"] == listed["id"]
    paths = ("/api/notifications", "/api/notifications/settings", "/api/secrets", "/api/events", "/api/config/export")
    seen = "".join(panel.client.get(path).text for path in paths) + log_records.text
    data = panel.service.settings.data_folder
    seen += "".join(path.read_text(errors="replace") for path in data.rglob("*.json*") if path.name != "secrets.json")
    assert [secret for secret in SECRETS if secret in seen] == []


@pytest.mark.exhaustive
def test_a_channel_can_be_tested_changed_and_removed(panel, sink):
    channel = panel.client.post("/api/notifications/channels", json={"address": sink.address}).json()["channel"]
    place = f"/api/notifications/channels/{channel['id']}"
    assert panel.client.post(f"{place}/test").json() == {"ok": True, "sent": True, "reason": ""}
    assert sink.titles == ["Test from the OneTrainer panel"]
    sink.statuses = [500]
    failed = panel.client.post(f"{place}/test").json()
    assert not failed["sent"]
    assert "500" in failed["reason"]
    assert not any(secret in str(failed) for secret in SECRETS)
    changed = panel.client.patch(place, json={"kinds": ["failed"], "label": "Phone", "on": False}).json()["channel"]
    assert (changed["kinds"], changed["label"], changed["on"], changed["service"]) == (["failed"], "Phone", False, "JSON")
    assert panel.client.delete(place).json() == {"ok": True}
    assert panel.client.get("/api/notifications/settings").json()["channels"] == []
    assert panel.client.post(f"{place}/test").status_code == 422


@pytest.mark.exhaustive
def test_a_failing_channel_hurts_no_run_and_is_listed(panel, sink):
    sink.statuses = [500] * 9
    panel.client.post("/api/notifications/channels", json={"address": sink.address})
    panel.finished(steps=3, step_s=0)
    assert panel.client.get("/api/training/status").json()["end_reason"] == "completed"

    def delivery():
        listed = panel.client.get("/api/notifications").json()["notifications"]
        return listed and listed[0]["deliveries"][0]["attempts"] == 1 and listed[0]["deliveries"][0]

    found = until(delivery)
    assert until(lambda: (delivery() or {}).get("state") == "waiting")
    assert "500" in delivery()["error"]
    assert delivery()["due_at"] > time.time()
    assert not any(secret in str(found) for secret in SECRETS)


@pytest.mark.parametrize("address", ["", "carrierpigeon://hunter2secret", "discord://hunter2secret", "x" * 2001])
def test_a_rejected_address_is_not_repeated(panel, address):
    reply = panel.client.post("/api/notifications/channels", json={"address": address})
    assert reply.status_code == 422
    assert "hunter2secret" not in reply.text
    assert "xxx" not in reply.text
    assert reply.json()["errors"][0]["path"] == "address"


def test_preferences_are_changed_one_by_one(panel):
    changed = panel.client.patch("/api/notifications/settings", json={"kinds": ["failed"], "disk_free_gb": 2}).json()
    assert (changed["kinds"], changed["disk_free_gb"], changed["stalled_factor"]) == (["failed"], 2, 10)
    assert panel.client.patch("/api/notifications/settings", json={"kinds": ["nothing"]}).status_code == 422
    panel.finished(steps=2, step_s=0)
    [listed] = until(lambda: panel.client.get("/api/notifications").json()["notifications"])
    assert listed["show"] is False
    assert panel.client.delete("/api/notifications").json() == {"ok": True}
    assert panel.client.get("/api/notifications?limit=5&before=100").json() == {"notifications": [], "next": None}

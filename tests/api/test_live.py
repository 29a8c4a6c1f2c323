"""The live feed over WebSocket and by polling."""

from __future__ import annotations

import time

import pytest

from onetrainer_gradio.errors import ConfigInvalidError

pytestmark = pytest.mark.slow

CONTRACT_STATE = {"is_training", "status", "progress", "max_step", "max_epoch", "error"}


def until(socket, kind: str, **content) -> dict:
    """Return the next message of a kind with the given content."""
    give_up_at = time.monotonic() + 60
    while True:
        assert time.monotonic() < give_up_at, f"no message {kind}"
        message = socket.receive_json()
        if message["type"] == kind and all(message.get(key) == value for key, value in content.items()):
            return message


def test_the_whole_state_comes_first(panel):
    with panel.socket() as socket:
        message = socket.receive_json()
        assert message["type"] == "connected"
        assert message["state"].keys() >= CONTRACT_STATE
        assert message.keys() >= CONTRACT_STATE
        assert isinstance(message["seq"], int)


@pytest.mark.parametrize("text", ["ping", '"ping"', " ping\n"])
def test_a_ping_is_answered(panel, text):
    with panel.socket() as socket:
        socket.receive_json()
        socket.send_text(text)
        assert until(socket, "pong") == {"type": "pong"}


def test_other_texts_and_bytes_are_ignored(panel):
    with panel.socket() as socket:
        socket.receive_json()
        socket.send_text("hello")
        socket.send_bytes(b"\x00\xff")
        socket.send_text("ping")
        until(socket, "pong")


def test_a_run_is_reported_to_all_viewers(panel):
    """State changes, samples with id, path, prompt and step, and the end reach every socket."""
    with panel.socket() as one, panel.socket() as two:
        panel.start(steps=3, sample_every=2)
        for socket in (one, two):
            sample = until(socket, "sample_default")
            assert panel.client.get(sample["path"]).headers["content-type"] == "image/png"
            assert (sample["prompt"], sample["step"], panel.client.get(f"/api/samples/{sample['id']}").status_code) == (
                "a red square",
                2,
                200,
            )
            until(socket, "training_state", status="completed")


def test_numbers_grow_and_what_was_missed_is_replayed(panel):
    """A reconnecting viewer sends the last number it received and misses nothing."""
    with panel.socket() as socket:
        seen = socket.receive_json()["seq"]
    panel.finished(steps=3)
    with panel.socket(f"?since={seen}") as socket:
        numbers = []
        give_up_at = time.monotonic() + 60
        while True:
            assert time.monotonic() < give_up_at, numbers
            message = socket.receive_json()
            assert message["type"] != "connected"
            numbers.append(message["seq"])
            if message["type"] == "event" and message["event"]["type"] == "run_ended":
                break
    assert numbers == list(range(seen + 1, seen + 1 + len(numbers)))


@pytest.mark.parametrize("since", ["1", "99999999999999999"])
def test_a_number_of_another_time_gets_the_whole_state(panel, since):
    with panel.socket(f"?since={since}") as socket:
        assert socket.receive_json()["type"] == "connected"


def test_the_hub_forgets_who_leaves(panel, app):
    with panel.socket() as socket:
        socket.receive_json()
        assert app.state.hub.viewers == 1
    panel.client.portal.call(lambda: None)
    assert app.state.hub.viewers == 0
    assert not panel.service.feed.watched


def test_a_change_of_the_settings_is_reported(panel):
    with panel.socket() as socket:
        socket.receive_json()
        revision = panel.client.put("/api/config/current", json={"config": {"epochs": 3}}).json()["revision"]
        assert until(socket, "config")["revision"] == revision


def test_polling_reports_the_same(panel):
    """If WebSockets are blocked, polling returns first the state and then what happened since."""
    first = panel.client.get("/api/events").json()
    assert first["snapshot"]["type"] == "connected"
    assert panel.client.get("/api/events", params={"since": first["seq"]}).json() == {"seq": first["seq"], "messages": []}
    panel.client.put("/api/config/current", json={"config": {"epochs": 3}})
    after = panel.client.get("/api/events", params={"since": first["seq"]}).json()
    assert [message["type"] for message in after["messages"]] == ["config"]
    assert after["seq"] == after["messages"][-1]["seq"]
    assert "snapshot" in panel.client.get("/api/events?since=5").json()


def test_a_field_that_cannot_be_used_rejects_a_start_until_its_page_is_closed(panel):
    """The page reports it over its own connection, or over REST if it polls; other messages are ignored."""
    panel.client.put("/api/config/current", json={"config": panel.document})
    field = {"path": "epochs", "label": "Epochs", "value": "abc", "reason": "expected a whole number"}

    def wait_until(wanted: bool) -> None:
        give_up_at = time.monotonic() + 5
        while held() != wanted:
            assert time.monotonic() < give_up_at

    def held() -> bool:
        try:
            panel.service.open_edits.refuse(0)
        except ConfigInvalidError:
            return True
        return False

    with panel.socket() as socket:
        socket.receive_json()
        for text in ("{torn", '{"type": 5}', '{"type": "open_edits", "fields": 7}', "[" * 200_000):
            socket.send_text(text)
        socket.send_json({"type": "open_edits", "fields": [field]})
        wait_until(True)
        reply = panel.client.post("/api/training/start", json={})
        assert (reply.status_code, reply.json()["errors"][0]["path"]) == (422, "epochs")
        assert "Epochs is “abc” on an open page" in reply.json()["error"]
    wait_until(False)
    assert panel.client.put("/api/config/open-edits", json={"page": "mine", "fields": [field]}).status_code == 200
    assert held()
    assert panel.client.put("/api/config/open-edits", json={"page": "mine", "fields": []}).status_code == 200
    assert not held()

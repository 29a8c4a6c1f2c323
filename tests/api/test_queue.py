"""The queue over REST."""

from __future__ import annotations

import time

import pytest

from tests.api.test_live import until

pytestmark = pytest.mark.slow  # each of these builds the whole panel


@pytest.fixture
def paused(panel):
    """A panel whose queue is paused."""
    assert panel.client.post("/api/queue/pause").json()["paused"] is True
    return panel


def add(panel, name, **item):
    body = {"config": panel.document, "options": {"name": name, "tags": ["steps=2"]}, "item": item}
    reply = panel.client.post("/api/queue", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def names(panel):
    return [item["name"] for item in panel.client.get("/api/queue").json()["items"]]


def ended(panel, item_id):
    give_up_at = time.monotonic() + 15
    while (item := panel.client.get(f"/api/queue/{item_id}").json())["state"] not in ("completed", "stopped", "failed"):
        assert time.monotonic() < give_up_at, item
        time.sleep(0.05)
    return item


def test_a_queued_run_trains_and_its_item_names_the_run(panel):
    item = add(panel, "one")
    assert item["ok"] is True
    item = ended(panel, item["id"])
    assert item["state"] == "completed"
    assert panel.client.get(f"/api/runs/{item['run_id']}").json()["record"]["name"] == "one"
    assert [each["id"] for each in panel.client.get("/api/queue?ended=true").json()["items"]] == [item["id"]]
    assert panel.client.get("/api/queue").json()["items"] == []


@pytest.mark.parametrize("form", ["current", "name", "text", "wrapped", "bare"])
def test_an_addition_takes_every_body_of_a_start(paused, form):
    paused.service.configs.replace(paused.document, "mine")
    paused.service.configs.save("mine")
    bodies = {
        "current": {},
        "name": {"config": "mine"},
        "text": "mine",
        "wrapped": {"config": paused.document},
        "bare": paused.document,
    }
    reply = paused.client.post("/api/queue", json=bodies[form])
    assert reply.status_code == 200, reply.text
    assert (reply.json()["place"], reply.json()["state"]) == (1, "waiting")
    item = paused.client.get(f"/api/queue/{reply.json()['id']}").json()
    assert item["config"]["concepts"][0]["name"] == "red"


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({"config": "no such thing"}, 404, ""),
        ({"config": {"epochs": "many"}}, 422, "epochs"),
        ({"item": {"priority": 1000}}, 422, "priority"),
        ({"item": {"color": "red"}}, 422, "color"),
        ({"item": {"device": "tpu"}}, 422, "device"),
        ({"item": {"after": "nothing"}}, 422, "after"),
        ({"item": {}, "epochs": 3}, 422, "epochs"),
        ({"options": {"max_steps": 0}}, 422, "options.max_steps"),
    ],
)
def test_wrong_additions_name_the_place_and_add_nothing(paused, body, status, path):
    reply = paused.client.post("/api/queue", json={"config": paused.document} | body)
    assert reply.status_code == status, reply.text
    assert path in [item["path"] for item in reply.json()["errors"]]
    assert names(paused) == []


def test_settings_that_cannot_work_are_rejected_at_adding(paused):
    reply = paused.client.post("/api/queue", json={"config": {**paused.document, "concepts": []}})
    assert reply.status_code == 422
    assert any(item["path"].startswith("concepts") for item in reply.json()["errors"])
    assert names(paused) == []


def test_runs_are_moved_edited_copied_and_removed(paused):
    one, two, three = (add(paused, name)["id"] for name in ("one", "two", "three"))
    assert paused.client.post(f"/api/queue/{three}/move", json={"place": 1}).json()["place"] == 1
    assert paused.client.post(f"/api/queue/{one}/move", json={"after": two}).json()["place"] == 3
    assert names(paused) == ["three", "two", "one"]
    item = paused.client.patch(f"/api/queue/{two}", json={"name": "second", "held": True, "changes": {"epochs": 7}}).json()
    assert (item["name"], item["held"]) == ("second", True)
    assert paused.client.get(f"/api/queue/{two}").json()["config"]["epochs"] == 7
    old = paused.client.patch(f"/api/queue/{two}", json={"name": "third", "revision": 1})
    assert old.status_code == 409
    assert paused.client.patch(f"/api/queue/{two}", json={"unknown": 1}).status_code == 422
    copy = paused.client.post(f"/api/queue/{two}/duplicate").json()
    assert (copy["place"], copy["held"]) == (3, True)
    assert paused.client.delete(f"/api/queue/{one}").json() == {"ok": True}
    assert names(paused) == ["three", "second", "second (copy)"]
    assert paused.client.delete(f"/api/queue/{one}").status_code == 404
    assert paused.client.post(f"/api/queue/{one}/move", json={"by": 1}).status_code == 404


def test_an_edit_can_take_the_current_settings(paused):
    item_id = add(paused, "one")["id"]
    paused.service.configs.replace({**paused.document, "epochs": 9}, "mine")
    assert paused.client.patch(f"/api/queue/{item_id}", json={"config": None}).status_code == 200
    assert paused.client.get(f"/api/queue/{item_id}").json()["config"]["epochs"] == 9


def test_the_list_comes_in_pages(paused):
    for number in range(5):
        add(paused, str(number))
    first = paused.client.get("/api/queue?limit=3").json()
    second = paused.client.get(f"/api/queue?limit=3&cursor={first['next_cursor']}").json()
    assert [item["name"] for item in first["items"] + second["items"]] == list("01234")
    assert (first["total"], second["next_cursor"]) == (5, None)


def test_a_sweep_is_shown_and_then_added(paused):
    body = {"config": paused.document, "values": {"learning_rate": "1e-4, 3e-4", "lora_rank": [8, 16]}, "item": {"name": "s"}}
    shown = paused.client.post("/api/queue/sweep/preview", json=body).json()
    assert (shown["count"], shown["valid"], names(paused)) == (4, True, [])
    added = paused.client.post("/api/queue/sweep", json=body).json()
    assert added["count"] == len(added["ids"]) == 4
    assert names(paused) == [run["name"] for run in shown["runs"]]
    too_many = {"config": paused.document, "values": {"epochs": list(range(1, 102))}}
    assert paused.client.post("/api/queue/sweep/preview", json=too_many).status_code == 422


def test_a_start_conflicts_or_waits_in_the_queue(panel):
    panel.training()
    assert panel.client.post("/api/training/start", json={"config": panel.document}).status_code == 409
    body = {"config": panel.document, "options": {"tags": ["steps=2"]}, "queue": True}
    reply = panel.client.post("/api/training/start", json=body)
    assert reply.status_code == 200, reply.text
    assert (reply.json()["run_id"], reply.json()["place"]) == (None, 1)
    panel.client.post("/api/training/stop")
    assert ended(panel, reply.json()["id"])["state"] == "completed"
    reply = panel.client.post("/api/training/start", json=body)
    assert reply.json()["run_id"]
    assert panel.client.post("/api/training/start", json={"config": panel.document, "queue": "yes"}).status_code == 422


@pytest.mark.parametrize("route", ["resume", "start"])
def test_a_resume_and_a_start_of_an_ended_run_conflict_or_wait_in_the_queue(panel, route):
    """The queued run has the settings of the ended one; it starts immediately if nothing trains."""
    run_id = panel.finished(steps=4, backup_every=2)
    path = f"/api/runs/{run_id}/{route}"
    panel.training()
    assert panel.client.post(path, json={}).status_code == 409
    reply = panel.client.post(path, json={"queue": True})
    assert reply.status_code == 200, reply.text
    assert (reply.json()["run_id"], reply.json()["place"]) == (None, 1)
    item = panel.client.get(f"/api/queue/{reply.json()['id']}").json()
    assert (item["name"], item["resumes_run"]) == ("try", run_id if route == "resume" else "")
    panel.client.post("/api/training/stop")
    item = ended(panel, reply.json()["id"])
    assert item["state"] == "completed", item
    options = panel.client.get(f"/api/runs/{item['run_id']}").json()["record"]["options"]
    assert options["resume_from"].endswith("backup-4" if route == "resume" else "")
    assert panel.client.post(path, json={"queue": "later"}).status_code == 422
    assert panel.client.post(path, json={"queue": True}).json()["run_id"]


def test_a_run_is_suspended_and_waits_to_be_resumed(panel):
    run_id = panel.training(steps=5)
    item_id = panel.client.post("/api/training/suspend").json()["id"]
    panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)
    give_up_at = time.monotonic() + 10
    while (item := panel.client.get(f"/api/queue/{item_id}").json())["state"] != "waiting":
        assert time.monotonic() < give_up_at, item
        time.sleep(0.05)
    assert (item["held"], item["resumes_run"]) == (True, run_id)
    assert panel.client.post("/api/training/suspend").status_code == 409
    assert panel.client.post(f"/api/queue/{item_id}/suspend").status_code == 409


def test_viewers_get_the_queue_and_its_changes(paused):
    with paused.socket() as socket:
        assert socket.receive_json()["queue"]["paused"] is True
        add(paused, "one")
        message = until(socket, "queue_changed", reason="added")
        assert message["queue"]["waiting"] == 1

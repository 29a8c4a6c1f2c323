"""Replay, backups, imports and restarts over REST."""

from __future__ import annotations

import pytest

from tests.fakes.configs import small_config

pytestmark = pytest.mark.slow  # each of these trains or builds the whole panel


def test_the_past_of_a_run_is_reached_over_rest(panel):
    """This covers the replay, backups with a rule, and a start with the same settings."""
    run_id = panel.finished(steps=20, backup_every=5, sample_every=5)
    path = f"/api/runs/{run_id}"
    moment = panel.client.get(f"{path}/replay", params={"step": 12}).json()
    assert (moment["step"], moment["samples"][0]["step"]) == (12, 10)
    assert moment["values"]["loss"] > 0
    backups = panel.client.get(f"{path}/backups").json()["backups"]
    assert [backup["global_step"] for backup in backups][:4] == [5, 10, 15, 20]
    preview = panel.client.post(f"{path}/backups/prune", json={"keep_last": 1}).json()
    assert preview["delete"] == []  # the rehearsal leaves no note of who made them
    assert panel.client.patch(f"{path}/backups/{backups[0]['id']}", json={"pinned": True}).status_code == 409
    assert panel.client.post(f"{path}/backups/prune", json={"keep_last": 0}).status_code == 422
    again = panel.client.post(f"{path}/start", json={"name": "again"}).json()["run_id"]
    panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)
    assert panel.client.get(f"/api/runs/{again}").json()["labels"]["name"] == "again"
    assert panel.client.get(f"{path}/replay", params={"step": -1}).status_code == 422


def test_a_run_continues_from_a_backup_with_the_settings_of_the_form(panel):
    """The new run has the settings of the form, and continues at the step of the backup."""
    run_id = panel.finished(steps=10, backup_every=5)
    panel.service.configs.replace(small_config(panel.folder).model_copy(update={"learning_rate": 0.25}), "")
    backup = panel.client.get(f"/api/runs/{run_id}/backups").json()["backups"][0]
    body = {"backup": backup["id"], "settings": "current"}
    reply = panel.client.post(f"/api/runs/{run_id}/resume", json=body)
    assert reply.status_code == 200, reply.text
    panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)
    run = panel.client.get(f"/api/runs/{reply.json()['run_id']}").json()
    assert run["config"]["learning_rate"] == 0.25
    assert run["record"]["options"]["resumes_run"] == run_id


def test_a_workspace_without_runs_is_an_error(panel, tmp_path):
    """Both the preview and the import name the folder."""
    assert panel.client.get("/api/runs/workspace", params={"workspace": str(tmp_path)}).status_code == 404
    assert panel.client.post("/api/runs/workspace", json={"workspace": str(tmp_path)}).status_code == 404

"""Training over REST."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import put_service
from onetrainer_gradio.config.files.documents import from_document, to_document
from onetrainer_gradio.config.machine import Gpu, Machine
from tests.api.conftest import ADDRESS, rehearsal_service
from tests.fakes.configs import small_config
from tests.fakes.estimates import GIB, Computed

pytestmark = pytest.mark.slow  # each of these trains or builds the whole panel

STATE = {"is_training", "status", "progress", "max_step", "max_epoch", "error"}
PROGRESS = {"epoch", "epoch_step", "epoch_sample", "global_step"}


def test_the_state_has_every_key_of_the_contract(panel):
    for path in ("/api/training/status", "/api/training/progress"):
        state = panel.client.get(path).json()
        assert state.keys() >= STATE
        assert state["progress"].keys() >= PROGRESS
        assert (state["is_training"], state["status"]) == (False, "idle")


def test_a_run_is_started_and_ends(panel):
    run_id = panel.finished(steps=5)
    state = panel.client.get("/api/training/status").json()
    assert (state["run_id"], state["status"], state["progress"]["global_step"]) == (run_id, "completed", 5)


@pytest.mark.parametrize("form", ["current", "empty", "name", "text", "wrapped", "bare"])
def test_a_start_takes_every_form_of_body(panel, form):
    """No body, a name, a configuration, or either within a request: all start the same settings."""
    panel.service.configs.replace(panel.document, "mine")
    panel.service.configs.save("mine")
    bodies = {
        "current": {},
        "name": {"config": "mine"},
        "text": "mine",
        "wrapped": {"config": panel.document},
        "bare": panel.document,
    }
    body = {} if form == "empty" else {"json": bodies[form]}
    reply = panel.client.post("/api/training/start", **body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["ok"] is True
    run = panel.client.get(f"/api/runs/{reply.json()['run_id']}").json()
    assert run["config"]["concepts"][0]["name"] == "red"
    panel.service.wait_for(lambda state: not state["is_training"], 10)


class OneGpu:
    """A machine with a GPU of half a GiB."""

    def read(self) -> list[dict[str, object]]:
        """Return one reading."""
        return [{"index": 0, "name": "Card", "memory_total": GIB // 2, "memory_used": 0}]


def test_a_start_on_a_gpu_answers_with_the_warning_about_its_memory(app, tmp_path):
    """There is no earlier estimate, and the text is that of the check; the run starts anyway."""
    machine = Machine("cuda", (Gpu("Card", GIB // 2, (8, 9)),))
    service = rehearsal_service(tmp_path / "data", gpus=OneGpu, machine=lambda: machine, estimator=Computed)
    put_service(app, service)
    with TestClient(app, base_url=ADDRESS) as client:
        document = to_document(small_config(tmp_path, train_device="cuda", batch_size=2), packed=True)
        reply = client.post("/api/training/start", json={"config": document})
        assert reply.status_code == 200, reply.text
        (warning,) = reply.json()["warnings"]
        found = client.post("/api/config/validate", json={"config": document}).json()["warnings"]
        assert warning in found
        assert (warning["code"], warning["path"]) == ("memory-exceeds-gpu", "batch_size")
        assert client.get(f"/api/runs/{reply.json()['run_id']}").status_code == 200
        service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)


def test_a_run_records_the_warning_about_its_memory(app, tmp_path):
    """The estimate of the previous check is known at the start: the page shows the warning with those of the run."""
    machine = Machine("cuda", (Gpu("Card", GIB // 2, (8, 9)),))
    service = rehearsal_service(tmp_path / "data", gpus=OneGpu, machine=lambda: machine, estimator=Computed)
    put_service(app, service)
    with TestClient(app, base_url=ADDRESS) as client:
        document = to_document(small_config(tmp_path, train_device="cuda", batch_size=2), packed=True)
        config, _ = from_document(document)
        service.memory.estimate(config)
        run_id = client.post("/api/training/start", json={"config": document}).json()["run_id"]
        service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)
        events = client.get(f"/api/runs/{run_id}/journal", params={"types": "warning_issued"}).json()["events"]
        assert [event["code"] for event in events] == ["memory-exceeds-gpu"]
        assert client.get("/api/training/status").json()["warnings_count"] == 1


def test_a_start_that_cannot_work_is_rejected_with_the_settings_to_change(panel):
    document = {**panel.document, "concepts": []}
    reply = panel.client.post("/api/training/start", json={"config": document})
    assert reply.status_code == 422
    body = reply.json()
    assert body["ok"] is False
    assert body["status"] == 422
    assert any(item["path"].startswith("concepts") and item["message"] for item in body["errors"])


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({"config": "no such thing"}, 404, ""),
        ({"config": 5}, 422, "config"),
        ({"config": {"epochs": "many"}}, 422, "epochs"),
        ({"options": {"max_steps": 0}}, 422, "options.max_steps"),
        ({"options": {"colour": "red"}}, 422, "options.colour"),
        ({"options": {"backend": "os:system"}}, 422, "options.backend"),
        ({"options": {}, "epochs": 3}, 422, "epochs"),
        ([1], 422, None),
    ],
)
def test_bad_starts_name_the_place(panel, body, status, path):
    reply = panel.client.post("/api/training/start", json=body)
    assert reply.status_code == status
    paths = [item["path"] for item in reply.json()["errors"]]
    assert path is None or path in paths
    assert panel.client.get("/api/runs").json() == {"runs": [], "next_cursor": None, "total": 0, "matches": 0, "unread": 0}


def test_a_second_start_conflicts(panel):
    panel.training()
    reply = panel.client.post("/api/training/start", json={"config": panel.document})
    assert (reply.status_code, reply.json()["status"]) == (409, 409)


@pytest.mark.parametrize("command", ["stop", "pause", "resume", "backup", "save"])
def test_commands_without_a_run_are_rejected(panel, command):
    reply = panel.client.post(f"/api/training/{command}")
    assert reply.status_code == 409
    assert reply.json()["error"]


@pytest.mark.parametrize("path", ["training/backup", "training/save", "samples/default", "training/pause"])
def test_a_command_is_taken_and_its_outcome_can_be_asked_for(panel, path):
    panel.training()
    reply = panel.client.post(f"/api/{path}").json()
    assert reply["ok"] is True
    assert reply["state"].keys() >= STATE
    answer = panel.client.get(f"/api/commands/{reply['command_id']}", params={"wait": 10}).json()
    assert (answer["command_id"], answer["outcome"]) == (reply["command_id"], "done")


def test_pause_resume_stop(panel):
    panel.training(write_s=0.5)
    panel.client.post("/api/training/pause")
    panel.service.wait_for(lambda state: state["paused"], 10)
    assert panel.client.post("/api/training/pause").status_code == 409
    assert panel.client.post("/api/training/resume").status_code == 200
    panel.service.wait_for(lambda state: not state["paused"], 10)
    assert panel.client.post("/api/training/stop").json()["state"]["status"] == "stopping"
    state = panel.service.wait_for(lambda state: not state["is_training"], 10)
    assert state["end_reason"] == "stopped"


def test_an_undecided_command_has_no_outcome(panel):
    reply = panel.client.get("/api/commands/unknown").json()
    assert (reply["command_id"], reply["outcome"], reply["waiting"]) == ("unknown", None, False)


def test_a_command_given_while_the_run_loads_is_acknowledged(panel):
    """The response to the request, the state and the command itself show that it is pending."""
    panel.start(load_s=5)
    reply = panel.client.post("/api/samples/default").json()
    (waiting,) = reply["state"]["waiting_commands"]
    assert (waiting["command_id"], waiting["command"]) == (reply["command_id"], "sample_default")
    answer = panel.client.get(f"/api/commands/{reply['command_id']}").json()
    assert (answer["command"], answer["outcome"], answer["waiting"]) == ("sample_default", None, True)
    panel.client.post("/api/training/stop")


def test_a_failed_run_reports_why(panel):
    panel.finished(fail_at=2)
    state = panel.client.get("/api/training/status").json()
    assert state["status"] == "error"
    assert "graphics memory" in state["error"]


def test_a_loss_that_is_no_number_does_not_break_the_replies(panel):
    """JSON has no NaN, so it becomes null."""
    panel.training(nan_at=0)
    assert panel.client.get("/api/training/status").json()["loss"] is None
    assert panel.client.get("/api/training/progress").status_code == 200


def test_a_backup_outside_the_allowed_folders_is_rejected(panel, tmp_path):
    from dataclasses import replace

    panel.service.settings = replace(panel.service.settings, allowed_roots=(tmp_path / "material",))
    body = {"config": panel.document, "options": {"resume_from": "/etc"}}
    assert panel.client.post("/api/training/start", json=body).status_code == 403


def test_only_the_command_line_loads_torch_into_the_panel(panel):
    """A request that asks for it is rejected with the reason, whether it starts or validates."""
    body = {"config": panel.document, "options": {"in_process": True}}
    for path in ("/api/training/start", "/api/config/validate"):
        reply = panel.client.post(path, json=body)
        assert (reply.status_code, reply.json()["errors"][0]["path"]) == (422, "options.in_process")
    body["options"]["in_process"] = False
    assert panel.client.post("/api/config/validate", json=body).status_code == 200

"""Checkouts and engines over REST."""

import time

import pytest
from fastapi.testclient import TestClient

from onetrainer_gradio.api.app import put_service
from onetrainer_gradio.service import ServiceSettings, TrainerService
from tests.api.conftest import ADDRESS
from tests.api.test_live import until
from tests.backends.onetrainer.standin import set_up

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0
BASE = "/api/onetrainer/checkouts"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout of a later revision; these tests don't change it."""
    return set_up(tmp_path_factory.mktemp("later") / "OneTrainer", newer=True)


@pytest.fixture
def known(panel, checkout):
    """A panel that has it registered, scanned and selected."""
    reply = panel.client.post(BASE, json={"folder": str(checkout)})
    assert reply.status_code == 200, reply.text
    assert panel.service.checkouts.wait(PATIENCE_S)
    checkout_id = reply.json()["checkout"]["id"]
    assert panel.client.put("/api/engines", json={"engine": f"onetrainer:{checkout_id}"}).status_code == 200
    return panel, checkout_id


def change(panel, **changes):
    revision = panel.client.get("/api/config/current").json()["revision"]
    return panel.client.patch("/api/config/current", json={"revision": revision, "changes": changes})


def test_a_checkout_is_looked_at_added_listed_and_removed(panel, checkout, tmp_path):
    """What is missing is reported before and after; a folder without OneTrainer is rejected with the reason."""
    looked = panel.client.post("/api/onetrainer/inspect", json={"folder": str(checkout)}).json()["checkout"]
    assert (looked["usable"], looked["config_version"], looked["panel_config_version"]) == (True, 12, 11)
    assert "version 12" in looked["version_note"]
    assert panel.client.get(BASE).json() == {"checkouts": [], "can_add": True}
    added = panel.client.post(BASE, json={"folder": str(checkout)}).json()["checkout"]
    assert panel.client.get(f"{BASE}/{added['id']}").json()["checkout"]["folder"] == str(checkout)
    assert panel.client.post(f"{BASE}/{added['id']}/check").status_code == 200
    refused = panel.client.post(BASE, json={"folder": str(tmp_path)})
    assert refused.status_code == 422
    assert "doesn't contain OneTrainer" in refused.json()["error"]
    assert refused.json()["errors"][0]["path"] == "folder"
    assert panel.client.delete(f"{BASE}/{added['id']}").status_code == 200
    assert panel.client.get(f"{BASE}/{added['id']}").status_code == 404


@pytest.mark.exhaustive
def test_its_settings_are_in_the_schema_and_can_be_changed(known):
    """A setting that only the checkout has works with PATCH, export and import; resetting it removes it."""
    panel, _ = known
    schema = panel.client.get("/api/config/schema").json()
    assert schema["properties"]["sharpness"]["default"] == 0.5
    assert schema["properties"]["force_circular_padding"]["x-lacking"] is True
    assert "NEW_MODEL_9" in schema["properties"]["model_type"]["enum"]
    changed = change(panel, sharpness=0.75).json()
    assert changed["config"]["sharpness"] == 0.75
    assert "sharpness" in changed["changed"]
    assert changed["was"]["sharpness"] == 0.5
    exported = panel.client.get("/api/config/export").content
    assert panel.client.post("/api/config/import", content=exported).json()["config"]["sharpness"] == 0.75
    assert "sharpness" not in change(panel, sharpness=0.5).json()["config"]
    looked = panel.client.post("/api/config/timesteps", json={"changes": {"sharpness": 0.75, "model_type": "NEW_MODEL_9"}})
    assert looked.status_code == 200, looked.text
    bad = change(panel, sharpness="much")
    assert (bad.status_code, bad.json()["errors"][0]["path"]) == (422, "sharpness")


@pytest.mark.exhaustive
def test_its_lists_and_objects_are_settings_as_a_whole(known):
    """Each is changed, marked, compared, reset and saved as one value; an error names the path."""
    panel, _ = known
    assert panel.client.get("/api/config/schema").json()["properties"]["rules"]["x-kind"] == "json"
    rules = [{"word": "x", "strength": 0.5}]
    changed = change(panel, rules=rules, tile_sizes=[64, 256], extra_arguments={"width": 1}).json()
    assert {"rules", "tile_sizes", "extra_arguments"} <= set(changed["changed"])
    assert [changed["was"][path] for path in ("rules", "tile_sizes", "extra_arguments")] == [[], [64, 128], {"depth": 2}]
    panel.client.post("/api/config/save", json={"name": "with rules"})
    changed = change(panel, **{"rules": [{"word": "y"}], "tile_sizes.0": 32, "extra_arguments.height": 2}).json()
    assert [changed["config"][path] for path in ("tile_sizes", "extra_arguments")] == [[32, 256], {"width": 1, "height": 2}]
    assert (changed["was"]["rules"], changed["was"]["tile_sizes"], changed["was"]["extra_arguments"]) == (
        rules,
        [64, 256],
        {"width": 1},
    )
    compared = panel.client.get("/api/config/diff", params={"left": "defaults"} | {"right": "current"}).json()["differences"]
    differences = {each["path"]: (each["before"], each["after"]) for each in compared}
    assert differences["tile_sizes"] == ([64, 128], [32, 256])
    assert differences["rules"] == ([], [{"word": "y"}])
    exported = panel.client.get("/api/config/export").content
    assert panel.client.post("/api/config/import", content=exported).json()["config"]["rules"] == [{"word": "y"}]
    bad = change(panel, rules=[{"word": "y"}, {"strength": "much"}])
    assert (bad.status_code, bad.json()["errors"][0]["path"]) == (422, "rules")
    assert bad.json()["errors"][0]["message"] == "rules.1.strength must be a number, not 'much'"
    assert change(panel, rules='[{"word": "y"').json()["errors"][0]["message"].startswith("rules isn't valid JSON: ")
    assert change(panel, **{"tile_sizes.0": "wide"}).status_code == 422
    assert "tile_sizes" not in change(panel, tile_sizes=[64, 128]).json()["config"]


@pytest.mark.exhaustive
def test_without_it_they_are_unknown_again(known):
    """With the built-in engine the form has only our settings; the values stay in the document."""
    panel, _ = known
    change(panel, sharpness=0.75)
    assert panel.client.put("/api/engines", json={"engine": "builtin"}).json()["choice"] == "builtin"
    assert "sharpness" not in panel.client.get("/api/config/schema").json()["properties"]
    assert panel.client.get("/api/config/current").json()["config"]["sharpness"] == 0.75
    assert change(panel, model_type="NEW_MODEL_9").status_code == 422
    warnings = panel.client.post("/api/config/validate").json()["warnings"]
    assert any(warning["path"] == "sharpness" and "ignores it" in warning["message"] for warning in warnings)


def test_a_newer_model_type_can_be_chosen(known):
    """It is selected by its own name, with the methods that the checkout supports; unknown types stay invalid."""
    panel, checkout_id = known
    changed = change(panel, model_type="NEW_MODEL_9")
    assert changed.json()["config"]["model_type"] == "NEW_MODEL_9"
    checked = panel.client.post("/api/config/validate").json()
    assert checked["engine"] == f"onetrainer:{checkout_id}"
    assert {offer["id"]: offer["can"] for offer in checked["engines"]}["builtin"] is False
    assert change(panel, model_type="NEW_MODEL_10").status_code == 422


@pytest.mark.exhaustive
def test_the_engine_is_chosen_and_the_check_asks_it(known):
    """It returns the choice, the current engine and reasons; a check can also run for another engine."""
    panel, checkout_id = known
    panel.client.put("/api/config/current", json={"config": panel.document})
    panel.client.put("/api/engines", json={"engine": "auto"})
    engines = panel.client.get("/api/engines").json()
    assert (engines["choice"], engines["engine"]) == ("auto", engines["engines"][0]["id"])
    chosen = panel.client.put("/api/engines", json={"engine": f"onetrainer:{checkout_id}"}).json()
    assert chosen["engine"] == f"onetrainer:{checkout_id}"
    change(panel, model_type="SANA")
    mine = panel.client.post("/api/config/validate").json()
    theirs = panel.client.post("/api/config/validate", json={"options": {"backend": "builtin"}}).json()
    assert not any(error["path"] == "model_type" for error in mine["errors"])
    assert any(error["path"] == "model_type" for error in theirs["errors"])
    unknown = panel.client.post("/api/config/validate", json={"options": {"checkout": "/nowhere"}})
    assert unknown.status_code == 404
    smuggled = panel.client.post("/api/config/validate", json={"options": {"backend": "os:system"}})
    assert smuggled.status_code == 422
    assert panel.client.put("/api/engines", json={"engine": "best"}).status_code == 422


@pytest.mark.exhaustive
def test_the_table_of_engines(known):
    """It has one row per model type and method."""
    panel, checkout_id = known
    rows = panel.client.get("/api/engines/table").json()["rows"]
    row = next(row for row in rows if (row["model_type"], row["training_method"]) == ("FLUX_DEV_1", "LORA"))
    assert {one["id"]: one["can"] for one in row["engines"]}[f"onetrainer:{checkout_id}"] is True


def test_lists_of_the_checkout_come_into_the_settings(known):
    """They replace the current list or are appended; an outdated revision is a conflict."""
    panel, checkout_id = known
    path = f"{BASE}/{checkout_id}/lists/samples/samples"
    items = panel.client.get(path).json()["items"]
    taken = panel.client.post(path, json={}).json()
    assert [item["prompt"] for item in taken["config"]["samples"]] == [item["prompt"] for item in items]
    more = panel.client.post(path, json={"add": True, "revision": taken["revision"]}).json()
    assert len(more["config"]["samples"]) == 2 * len(items)
    assert panel.client.post(path, json={"revision": taken["revision"]}).status_code == 409
    assert panel.client.post(f"{BASE}/{checkout_id}/lists/samples/none", json={}).status_code == 404


def test_its_presets_are_a_library_that_goes_with_it(known):
    """They can be opened; removing the checkout removes them."""
    panel, checkout_id = known
    names = [item["name"] for item in panel.client.get("/api/config/list").json()["configs"] if item["kind"] == "library"]
    assert names == ["OneTrainer/SD1.5/#stand-in LoRA"]
    assert panel.client.get(f"/api/config/load/{names[0].replace('#', '%23')}").status_code == 200
    assert panel.client.delete(f"{BASE}/{checkout_id}").status_code == 200
    assert not [item for item in panel.client.get("/api/config/list").json()["configs"] if item["kind"] == "library"]


def test_a_run_is_executed_by_the_chosen_checkout_and_records_it(known):
    """Start uses the choice, and the run records folder, revision and Python; its options can select another engine."""
    panel, checkout_id = known
    folder = panel.service.checkouts.get(checkout_id).folder
    newer = {
        "sharpness": 0.75,
        "rules": [{"word": "x"}],
        "tile_sizes": [32],
        "extra_arguments": {"width": 1},
        "units_shown": ["EPOCH"],
    }
    panel.client.put("/api/config/current", json={"config": {**panel.document, "tensorboard": False, **newer}})
    assert panel.client.post("/api/onetrainer/unload").json() == {"ok": True, "unloaded": False}
    options = {"max_steps": 3, "keep_loaded_s": 60}
    run_id = panel.client.post("/api/training/start", json={"options": options}).json()["run_id"]
    panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], PATIENCE_S)
    run = panel.client.get(f"/api/runs/{run_id}").json()
    assert run["state"]["end_reason"] == "completed", run["state"]["error"]
    assert (run["record"]["backend"], run["record"]["options"]["checkout"]) == ("onetrainer", str(folder))
    assert run["record"]["checkout"]["python"] == str(folder / "venv/bin/python")
    assert {path: run["config"][path] for path in newer} == newer
    warnings = panel.client.get(f"/api/runs/{run_id}/journal", params={"types": "warning_issued"}).json()["events"]
    taken_otherwise = [event for event in warnings if any(path in event["event"]["message"] for path in newer)]
    assert not taken_otherwise, "OneTrainer took them as they were set"
    assert panel.client.get("/api/runs").json()["runs"][0]["checkout"] == "OneTrainer"
    state = panel.client.get("/api/training/status").json()
    assert (state["backend"], state["checkout"]) == ("onetrainer", "OneTrainer")
    assert 0 < state["loaded_until"] - time.time() <= 60
    assert panel.client.post("/api/onetrainer/unload").json() == {"ok": True, "unloaded": True}
    panel.service.wait_for(lambda state: not state["process_running"] and state["loaded_until"] is None, PATIENCE_S)
    assert panel.client.get("/api/training/status").json()["loaded_until"] is None
    other = {"backend": "tests.fakes.rehearsal:run", "tags": ["steps=2"]}
    second = panel.client.post("/api/training/start", json={"options": other}).json()["run_id"]
    panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], PATIENCE_S)
    assert panel.client.get(f"/api/runs/{second}").json()["record"]["checkout"] == {}
    state = panel.client.get("/api/training/status").json()
    assert (state["backend"], state["checkout"]) == (other["backend"], "")


def test_pages_are_notified_of_a_change(known):
    """A new page's snapshot and a message to the others contain the selected engine and what the form follows."""
    panel, _ = known
    with panel.socket() as socket:
        first = socket.receive_json()
        schema = panel.client.get("/api/config/schema").json()
        assert first["engine"]["follows"] == schema["x-follows"]["key"] != ""
        panel.client.put("/api/engines", json={"engine": "builtin"})
        message = until(socket, "engine")
        assert message["engine"] == {"choice": "builtin", "checkouts": 1, "follows": ""}


def test_behind_allowed_folders_only_the_start_names_checkouts(app, tmp_path, checkout):
    """People who only have the page can't make the machine run a program of theirs."""
    settings = ServiceSettings(
        data_folder=tmp_path / "data", allowed_roots=(tmp_path,), checkouts=(checkout,), backend="tests.fakes.rehearsal:run"
    )
    put_service(app, TrainerService(settings))
    with TestClient(app, base_url=ADDRESS) as client:
        listed = client.get(BASE).json()
        assert (len(listed["checkouts"]), listed["can_add"]) == (1, False)
        assert client.post(BASE, json={"folder": str(tmp_path)}).status_code == 403
        assert client.post("/api/onetrainer/inspect", json={"folder": str(tmp_path)}).status_code == 403
        assert [item["name"] for item in client.get("/api/config/list").json()["configs"] if item["kind"] == "library"]

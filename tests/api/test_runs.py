"""Runs over REST."""

from __future__ import annotations

import io
import zipfile

import pytest

from tests.service.engines.test_conversion import Instant

pytestmark = pytest.mark.slow  # each of these trains or builds the whole panel


def test_runs_are_listed_newest_first_with_record_and_state(panel):
    ids = [panel.finished(steps=2), panel.finished(steps=3)]
    assert {item["id"] for item in panel.client.get("/api/runs").json()["runs"]} == set(ids)
    run = panel.client.get(f"/api/runs/{ids[1]}").json()
    assert run["record"]["name"] == "try"
    assert run["state"]["progress"]["global_step"] == 3


def test_the_journal_gives_events_of_some_types_alone(panel):
    """Unknown types find nothing, whatever characters they contain."""
    path = f"/api/runs/{panel.finished(steps=2)}/journal"
    ended = panel.client.get(path, params={"types": "run_ended,warning_issued"}).json()
    assert [item["type"] for item in ended["events"]] == ["run_ended"]
    assert ended["next"] == ended["events"][0]["seq"]
    for nothing in ("nonsense", ".*", "warning_issued"):
        assert panel.client.get(path, params={"types": nothing}).json() == {"events": [], "next": 0}


def test_the_journal_is_read_from_a_position(panel):
    run_id = panel.finished(steps=2)
    path = f"/api/runs/{run_id}/journal"
    whole = panel.client.get(path).json()
    assert [item["seq"] for item in whole["events"]] == list(range(1, whole["next"] + 1))
    assert whole["events"][-1]["type"] == "run_ended"
    part = panel.client.get(path, params={"since": 2, "limit": 1}).json()
    assert (part["events"], part["next"]) == ([whole["events"][2]], 3)
    assert panel.client.get(path, params={"since": whole["next"]}).json() == {"events": [], "next": whole["next"]}


def test_curves_are_thinned(panel):
    run_id = panel.finished(steps=200)
    path = f"/api/runs/{run_id}/metrics"
    series = panel.client.get(path, params={"columns": "loss", "buckets": 10}).json()
    assert (series["columns"], series["rows"], series["buckets"], len(series["max"]["loss"])) == (["loss"], 200, 10, 10)
    part = panel.client.get(path, params={"first": 5, "last": 9}).json()
    assert (part["x"][0], part["x_last"][-1]) == (5, 9)


def test_curves_have_full_precision_unless_fewer_digits_are_requested(panel):
    """A program reads the loss as measured; a chart requests five digits and gets half the bytes."""
    run_id = panel.finished(steps=5)
    path = f"/api/runs/{run_id}/metrics"
    stored = panel.service.runs.get(run_id).metrics
    column = stored.columns().index("loss")
    exact = [float(row[column]) for row in stored.rows()]
    series = panel.client.get(path, params={"columns": "loss"}).json()
    assert (series["min"]["loss"], series["max"]["loss"], series["digits"]) == (exact, exact, None)
    rounded = panel.client.get(path, params={"columns": "loss", "digits": 5}).json()
    assert (rounded["min"]["loss"], rounded["digits"]) == ([float(f"{value:.5g}") for value in exact], 5)
    assert rounded["min"]["loss"] != exact
    chain = panel.client.get(path, params={"columns": "loss", "digits": 5, "chain": True}).json()
    assert (chain["min"]["loss"], chain["digits"]) == (rounded["min"]["loss"], 5)
    for wrong in ("0", "18", "-1", "x"):
        assert panel.client.get(path, params={"digits": wrong}).status_code == 422


def test_a_loss_that_is_no_number_is_null_in_the_curve(panel):
    run_id = panel.finished(steps=3, nan_at=1)
    series = panel.client.get(f"/api/runs/{run_id}/metrics").json()
    assert series["not_finite"]["loss"] == [2]


def test_the_log_has_a_tail_and_resumes_from_an_offset(panel):
    run_id = panel.finished(steps=2)
    (panel.service.runs.get(run_id).folder / "console.log").write_text("one\ntwo\n")
    path = f"/api/runs/{run_id}/log"
    assert panel.client.get(path).json()["text"] == "one\ntwo\n"
    assert panel.client.get(path, params={"offset": 4}).json() == {"text": "two\n", "offset": 4, "next": 8, "size": 8}


def test_files_are_downloaded_whole_and_in_parts(panel):
    """An interrupted download continues where it stopped (Range), and is not compressed."""
    run_id = panel.finished(steps=2)
    files = panel.client.get(f"/api/runs/{run_id}/files").json()["files"]
    model = next(item for item in files if item["kind"] == "model")
    path = f"/api/runs/{run_id}/files/{model['id']}"
    whole = panel.client.get(path, headers={"Accept-Encoding": "gzip"})
    assert (whole.content, whole.headers["content-length"], whole.headers["accept-ranges"]) == (b"weights", "7", "bytes")
    assert "lora.safetensors" in whole.headers["content-disposition"]
    part = panel.client.get(path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"igh", "bytes 2-4/7")
    assert panel.client.get(path, headers={"Range": "bytes=99-"}).status_code == 416


def test_a_folder_is_downloaded_as_a_zip(panel):
    run_id = panel.finished(steps=2, backup_every=2)
    files = panel.client.get(f"/api/runs/{run_id}/files").json()["files"]
    backup = next(item for item in files if item["kind"] == "backup")
    reply = panel.client.get(f"/api/runs/{run_id}/files/{backup['id']}")
    assert reply.headers["content-type"] == "application/zip"
    assert "backup-2.zip" in reply.headers["content-disposition"]
    archive = zipfile.ZipFile(io.BytesIO(reply.content))
    assert archive.testzip() is None
    assert archive.read("backup-2/step") == b"2"


def test_all_samples_are_downloaded_as_a_zip(panel):
    """Any number of samples works, or chosen ids; if there is none, the request fails before the download begins."""
    run_id = panel.finished(steps=20, sample_every=1)
    path = f"/api/runs/{run_id}/files.zip"
    reply = panel.client.get(path, params={"kind": "sample"}, headers={"Accept-Encoding": "gzip"})
    assert (reply.headers["content-type"], reply.headers.get("content-encoding")) == ("application/zip", None)
    assert f"{run_id}-samples.zip" in reply.headers["content-disposition"]
    assert len(zipfile.ZipFile(io.BytesIO(reply.content)).namelist()) == 20
    files = panel.client.get(f"/api/runs/{run_id}/files").json()["files"]
    ids = ",".join(item["id"] for item in files[:3])
    assert len(zipfile.ZipFile(io.BytesIO(panel.client.get(path, params={"ids": ids}).content)).namelist()) == 3
    assert panel.client.get(path, params={"kind": "save"}).status_code == 404
    assert panel.client.get(path, params={"ids": "99999"}).status_code == 404
    assert panel.client.get(path, params={"kind": "x"}).status_code == 422


def test_the_whole_log_is_downloaded_and_names_what_happened(panel):
    """The log of a successful run has its phases, epochs, samples and model."""
    run_id = panel.finished(steps=20, sample_every=10)
    reply = panel.client.get(f"/api/runs/{run_id}/log.txt")
    assert f"{run_id}.log" in reply.headers["content-disposition"]
    for part in ("Loading the model", "Epoch 1 of 2 finished", "Sample generated at step 10", "Model saved", "Run finished."):
        assert part in reply.text
    (panel.service.runs.get(run_id).folder / "console.log").unlink()
    assert panel.client.get(f"/api/runs/{run_id}/log.txt").text == ""


def test_only_files_of_the_run_can_be_downloaded(panel):
    run_id = panel.finished(steps=1)
    for file_id in ("999999", "..%2f..%2frun.json", "1", "-1"):
        assert panel.client.get(f"/api/runs/{run_id}/files/{file_id}").status_code == 404, file_id


def test_an_ended_run_is_resumed_from_its_newest_backup(panel):
    run_id = panel.finished(steps=4, backup_every=2)
    reply = panel.client.post(f"/api/runs/{run_id}/resume", json={}).json()
    panel.service.wait_for(lambda state: not state["is_training"], 10)
    run = panel.client.get(f"/api/runs/{reply['run_id']}").json()
    assert run["record"]["options"]["resumes_run"] == run_id
    assert run["record"]["options"]["resume_from"].endswith("backup-4")
    assert panel.client.post(f"/api/runs/{run_id}/resume", json={"backup": "none such"}).status_code in {404, 409, 422}
    panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)
    for epochs in (0, -1, "x", 1.5, 10**30):
        assert panel.client.post(f"/api/runs/{run_id}/resume", json={"epochs": epochs}).status_code == 422
    reply = panel.client.post(f"/api/runs/{run_id}/resume", json={"epochs": 77}).json()
    assert panel.client.get(f"/api/runs/{reply['run_id']}").json()["config"]["epochs"] == 77


@pytest.mark.exhaustive
def test_a_resume_can_take_the_current_settings(panel):
    run_id = panel.finished(steps=4, backup_every=2)
    panel.client.put("/api/config/current", json={"config": {**panel.document, "learning_rate": 0.125}})
    for settings, rate in (("run", panel.document["learning_rate"]), ("current", 0.125)):
        reply = panel.client.post(f"/api/runs/{run_id}/resume", json={"settings": settings}).json()
        panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)
        run = panel.client.get(f"/api/runs/{reply['run_id']}").json()
        assert (run["config"]["learning_rate"], run["record"]["options"]["resumes_run"]) == (rate, run_id)
    assert panel.client.post(f"/api/runs/{run_id}/resume", json={"settings": "other"}).status_code == 422


def test_a_run_is_deleted_when_it_has_ended(panel):
    run_id = panel.training()
    assert panel.client.delete(f"/api/runs/{run_id}").status_code == 409
    panel.client.post("/api/training/stop")
    panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 10)
    size = panel.client.get(f"/api/runs/{run_id}/files").json()["freed_bytes"]
    answer = panel.client.delete(f"/api/runs/{run_id}").json()
    assert answer == {"ok": True, "freed_bytes": size}
    assert size > 0
    assert panel.client.get(f"/api/runs/{run_id}").status_code == 404


@pytest.mark.parametrize("run_id", ["nope", "%2e%2e", "..%2f..", "%2e%2e%2fsecrets", "2026-11-23_15-04-05-abcd"])
def test_unknown_runs_are_404(panel, run_id):
    for part in ("", "/journal", "/metrics", "/log", "/files", "/files/1"):
        reply = panel.client.get(f"/api/runs/{run_id}{part}")
        assert reply.status_code == 404, part
        assert reply.json()["ok"] is False


def test_the_curve_of_a_resumed_run_contains_what_came_before(panel):
    """With `chain`, the response is one curve over all runs of the chain, with a mark at each resume."""
    first = panel.finished(steps=6, backup_every=4)
    second = panel.client.post(f"/api/runs/{first}/resume", json={"backup": "backup-4"}).json()["run_id"]
    panel.service.wait_for(lambda state: state["run_id"] == second and not state["is_training"], 10)
    path = f"/api/runs/{second}/metrics"
    assert panel.client.get(path).json()["x"] == [5, 6]
    joined = panel.client.get(path, params={"chain": True}).json()
    assert joined["x"] == [1, 2, 3, 4, 5, 6]
    assert joined["resumes"] == [{"step": 4, "run_id": second}]
    assert [(item["run_id"], item["rows"]) for item in joined["chain"]] == [(first, 4), (second, 2)]
    state = panel.client.get(f"/api/runs/{second}").json()["state"]
    smoothed = panel.client.get(path, params={"columns": "smooth_loss"}).json()["max"]["smooth_loss"][-1]
    assert smoothed == pytest.approx(state["smooth_loss"], rel=1e-4)
    assert panel.client.get("/api/runs/2020-01-01_00-00-00-0000/metrics", params={"chain": True}).status_code == 404


def test_the_list_comes_in_pages(panel):
    """Following the cursor returns each run once, newest first, even if a run is deleted in between; limits are checked."""
    for _ in range(5):
        panel.finished(steps=1)
    ids = panel.service.runs.ids()
    first = panel.client.get("/api/runs", params={"limit": 2}).json()
    assert ([item["id"] for item in first["runs"]], first["total"]) == (ids[:2], 5)
    panel.client.delete(f"/api/runs/{ids[1]}")
    second = panel.client.get("/api/runs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["id"] for item in second["runs"]] == ids[2:4]
    third = panel.client.get("/api/runs", params={"limit": 2, "cursor": second["next_cursor"]}).json()
    assert ([item["id"] for item in third["runs"]], third["next_cursor"], third["total"]) == (ids[4:], None, 4)
    for limit in (0, -1, 1001, "many"):
        assert panel.client.get("/api/runs", params={"limit": limit}).status_code == 422


def test_the_list_is_searched_filtered_and_sorted(panel):
    """The filters apply to all runs, not to one page; an invalid value is an error that names the parameter."""
    for steps in (3, 1, 2):
        panel.finished(steps=steps)
    newest, middle, oldest = panel.service.runs.ids()

    def ids(**params):
        return [item["id"] for item in panel.client.get("/api/runs", params=params).json()["runs"]]

    assert ids(sort="steps") == [middle, newest, oldest]
    assert ids(sort="-steps") == [oldest, newest, middle]
    assert ids(sort="created") == [oldest, middle, newest]
    assert ids(search=oldest.upper()) == [oldest]
    assert ids(status="completed,failed") == [newest, middle, oldest]
    assert ids(status="failed") == []
    assert ids(tag="steps=1") == [middle]
    first = panel.client.get("/api/runs", params={"sort": "-steps", "limit": 2}).json()
    assert (first["total"], first["matches"], first["unread"]) == (3, 3, 0)
    assert ids(sort="-steps", limit=2, cursor=first["next_cursor"]) == [middle]
    for wrong in ({"sort": "colour"}, {"status": "fine"}, {"status": "failed,"[:-1] + ";"}, {"sort": "loss", "cursor": "x"}):
        assert panel.client.get("/api/runs", params=wrong).status_code == 422, wrong


def test_files_come_in_pages_and_by_kind(panel):
    """Without a limit the list is complete; following the cursor returns each file once, in order."""
    run_id = panel.finished(steps=6, sample_every=1)
    path = f"/api/runs/{run_id}/files"
    whole = panel.client.get(path).json()
    ids = [file["id"] for file in whole["files"]]
    assert (whole["total"], whole["next_cursor"]) == (len(ids), None)
    assert len(ids) > 6
    found, cursor = [], None
    for _ in range(10):
        page = panel.client.get(path, params={"limit": 4} | ({"cursor": cursor} if cursor else {})).json()
        found += [file["id"] for file in page["files"]]
        assert page["total"] == len(ids)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == ids
    samples = panel.client.get(path, params={"kind": "sample", "limit": 2}).json()
    assert (len(samples["files"]), samples["total"]) == (2, 6)
    for wrong in ({"limit": 0}, {"kind": "other"}):
        assert panel.client.get(path, params=wrong).status_code == 422


def test_a_run_is_renamed_tagged_and_archived_over_rest(panel):
    """The list hides archived runs unless requested, and its facets count tags."""
    run_id = panel.finished(steps=2)
    path = f"/api/runs/{run_id}"
    line = panel.client.patch(path, json={"name": "best", "tags": ["keep"], "archived": True}).json()
    assert (line["name"], line["tags"], line["archived"]) == ("best", ["keep"], True)
    assert panel.client.get(path).json()["labels"]["name"] == "best"
    listed = {
        archived: len(panel.client.get("/api/runs", params={"archived": archived}).json()["runs"]) for archived in ("no", "yes")
    }
    assert listed == {"no": 0, "yes": 1}
    assert panel.client.get("/api/runs/facets").json()["tags"] == [["keep", 1]]
    assert panel.client.patch(path, json={"nonsense": 1}).status_code == 422
    body = {"ids": [run_id, "none"], "action": "delete"}
    assert panel.client.post("/api/runs/bulk", json=body | {"preview": True}).json()["deletable"] == [run_id]
    reply = panel.client.post("/api/runs/bulk", json=body).json()
    assert (reply["done"], [item["id"] for item in reply["failed"]]) == ([run_id], ["none"])
    assert panel.client.get(path).status_code == 404


@pytest.mark.exhaustive
def test_a_lora_of_a_run_is_converted_for_download(panel, tmp_path):
    """The run's file is kept; a file that is no LoRA, an unknown format and a removed file are errors with the reason."""
    run_id = panel.finished(steps=1)
    path = f"/api/runs/{run_id}"
    formats = [each["value"] for each in panel.client.get(f"{path}/lora_formats").json()["formats"]]
    assert "KOHYA_LORA" in formats
    (model,) = panel.client.get(f"{path}/files", params={"kind": "model"}).json()["files"]
    convert = f"{path}/files/{model['id']}/convert"
    refused = panel.client.post(convert, json={"format": "COMFY_LORA"})  # the rehearsal's file has no weights
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "format"
    assert panel.client.post(convert, json={"format": "NONE"}).status_code == 422
    assert panel.client.post(f"{path}/files/none/convert", json={"format": "COMFY_LORA"}).status_code == 404
    panel.service.converter = Instant(tmp_path / "converted")
    panel.service.converter.may_answer.set()
    done = panel.client.post(convert, json={"format": "COMFY_LORA"}).json()
    assert (done["tensors"], done["bytes"], done["name"]) == (2, 9, "lora-comfy.safetensors")
    assert panel.client.get(f"/{done['download']}").content == b"converted"
    assert panel.client.get(f"{path}/converted/{'0' * 32}").status_code == 404

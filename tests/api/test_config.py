"""Settings over REST.

Covers ``api/secrets.py``.
"""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow


def current(panel) -> dict:
    return panel.client.get("/api/config/current").json()


def test_the_current_settings_carry_a_revision(panel):
    reply = current(panel)
    assert reply["ok"] is True
    assert reply["config"]["__version"] == 11
    assert isinstance(reply["revision"], int)


def test_a_change_is_applied_and_answered_with_the_new_settings(panel):
    before = current(panel)
    reply = panel.client.patch(
        "/api/config/current", json={"revision": before["revision"], "changes": {"epochs": 7, "optimizer.optimizer": "ADAMW"}}
    ).json()
    assert (reply["config"]["epochs"], reply["config"]["optimizer"]["optimizer"]) == (7, "ADAMW")
    assert reply["revision"] > before["revision"]
    assert "epochs" in reply["changed"]


def test_a_change_against_an_old_revision_conflicts(panel):
    revision = current(panel)["revision"]
    panel.client.patch("/api/config/current", json={"revision": revision, "changes": {"epochs": 7}})
    reply = panel.client.patch("/api/config/current", json={"revision": revision, "changes": {"epochs": 8}})
    assert (reply.status_code, reply.json()["status"]) == (409, 409)
    assert current(panel)["config"]["epochs"] == 7


@pytest.mark.parametrize("path", ["epochs", "unet.stop_training_after"])
def test_a_number_of_any_size_does_not_close_the_settings(panel, path):
    """An integer beyond 64 bits is kept or rejected; the settings stay readable and can be corrected."""
    for value in (2**70, 3):
        revision = current(panel)["revision"]
        reply = panel.client.patch("/api/config/current", json={"revision": revision, "changes": {path: value}})
        assert reply.status_code in (200, 422)
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"epochs": "many"}, "epochs"),
        ({"no.such.thing": 1}, "no.such.thing"),
        ({"optimizer.optimizer": "NOPE"}, "optimizer.optimizer"),
    ],
)
def test_bad_values_are_named_by_their_path_and_change_nothing(panel, changes, path):
    before = current(panel)
    reply = panel.client.patch(
        "/api/config/current", json={"revision": before["revision"], "changes": {"batch_size": 3, **changes}}
    )
    assert reply.status_code == 422
    assert [item["path"] for item in reply.json()["errors"]] == [path]
    assert current(panel) == before


@pytest.mark.parametrize("body", [{}, {"revision": "x", "changes": {}}, {"revision": 1}, []])
def test_a_request_of_the_wrong_shape_is_422_with_paths(panel, body):
    reply = panel.client.patch("/api/config/current", json=body)
    assert reply.status_code == 422
    assert reply.json()["errors"]
    assert "body" not in {item["path"] for item in reply.json()["errors"]}


def test_save_list_load_delete(panel):
    panel.client.put("/api/config/current", json={"config": {"epochs": 3}, "name": "three"})
    assert panel.client.post("/api/config/save", json={"name": "my three"}).json()["name"] == "my three"
    listed = panel.client.get("/api/config/list").json()["configs"]
    assert ("my three", "saved") in {(item["name"], item["kind"]) for item in listed}
    assert "preset" in {item["kind"] for item in listed}
    panel.client.put("/api/config/current", json={"config": {"epochs": 9}})
    loaded = panel.client.get("/api/config/load/my three").json()
    assert (loaded["config"]["epochs"], loaded["name"]) == (3, "my three")
    assert panel.client.delete("/api/config/my three").json() == {"ok": True}
    assert panel.client.get("/api/config/load/my three").status_code == 404
    assert panel.client.delete("/api/config/my three").status_code == 404


@pytest.mark.exhaustive
def test_every_preset_can_be_loaded(panel):
    for item in panel.client.get("/api/config/list").json()["configs"]:
        assert panel.client.get(f"/api/config/load/{item['name']}").status_code == 200


@pytest.mark.parametrize("name", ["../secrets", "a/b", "..\\x", "", "con", "x" * 200])
def test_names_that_are_paths_are_rejected(panel, name):
    assert panel.client.post("/api/config/save", json={"name": name}).status_code == 422
    assert panel.client.get(f"/api/config/load/{name.replace('..', '%2e%2e')}").status_code == 404


def test_validation_reports_errors_and_warnings_with_paths(panel):
    good = panel.client.post("/api/config/validate", json=panel.document).json()
    assert (good["ok"], good["valid"], good["errors"]) == (True, True, [])
    document = {**panel.document, "resolution": "big", "colour": "red"}
    bad = panel.client.post("/api/config/validate", json={"config": document}).json()
    assert bad["valid"] is False
    assert "resolution" in {item["path"] for item in bad["errors"]}
    assert "colour" in {item["path"] for item in bad["warnings"]}
    wrong = panel.client.post("/api/config/validate", json={"epochs": "many"}).json()
    assert [item["path"] for item in wrong["errors"]] == ["epochs"]
    assert panel.client.post("/api/config/validate").json()["valid"] in {True, False}


def test_aliases_of_settings(panel):
    """The names that other trainers use are listed by path, including those of settings inside concepts."""
    aliases = panel.client.get("/api/config/aliases").json()["aliases"]
    assert "network_dim" in aliases["lora_rank"]
    assert "lr" in aliases["unet.learning_rate"]
    assert "num_repeats" in aliases["concepts[].balancing"]


def test_schema_and_defaults(panel):
    schema = panel.client.get("/api/config/schema").json()
    assert schema["properties"]["learning_rate"]["description"]
    assert schema["x-groups"]
    wanted = {"model_type": "STABLE_DIFFUSION_15", "method": "FINE_TUNE"}
    defaults = panel.client.get("/api/config/defaults", params=wanted).json()
    assert defaults["config"]["training_method"] == "FINE_TUNE"
    assert panel.client.get("/api/config/defaults", params={"model_type": "NOPE"}).status_code == 422


def test_export_and_import_keep_the_settings(panel):
    """An export can be imported again. It has no secrets, and its file has a name."""
    panel.client.put("/api/config/current", json={"config": {**panel.document, "epochs": 5}, "name": "fünf"})
    export = panel.client.get("/api/config/export?packed=true")
    assert "f%C3%BCnf.json" in export.headers["content-disposition"]
    assert "secrets" not in export.text
    panel.client.put("/api/config/current", json={"config": {}})
    reply = panel.client.post("/api/config/import", content=export.content).json()
    assert reply["config"]["epochs"] == 5
    assert reply["config"]["concepts"] == json.loads(export.text)["concepts"]


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff\xfe", b'{"epochs": "many"}'])
def test_a_bad_import_changes_nothing(panel, body):
    before = current(panel)
    reply = panel.client.post("/api/config/import", content=body)
    assert reply.status_code == 422
    assert reply.json()["errors"]
    assert current(panel) == before


def test_a_huge_import_is_rejected(panel):
    reply = panel.client.post("/api/config/import", content=b"x" * 9_000_000)
    assert (reply.status_code, reply.json()["ok"]) == (413, False)


def test_secrets_go_in_and_never_come_out(panel, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    secret = "hf_very_secret_value"
    reply = panel.client.put("/api/secrets", json={"huggingface_token": secret})
    assert reply.json() == {"ok": True, "huggingface_token": True}
    seen = [panel.client.get(path).text for path in ("/api/secrets", "/api/config/current", "/api/config/export", "/api/events")]
    assert not any(secret in text for text in seen)
    assert panel.client.delete("/api/secrets").json()["huggingface_token"] is False


def test_what_differs_from_a_preset_is_reported_before_it_is_opened(panel):
    """The settings stay the same; each difference has its path and both values."""
    before = current(panel)
    reply = panel.client.get("/api/config/diff", params={"name": "SDXL/LoRA 8 GB"}).json()
    differing = {entry["path"]: (entry["before"], entry["after"]) for entry in reply["differences"]}
    assert differing["model_type"] == (before["config"]["model_type"], "STABLE_DIFFUSION_XL_10_BASE")
    assert current(panel)["revision"] == before["revision"]
    assert panel.client.get("/api/config/diff", params={"name": "nothing"}).status_code == 404


def test_the_defaults_of_an_optimizer_come_by_one_request(panel):
    """The request names the revision it is based on, as every change does."""
    revision = current(panel)["revision"]
    changes = {"optimizer.optimizer": "ADAMW", "optimizer.beta1": 0.5}
    revision = panel.client.patch("/api/config/current", json={"revision": revision, "changes": changes}).json()["revision"]
    reply = panel.client.post("/api/config/optimizer/defaults", json={"revision": revision}).json()
    assert reply["config"]["optimizer"]["beta1"] == 0.9
    assert panel.client.post("/api/config/optimizer/defaults", json={"revision": revision}).status_code == 409


def test_two_sources_are_compared(panel):
    """GET accepts names, POST also documents; an invalid source is rejected with the valid ones."""
    panel.client.put("/api/config/current", json={"config": panel.document, "name": "small"})
    panel.client.post("/api/config/save", json={"name": "mine"})
    run_id = panel.finished()
    panel.client.put("/api/config/current", json={"config": {**panel.document, "epochs": 41}})
    entry = {"path": "epochs", "title": "Epochs", "before": panel.document["epochs"], "after": 41}
    for left in ("saved:mine", "run:latest", f"run:{run_id}"):
        reply = panel.client.get("/api/config/diff", params={"left": left, "right": "current"}).json()
        assert reply["differences"] == [entry], left
    assert reply["left"] == {"kind": "run", "name": run_id, "title": "try"}
    sides = {"left": {"kind": "document", "document": panel.document}, "right": {"kind": "current"}}
    assert panel.client.post("/api/config/diff", json=sides).json()["differences"] == [entry]
    for bad, status in (("draft", 422), ("saved", 422), ("saved:nothing", 404), ("run:nothing", 404)):
        assert panel.client.get("/api/config/diff", params={"right": bad}).status_code == status, bad
    assert (
        panel.client.post("/api/config/diff", json={"left": {"kind": "document"}, "right": {"kind": "current"}}).status_code
        == 422
    )


def test_saved_configurations_are_renamed_duplicated_and_exported(panel):
    """Nothing is overwritten unless requested; the form follows the new name."""
    panel.client.put("/api/config/current", json={"config": {**panel.document, "epochs": 3}, "name": "three"})
    panel.client.post("/api/config/save", json={"name": "mine"})
    assert panel.client.post("/api/config/save", json={"name": "MINE", "over": False}).status_code == 409
    assert panel.client.post("/api/config/duplicate", json={"name": "mine"}).json() == {"ok": True, "name": "mine copy"}
    assert panel.client.post("/api/config/duplicate", json={"name": "mine", "to": "mine copy"}).status_code == 409
    assert panel.client.post("/api/config/rename", json={"name": "mine", "to": "mine copy"}).status_code == 409
    assert panel.client.post("/api/config/rename", json={"name": "mine", "to": "yours"}).json()["name"] == "yours"
    assert panel.client.post("/api/config/rename", json={"name": "mine", "to": "x"}).status_code == 404
    assert panel.client.post("/api/config/rename", json={"name": "yours", "to": "../x"}).status_code == 422
    assert current(panel)["name"] == "yours"
    panel.client.put("/api/config/current", json={"config": {}})
    alone = panel.client.get("/api/config/export", params={"name": "yours", "packed": False})
    assert (alone.json()["epochs"], alone.json()["concepts"]) == (3, None)
    assert "yours.json" in alone.headers["content-disposition"]
    assert panel.client.get("/api/config/export", params={"name": "yours"}).json()["concepts"]
    assert panel.client.get("/api/config/export", params={"name": "nothing"}).status_code == 404


def test_a_document_is_migrated_without_opening_it(panel):
    """Old keys move to their new places, unknown ones are reported, invalid ones are rejected with their path."""
    before = current(panel)["revision"]
    old = {"__version": 1, "unet_learning_rate": 0.5, "colour": "red"}
    reply = panel.client.post("/api/config/migrate", json=old).json()
    assert reply["config"]["unet"]["learning_rate"] == 0.5
    assert (reply["from_version"], reply["version"], reply["config"]["__version"]) == (1, 11, 11)
    assert "colour" in [note["path"] for note in reply["notes"]]
    assert reply["config"]["concepts"] is None
    assert (
        panel.client.post("/api/config/migrate", json={"concepts": [{"name": "a"}]}).json()["config"]["concepts"][0]["name"]
        == "a"
    )
    bad = panel.client.post("/api/config/migrate", json={"epochs": "many"})
    assert (bad.status_code, bad.json()["errors"][0]["path"]) == (422, "epochs")
    assert panel.client.post("/api/config/migrate", json={"__version": "two"}).status_code == 422
    assert current(panel)["revision"] == before


@pytest.mark.parametrize("path", ["validate", "migrate", "import", "current", "layers", "diff"])
def test_documents_of_any_form_are_answered_without_a_server_error(panel, path):
    """Deep nesting, endless numbers, invalid digits or a lone surrogate don't fail the server, and the settings stay readable."""
    deep = "[" * 300 + "]" * 300
    revision = panel.service.configs.revision()
    bodies = [
        f'{{"epochs": {deep}}}',
        '{"x": ' + '{"a":' * 300 + "1" + "}" * 301,
        f'{{"config": {{"x": {deep}}}, "options": {{"tags": {deep}}}}}',
        f'{{"revision": {revision}, "changes": {{"concepts": {deep}, "concepts.².path": 1, "epochs": 1e999999}}}}',
        f'{{"changes": {{"{"a." * 20_000}": 1, "concepts.99999999999999999999": {deep}}}}}',
        '{"epochs": 1e999999, "learning_rate": -1e999999}',
        '{"epochs": ' + "9" * 6000 + "}",
        '{"base_model_name": "\\ud800", "\\ud800": 1}',
        '{"left": {"kind": "current"}, "right": {"kind": "document", "document": {"x": ' + deep + "}}}",
        "[" * 100_000,
    ]
    for body in bodies:
        method = "PATCH" if path == "current" else "POST"
        reply = panel.client.request(method, f"/api/config/{path}", content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code < 500, (body[:80], reply.text[:200])
        assert panel.client.get("/api/config/current").status_code == 200
    assert panel.client.post("/api/config/validate", json={}).status_code == 200

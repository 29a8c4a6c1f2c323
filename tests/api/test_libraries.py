"""Presets over HTTP: the panel's own, and those of added folders."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow


def test_a_folder_is_added_seen_and_removed(panel, tmp_path):
    """Its presets are listed, opened and compared like the others; nothing is written to it."""
    folder = tmp_path / "training_presets"
    folder.mkdir()
    (folder / "#flux.json").write_text(json.dumps({"model_type": "FLUX_DEV_1", "training_method": "LORA", "epochs": 7}))
    reply = panel.client.post("/api/config/libraries", json={"folder": str(folder), "title": "Mine"}).json()
    assert reply["libraries"] == [{"title": "Mine", "folder": str(folder), "kept": True, "present": True, "presets": 1}]
    listed = panel.client.get("/api/config/list").json()["configs"]
    assert [item["name"] for item in listed if item["kind"] == "library"] == ["Mine/#flux"]
    assert panel.client.get("/api/config/load/Mine%2F%23flux").json()["config"]["epochs"] == 7
    diff = panel.client.get("/api/config/diff", params={"right": "library:Mine/#flux"}).json()
    assert diff["differences"] == []
    assert panel.client.delete("/api/config/libraries/Mine").json()["libraries"] == []
    assert panel.client.delete("/api/config/libraries/Mine").status_code == 404
    assert panel.client.get("/api/config/load/Mine%2F%23flux").status_code == 404
    assert [path.name for path in folder.iterdir()] == ["#flux.json"]


def test_a_folder_that_is_not_there_is_named(panel, tmp_path):
    reply = panel.client.post("/api/config/libraries", json={"folder": str(tmp_path / "nowhere")})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["path"] == "folder"
    assert panel.client.get("/api/config/libraries").json()["libraries"] == []


def test_presets_are_found_by_model_method_memory_and_words(panel):
    """A program has the same filters as a person; a preset can be read without opening it."""
    before = panel.client.get("/api/config/current").json()["revision"]
    wanted = {"model_type": "STABLE_DIFFUSION_XL_10_BASE", "method": "LORA", "memory_gb": 8}
    found = panel.client.get("/api/config/presets", params=wanted).json()["presets"]
    assert "SDXL/LoRA 8 GB" in [item["name"] for item in found]
    assert all(item["summary"]["memory_gb"] <= 8 for item in found)
    assert panel.client.get("/api/config/presets", params={"search": "no such words"}).json()["presets"] == []
    one = panel.client.get("/api/config/presets/SDXL/LoRA 8 GB").json()
    assert (one["kind"], one["config"]["model_type"]) == ("preset", "STABLE_DIFFUSION_XL_10_BASE")
    assert one["summary"]["note"]
    assert panel.client.get("/api/config/presets/nothing").status_code == 404
    assert panel.client.get("/api/config/current").json()["revision"] == before

"""Search and downloads over REST, from a stand-in for the Hugging Face Hub.

Covers ``service/hub/models.py`` and ``downloads.py``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from onetrainer_gradio.config.files.resolve import resolve_paths
from onetrainer_gradio.engine.hub import Hub
from onetrainer_gradio.errors import ForbiddenPathError
from onetrainer_gradio.service import ServiceSettings, TrainerService
from tests.api.test_new_lora import ANSWERS
from tests.fakes.hub import FakeHub
from tests.service.hub.test_downloads import NAME, add_model

pytestmark = pytest.mark.slow


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stand-in, with the library's cache in a temporary folder."""
    with FakeHub() as stand_in:
        monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        add_model(stand_in, downloads=7)
        yield stand_in


def test_a_model_is_found_described_and_downloaded(panel, hub):
    found = panel.client.get("/api/hub/models", params={"search": "tiny"}).json()["models"]
    assert [(each["id"], each["downloads"], each["local"]) for each in found] == [(NAME, 7, False)]
    described = panel.client.get(f"/api/hub/models/{NAME}").json()["model"]
    assert described["bytes"] > 0
    started = panel.client.post("/api/hub/downloads", json={"repo": NAME})
    assert started.status_code == 200, started.text
    download = started.json()["download"]
    assert download["total"] == described["bytes"]
    panel.service.downloads.wait(download["id"], 30)
    listed = panel.client.get("/api/hub/downloads").json()["downloads"]
    assert [(each["state"], each["done"]) for each in listed] == [("done", described["bytes"])]
    assert panel.client.get(f"/api/hub/models/{NAME}").json()["model"]["local"] is True
    assert panel.client.post(f"/api/hub/downloads/{download['id']}/pause").status_code == 409
    assert panel.client.delete(f"/api/hub/downloads/{download['id']}").json() == {"ok": True}
    assert panel.client.get(f"/api/hub/downloads/{download['id']}").status_code == 404


@pytest.mark.exhaustive
def test_a_download_lands_where_runs_with_the_current_settings_look(panel, hub, tmp_path):
    """This includes New LoRA, which keeps the folder; the default cache stays empty."""
    answers = {**ANSWERS, "preset": "SD 1.5/LoRA 4 GB", "base_model": NAME}
    revision = panel.client.get("/api/config/current").json()["revision"]
    body = {"revision": revision, "changes": {"huggingface_cache_dir": "own/cache"}}
    assert panel.client.patch("/api/config/current", json=body).status_code == 200
    download = panel.client.post("/api/hub/downloads", json={"repo": NAME}).json()["download"]
    assert download["cache"] == str(panel.service.settings.data_folder / "own" / "cache" / "hub")
    assert panel.service.downloads.wait(download["id"], 30)["state"] == "done"
    assert panel.client.get(f"/api/hub/models/{NAME}").json()["model"]["local"] is True
    planned = panel.client.post("/api/new_lora/plan", json=answers).json()
    assert planned["changes"]["huggingface_cache_dir"] == "own/cache"
    assert "model_download" not in [each["code"] for each in planned["findings"]]
    config = resolve_paths(panel.service.configs.train_config(), panel.service.settings.data_folder)
    access = replace(Hub.of(config), offline=True)
    assert (access.locate(NAME, ("*.json",)) / "model_index.json").is_file()
    assert not (tmp_path / "cache").exists()


def test_nothing_is_downloaded_outside_the_allowed_folders(hub, tmp_path):
    data, outside = tmp_path / "data", tmp_path / "outside"
    settings = ServiceSettings(data_folder=data, backend="tests.fakes.rehearsal:run", allowed_roots=(tmp_path / "allowed",))
    service = TrainerService(settings)
    service.configs.replace(service.configs.train_config().model_copy(update={"huggingface_cache_dir": str(outside)}))
    with pytest.raises(ForbiddenPathError, match="outside the allowed folders"):
        service.downloads.start(NAME)
    assert [each["local"] for each in service.hub_models.search("tiny")] == [False]
    assert not outside.exists()
    service.close()


@pytest.mark.exhaustive
def test_a_download_is_paused_and_resumed(panel, hub):
    hub.fault("/resolve/", times=100, bytes_per_s=300_000)
    download = panel.client.post("/api/hub/downloads", json={"repo": NAME}).json()["download"]
    path = f"/api/hub/downloads/{download['id']}"
    assert panel.client.post(f"{path}/pause").json()["download"]["state"] == "paused"
    hub.faults.clear()
    assert panel.client.post(f"{path}/resume").status_code == 200
    assert panel.service.downloads.wait(download["id"], 30)["state"] == "done"


def test_errors_of_the_hub_and_wrong_input_have_their_status(panel, hub):
    assert panel.client.get("/api/hub/models", params={"search": ""}).status_code == 422
    assert panel.client.post("/api/hub/downloads", json={"repo": "../x"}).status_code == 422
    assert panel.client.post("/api/hub/downloads", json={"repo": NAME, "revision": "../../x"}).status_code == 422
    assert panel.client.post("/api/hub/downloads", json={"repo": "maker/none"}).status_code == 404
    hub.fault("GET /api/models", status=503, times=100)
    assert panel.client.get("/api/hub/models", params={"search": "x"}).status_code == 424

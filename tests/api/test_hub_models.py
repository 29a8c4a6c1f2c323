"""Search and downloads over REST, from a stand-in for the hub. Covers ``service/hub/models.py`` and ``downloads.py``."""

from __future__ import annotations

import pytest

from tests.fakes.hub import FakeHub
from tests.service.hub.test_downloads import NAME, add_model


@pytest.fixture
def hub(panel, monkeypatch, tmp_path):
    """The stand-in, with the cache of the library in a folder of the test."""
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
    assert panel.client.post("/api/hub/downloads", json={"repo": "maker/none"}).status_code == 404
    hub.fault("GET /api/models", status=503, times=100)
    assert panel.client.get("/api/hub/models", params={"search": "x"}).status_code == 424

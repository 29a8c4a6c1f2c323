"""Files and folders over HTTP."""

from __future__ import annotations

from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.service import ServiceSettings, TrainerService
from onetrainer_gradio.service.access import Access, AccessSettings
from tests.api.conftest import ADDRESS


def test_the_data_folder_is_listed_first(panel):
    """Without a path; places to begin at come along."""
    data = panel.service.settings.data_folder
    (data / "model.safetensors").write_bytes(b"12345")
    listing = panel.client.get("/api/files", params={"kind": "model"}).json()
    assert listing["path"] == str(data)
    assert listing["entries"][-1] | {"modified_at": 0} == {
        "name": "model.safetensors",
        "path": str(data / "model.safetensors"),
        "folder": False,
        "bytes": 5,
        "modified_at": 0,
    }
    assert listing["places"][0] == {"title": "Data folder", "path": str(data)}
    assert panel.client.get("/api/files", params={"path": "nowhere"}).status_code == 404
    assert panel.client.get("/api/files", params={"kind": "movie"}).status_code == 422


def test_folders_outside_the_allowed_ones_are_403(tmp_path):
    """A panel with allowed folders shows nothing else."""
    (tmp_path / "allowed").mkdir()
    service = TrainerService(ServiceSettings(data_folder=tmp_path / "data", allowed_roots=(tmp_path / "allowed",)))
    client = TestClient(create_api(service, Access(AccessSettings())), base_url=ADDRESS)
    assert client.get("/api/files", params={"path": str(tmp_path / "allowed")}).status_code == 200
    for path in (str(tmp_path), "..", "/"):
        reply = client.get("/api/files", params={"path": path})
        assert (reply.status_code, reply.json()["ok"]) == (403, False)
    assert client.post("/api/config/libraries", json={"folder": str(tmp_path)}).status_code == 403

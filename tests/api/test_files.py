"""Files and folders over HTTP."""

from __future__ import annotations

import json
import os

import pytest
from PIL import Image
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.service import ServiceSettings, TrainerService
from onetrainer_gradio.service.host.access import Access, AccessSettings
from tests.api.conftest import ADDRESS

pytestmark = pytest.mark.slow


def test_the_data_folder_is_listed_first(panel):
    """Without a path, the data folder is listed, and starting points come with it."""
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


@pytest.mark.exhaustive
def test_images_of_a_folder_have_thumbnails(panel):
    """The file picker counts the images of a folder and shows the first ones, even if no concept uses the folder."""
    folder = panel.service.settings.data_folder / "dataset"
    folder.mkdir()
    for number in range(20):
        Image.new("RGB", (32, 16), (number, 0, 0)).save(folder / f"{number}.png")
    listing = panel.client.get("/api/files", params={"path": str(folder), "kind": "folder"}).json()
    assert (listing["images"], listing["other_files"], len(listing["thumbnails"])) == (20, 0, 12)
    shown = panel.client.get(listing["thumbnails"][0], params={"w": 96})
    assert shown.headers["content-type"] == "image/webp"


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


def test_a_folder_is_made_inside_the_allowed_ones(tmp_path):
    """The response has its path. Outside it is 403, an existing name 409, a name with a path 422, and nothing is created."""
    (tmp_path / "allowed").mkdir()
    service = TrainerService(ServiceSettings(data_folder=tmp_path / "data", allowed_roots=(tmp_path / "allowed",)))
    client = TestClient(create_api(service, Access(AccessSettings())), base_url=ADDRESS)

    def make(path, name):
        return client.post("/api/files/folder", json={"path": str(path), "name": name})

    made = make(tmp_path / "allowed", "my run")
    assert (made.status_code, made.json()) == (200, {"ok": True, "path": str(tmp_path / "allowed" / "my run")})
    again = make(tmp_path / "allowed", "my run")
    assert (again.status_code, again.json()["errors"][0]["path"]) == (409, "name")
    for path, name, status in (
        (tmp_path, "x", 403),
        ("..", "x", 403),
        (tmp_path / "allowed", "../x", 422),
        (tmp_path / "allowed", str(tmp_path / "x"), 422),
        (tmp_path / "allowed" / "nowhere", "x", 404),
    ):
        assert make(path, name).status_code == status, (path, name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["allowed", "data"]
    assert [each.name for each in (tmp_path / "allowed").iterdir()] == ["my run"]


def test_making_a_folder_is_guarded_like_every_change(tmp_path):
    """Without the password, or from another site, nothing is created."""
    service = TrainerService(ServiceSettings(data_folder=tmp_path / "data"))
    body = {"path": "", "name": "new"}
    locked = TestClient(create_api(service, Access(AccessSettings(password="a password of some length"))), base_url=ADDRESS)
    assert locked.post("/api/files/folder", json=body).status_code == 401
    open_to_all = TestClient(create_api(service, Access(AccessSettings())), base_url=ADDRESS)
    assert open_to_all.post("/api/files/folder", json=body, headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert not (tmp_path / "data" / "new").exists()
    assert open_to_all.post("/api/files/folder", json=body).status_code == 200
    assert (tmp_path / "data" / "new").is_dir()


def test_names_that_are_no_utf8_are_listed_and_can_be_set(panel, tmp_path):
    """A folder from an old archive opens in the file picker, and its path survives a round trip through the settings."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    asked = {"path": str(tmp_path), "kind": "folder", "search": "caf"}
    (listed,) = panel.client.get("/api/files", params=asked).json()["entries"]
    assert listed["path"] == str(folder)
    revision = panel.client.get("/api/config/current").json()["revision"]
    body = json.dumps({"revision": revision, "changes": {"workspace_dir": listed["path"]}})  # as a browser writes it
    changed = panel.client.patch("/api/config/current", content=body, headers={"Content-Type": "application/json"})
    assert changed.json()["config"]["workspace_dir"] == str(folder)
    panel.client.post("/api/config/save", json={"name": "old archive"})
    again = TrainerService(ServiceSettings(data_folder=panel.service.settings.data_folder)).configs
    assert again.train_config().workspace_dir == again.read("old archive")["workspace_dir"] == str(folder)

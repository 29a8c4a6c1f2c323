"""Datasets over REST: uploads, lists, and the responses to wrong requests.

Covers ``api/dataset_uploads.py``, ``api/dataset_files.py`` and ``api/dataset_jobs.py``.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.models.annotators import write_blip

pytestmark = pytest.mark.slow


def png(color: str = "red", size: tuple[int, int] = (64, 48)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "PNG")
    return out.getvalue()


def upload(client, name: str, content: bytes, dataset: str = "cats") -> dict:
    """Upload a file in two pieces."""
    upload_state = client.post("/api/datasets/uploads", json={"dataset": dataset, "name": name, "bytes": len(content)}).json()
    for piece in (content[: len(content) // 2], content[len(content) // 2 :]):
        reply = client.put(
            f"/api/datasets/uploads/{upload_state['id']}", params={"offset": upload_state["offset"]}, content=piece
        )
        assert reply.status_code == 200, reply.text
        upload_state = reply.json()
    return upload_state


@pytest.fixture
def cats(panel):
    """A panel with the dataset cats: a captioned image and one without."""
    made = panel.client.post("/api/datasets", json={"name": "cats"}).json()["dataset"]
    assert made == {**made, "folder": "datasets/cats", "images": 0}
    upload(panel.client, "a.png", png())
    upload(panel.client, "a.txt", b"sks cat, red")
    upload(panel.client, "b.png", png("blue", (48, 64)))
    return panel


def test_uploaded_images_are_listed_with_captions_and_thumbnails(cats):
    """The list shows what was uploaded, and a browser may cache its thumbnail forever."""
    page = cats.client.post("/api/datasets/images", json={"folder": "datasets/cats"}).json()
    assert (page["matches"], page["writable"], page["complete"]) == (2, True, True)
    first, second = page["images"]
    assert (first["path"], first["caption"], first["width"], first["height"]) == ("a.png", "sks cat, red", 64, 48)
    assert (second["caption"], second["caption_version"]) == (None, "")
    small = cats.client.get(first["thumbnail"], params={"w": 96})
    assert (small.headers["content-type"], "immutable" in small.headers["cache-control"]) == ("image/webp", True)
    found = cats.client.post("/api/datasets/images", json={"folder": "datasets/cats", "filter": {"caption": "missing"}}).json()
    assert [image["path"] for image in found["images"]] == ["b.png"]
    tags = cats.client.post("/api/datasets/tags", json={"folder": "datasets/cats"}).json()
    assert tags["tags"] == [["red", 1], ["sks cat", 1]]
    assert cats.client.get("/api/datasets").json()["datasets"][0]["images"] == 2


def test_an_upload_shows_its_offset_and_can_be_cancelled(cats):
    """It reports the offset after a broken connection and after a piece at the wrong position."""
    body = {"dataset": "cats", "name": "c.png", "bytes": 100}
    upload_state = cats.client.post("/api/datasets/uploads", json=body).json()
    path = f"/api/datasets/uploads/{upload_state['id']}"
    cats.client.put(path, params={"offset": 0}, content=b"x" * 40)
    wrong = cats.client.put(path, params={"offset": 10}, content=b"x")
    assert (wrong.status_code, wrong.json()["errors"][0]["value"]) == (409, 40)
    assert cats.client.get(path).json()["offset"] == 40
    assert cats.client.post("/api/datasets/uploads", json=body).json()["offset"] == 40
    assert [each["name"] for each in cats.client.get("/api/datasets/uploads").json()["uploads"]] == ["c.png"]
    assert cats.client.delete(path).status_code == 200
    assert cats.client.get(path).status_code == 404


def test_wrong_requests_are_answered_with_their_status(cats):
    """This covers invalid names, types, folders and datasets."""
    client = cats.client
    assert client.post("/api/datasets", json={"name": "cats"}).status_code == 409
    assert client.post("/api/datasets", json={"name": "../x"}).status_code == 422
    for name in ("../a.png", "a.exe", "/etc/passwd"):
        assert client.post("/api/datasets/uploads", json={"dataset": "cats", "name": name, "bytes": 1}).status_code == 422
    assert client.post("/api/datasets/uploads", json={"dataset": "..", "name": "a.png", "bytes": 1}).status_code == 404
    assert client.post("/api/datasets/images", json={"folder": "datasets/dogs"}).status_code == 404
    assert client.post("/api/datasets/images", json={"folder": ""}).status_code == 404


def test_a_dataset_is_renamed_and_deleted(cats):
    """Deleting moves it to the trash folder."""
    assert cats.client.post("/api/datasets/cats/rename", json={"name": "kittens"}).json()["dataset"]["images"] == 2
    trash = Path(cats.client.delete("/api/datasets/kittens").json()["trash"])
    assert sorted(path.name for path in trash.iterdir()) == ["a.png", "a.txt", "b.png"]
    assert cats.client.get("/api/datasets").json()["datasets"] == []


def test_captions_are_edited_changed_and_undone(cats):
    """An outdated version is 409 with both texts; a bulk change has a preview."""
    client, where = cats.client, {"folder": "datasets/cats", "image": "a.png"}
    read = client.get("/api/datasets/captions", params=where).json()
    written = client.put("/api/datasets/captions", json={**where, "text": "sks cat, green", "version": read["version"]})
    assert written.status_code == 200
    conflict = client.put("/api/datasets/captions", json={**where, "text": "other", "version": read["version"]})
    value = conflict.json()["errors"][0]["value"]
    assert (conflict.status_code, value["yours"], value["theirs"]) == (409, "other", "sks cat, green")
    body = {"folder": "datasets/cats", "edit": {"kind": "add_tags", "tags": ["new"]}}
    preview = client.post("/api/datasets/captions/change", json={**body, "preview": True}).json()
    assert [(each["path"], each["after"]) for each in preview["examples"]] == [("a.png", "sks cat, green, new"), ("b.png", "new")]
    only = {**body, "filter": {"caption": "present"}}
    assert client.post("/api/datasets/captions/change", json=only).json()["changed"] == 1
    assert client.get("/api/datasets/captions/undo", params=where).json()["last"]["images"] == 1
    assert client.post("/api/datasets/captions/undo", json={"folder": "datasets/cats"}).json()["undone"] == 1
    assert client.get("/api/datasets/captions", params=where).json()["text"] == "sks cat, green"
    assert client.post("/api/datasets/captions/change", json={**body, "edit": {"kind": "trigger"}}).status_code == 422


def test_images_are_trashed_restored_excluded_and_moved(cats):
    """The caption moves with the image."""
    client, body = cats.client, {"folder": "datasets/cats", "images": ["a.png"]}
    entry = client.post("/api/datasets/images/trash", json=body).json()["entry"]
    assert client.get("/api/datasets/trash", params=body).json()["entries"][0]["count"] == 2
    assert client.post("/api/datasets/images/trash", json=body).status_code == 404
    assert client.post("/api/datasets/trash/restore", json={**body, "entry": entry}).json()["restored"] == 2
    assert client.post("/api/datasets/images/exclude", json=body).json()["moved"] == 2
    back = {"folder": "datasets/cats", "filter": {"excluded": True}}
    assert client.post("/api/datasets/images/include", json=back).json()["moved"] == 2
    client.post("/api/datasets", json={"name": "dogs"})
    assert client.post("/api/datasets/images/move", json={**body, "to": "datasets/dogs"}).json()["moved"] == 2


@pytest.mark.exhaustive
def test_an_image_is_rotated_and_masked(cats):
    """The new image and its mask have the new size."""
    client, where = cats.client, {"folder": "datasets/cats", "image": "a.png"}
    assert client.post("/api/datasets/images/edit", json={**where, "rotate": 90}).json()["path"] == "a.png"
    assert client.put("/api/datasets/masks", params=where, content=png("white")).status_code == 200
    for what in ("image", "mask"):
        content = client.get("/api/datasets/images/file", params={**where, "what": what}).content
        assert Image.open(io.BytesIO(content)).size == (48, 64)
    assert client.delete("/api/datasets/masks", params=where).status_code == 200
    assert client.get("/api/datasets/images/file", params={**where, "what": "mask"}).status_code == 404


def test_buckets_and_inspection_answer_for_a_folder(cats):
    """Buckets use the configured or another resolution; the inspection has a report, single operations, and a job that ends."""
    client, folder = cats.client, "datasets/cats"
    view = client.post("/api/datasets/buckets", json={"folder": folder, "resolution": "64"}).json()
    assert (view["matches"], view["resolutions"][0]["resolution"]) == (2, "64")
    assert client.post("/api/datasets/buckets", json={"folder": folder, "resolution": "big"}).status_code == 422
    upload(client, "copy.png", png())
    started = client.post("/api/datasets/inspection", json={"folder": folder, "resolution": "64"})
    job = client.get(f"/api/datasets/jobs/{started.json()['job']['id']}", params={"wait": 30}).json()["job"]
    assert (job["state"], job["done"]) == ("done", 3)
    report = client.get("/api/datasets/inspection", params={"folder": folder}).json()
    assert report["counts"] == {"exact": 1}
    assert report["groups"][0]["keep"] == "a.png"
    listed = client.post("/api/datasets/images", json={"folder": folder, "filter": {"duplicates": True}}).json()
    assert [image["path"] for image in listed["images"]] == ["a.png", "copy.png"]
    assert client.post("/api/datasets/inspection/fix", json={"folder": folder, "kind": "exact"}).json()["fixed"] == 1
    assert client.get("/api/datasets/inspection", params={"folder": folder}).json()["groups"] == []
    body = {"folder": folder, "kind": "small", "images": ["b.png"]}
    assert client.post("/api/datasets/inspection/ignore", json=body).status_code == 200


@pytest.mark.exhaustive
def test_a_captioning_job_is_started_followed_and_listed(cats, tmp_path, monkeypatch):
    """It works over REST as in Python; a missing model ends the job with a reason."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    client, body = (
        cats.client,
        {"folder": "datasets/cats", "task": "caption", "kind": "transformers", "options": {"max_tokens": 3}},
    )
    model = str(write_blip(tmp_path / "blip"))
    for name, state in ((model, "done"), ("nobody/nothing", "failed")):
        job = client.post("/api/datasets/annotate", json={**body, "model": name, "preview": True}).json()["job"]
        for _ in range(8):
            found = client.get(f"/api/datasets/jobs/{job['id']}", params={"wait": 30}).json()
            if found["job"]["state"] != "running":
                break
        assert found["job"]["state"] == state, found
    assert "nobody/nothing" in found["job"]["error"]
    assert [each["state"] for each in client.get("/api/datasets/jobs").json()["jobs"]] == ["failed", "done"]
    assert client.post(f"/api/datasets/jobs/{job['id']}/stop").status_code == 200
    assert client.get("/api/datasets/models", params={"task": "mask"}).json()["models"][0]["kind"] == "text"
    assert client.get("/api/datasets/mask-previews/nope").status_code == 404

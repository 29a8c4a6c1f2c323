"""Image folders over REST."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.mark.exhaustive
def test_statistics_thumbnail_and_preview_go_together(panel):
    """The statistics name a thumbnail that a browser may cache forever; a preview shows several augmentations of an image."""
    panel.service.configs.replace(panel.document)
    statistics = panel.client.post("/api/concepts/statistics", json={}).json()
    (red,) = statistics["concepts"]
    assert (red["name"], red["images"], red["captions"]["missing"]) == ("red", 2, 0)
    assert statistics["total"]["per_epoch"] == 2
    small = panel.client.get(red["thumbnail"], params={"w": 96})
    assert small.headers["content-type"] == "image/webp"
    assert "immutable" in small.headers["cache-control"]
    assert Image.open(io.BytesIO(small.content)).format == "WEBP"
    preview = panel.client.post("/api/concepts/preview", json={"index": 0, "variants": 3}).json()
    assert (preview["file"], preview["images"], len(preview["variants"])) == ("one.png", 2, 3)
    assert preview["variants"][0]["caption"] == "a red square"


@pytest.mark.exhaustive
def test_settings_that_are_not_saved_can_be_looked_at(panel):
    """The changes are applied for the answer only."""
    panel.service.configs.replace(panel.document)
    changes = {"concepts.0.balancing": 5, "resolution": "64"}
    statistics = panel.client.post("/api/concepts/statistics", json={"index": 0, "changes": changes}).json()
    assert (statistics["concepts"][0]["per_epoch"], statistics["total"]) == (10, None)
    assert statistics["concepts"][0]["resolutions"][0]["buckets"][0]["width"] == 64
    changes = {"concepts.0.text.prompt_source": "filename"}
    shown = panel.client.post("/api/concepts/preview", json={"index": 0, "changes": changes}).json()
    assert shown["captions"] == ["one"]
    assert panel.service.configs.train_config().concepts[0].balancing == 1


def test_what_is_not_there_is_reported(panel):
    """Unknown concepts and images are 404, an empty folder is 422."""
    panel.service.configs.replace(panel.document)
    assert panel.client.post("/api/concepts/statistics", json={"index": 9}).status_code == 404
    assert panel.client.post("/api/concepts/preview", json={"index": 9}).status_code == 404
    assert panel.client.get("/api/concepts/images/nope").status_code == 404
    assert panel.client.get("/api/concepts/images/..%2f..%2fx").status_code == 404
    (panel.folder / "empty").mkdir()
    changes = {"concepts.0.path": str(panel.folder / "empty")}
    reply = panel.client.post("/api/concepts/preview", json={"index": 0, "changes": changes})
    assert (reply.status_code, reply.json()["errors"][0]["path"]) == (422, "concepts.0.path")


def test_captions_are_converted_on_demand(panel):
    """The finding about them is gone afterwards; a missing concept is 404, an unknown format 422."""
    panel.service.configs.replace(panel.document)
    folder = Path(panel.service.configs.train_config().concepts[0].path)
    (folder / "one.txt").write_bytes("ein Kätzchen".encode("cp1252"))
    codes = {item["code"] for item in panel.service.configs.validate()}
    assert "captions-encoding" in codes
    answer = panel.client.post("/api/concepts/convert", json={"index": 0, "what": "captions"}).json()
    assert (answer["converted"], answer["made"], answer["failed"]["count"], answer["left"]) == (1, ["one.txt"], 0, 0)
    assert (folder / "one.txt").read_text(encoding="utf-8") == "ein Kätzchen"
    assert "captions-encoding" not in {item["code"] for item in panel.service.configs.validate()}
    assert panel.client.post("/api/concepts/convert", json={"index": 9, "what": "captions"}).status_code == 404
    assert panel.client.post("/api/concepts/convert", json={"index": 0, "what": "videos"}).status_code == 422

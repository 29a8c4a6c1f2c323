"""Samples over REST.

Covers ``api/waiting.py``.
"""

from __future__ import annotations

import io

import pytest
from PIL import Image

from onetrainer_gradio.api.samples import prefers_image

pytestmark = pytest.mark.slow


def kind_of(content: bytes) -> str | None:
    return Image.open(io.BytesIO(content)).format


def test_samples_come_newest_first_in_pages(panel):
    panel.finished(steps=7, sample_every=1)
    first = panel.client.get("/api/samples/list", params={"limit": 3}).json()
    second = panel.client.get("/api/samples/list", params={"limit": 9, "before": first["next"]}).json()
    steps = [item["global_step"] for item in first["samples"] + second["samples"]]
    assert steps == [7, 6, 5, 4, 3, 2, 1]
    assert second["next"] is None
    assert [item["global_step"] for item in panel.client.get("/api/samples/latest?n=2").json()["samples"]] == [7, 6]


@pytest.mark.exhaustive
def test_a_sample_is_metadata_or_an_image(panel):
    """The Accept header decides, or a sub-path that browsers may cache forever."""
    panel.finished(steps=1, sample_every=1)
    sample = panel.client.get("/api/samples/latest").json()["samples"][0]
    path = f"/api/samples/{sample['id']}"
    assert panel.client.get(path).json() == sample
    assert panel.client.get(path, headers={"Accept": "text/html,application/json;q=0.9,image/webp;q=0.1"}).json() == sample
    shown = panel.client.get(path, headers={"Accept": "image/avif,image/webp,image/*,*/*;q=0.8"})
    assert (shown.headers["content-type"], kind_of(shown.content), shown.headers["vary"]) == ("image/png", "PNG", "Accept")
    image = panel.client.get(sample["path"])
    assert image.content == shown.content
    assert "immutable" in image.headers["cache-control"]
    assert "content-disposition" not in image.headers
    assert "attachment" in panel.client.get(sample["path"], params={"download": True}).headers["content-disposition"]
    small = panel.client.get(sample["thumbnail"], params={"w": 128})
    assert (small.headers["content-type"], kind_of(small.content)) == ("image/webp", "WEBP")
    assert "immutable" in small.headers["cache-control"]


def test_an_unknown_sample_is_404(panel):
    """An id is no path, so nothing outside the samples can be requested."""
    for sample_id in ("nope", "..%2f..%2fetc%2fpasswd", "2026-11-23_15-04-05-abcd.1", "x.y", "..."):
        for part in ("", "/image", "/thumbnail"):
            reply = panel.client.get(f"/api/samples/{sample_id}{part}")
            assert reply.status_code == 404, sample_id + part
            assert reply.json()["ok"] is False


def test_a_deleted_image_is_404(panel):
    panel.finished(steps=1, sample_every=1)
    sample = panel.client.get("/api/samples/latest").json()["samples"][0]
    panel.service.samples.path(sample["id"]).unlink()
    assert panel.client.get(sample["path"]).status_code == 404


def test_a_custom_sample_takes_parameters_and_rejects_bad_ones(panel):
    panel.training()
    bad = panel.client.post("/api/samples/custom", json={"prompt": "a cat", "diffusion_steps": "many"})
    assert bad.status_code == 422
    assert [item["path"] for item in bad.json()["errors"]] == ["diffusion_steps"]
    reply = panel.client.post("/api/samples/custom", json={"prompt": "a cat", "width": 64, "height": 64}).json()
    assert panel.client.get(f"/api/commands/{reply['command_id']}?wait=10").json()["outcome"] == "done"
    sample = panel.client.get("/api/samples/list?kind=custom").json()["samples"][0]
    assert (sample["prompt"], sample["kind"]) == ("a cat", "custom")
    assert panel.client.get("/api/samples/parameters").json()["diffusion_steps"] > 0


def test_what_is_left_out_of_a_custom_sample_goes_by_the_model_type(panel):
    """The defaults come from the named type, or from the settings; while a run is active, from its model."""
    named = panel.client.get("/api/samples/parameters?model_type=HUNYUAN_VIDEO").json()
    assert [named[key] for key in ("width", "height", "diffusion_steps", "cfg_scale")] == [848, 480, 30, 6.0]
    assert panel.client.get("/api/samples/parameters?model_type=WHO_KNOWS").json()["width"] == 512
    panel.training()
    usual = panel.client.get("/api/samples/parameters").json()
    assert (usual["width"], usual["cfg_scale"], usual["noise_scheduler"]) == (512, 7.5, "EULER_A")
    panel.client.put("/api/config/current", json={"config": {"model_type": "SANA"}})
    assert panel.client.get("/api/samples/parameters").json() == usual
    reply = panel.client.post("/api/samples/custom", json={"prompt": "a cat", "diffusion_steps": 12}).json()
    assert panel.client.get(f"/api/commands/{reply['command_id']}?wait=10").json()["outcome"] == "done"
    sample = panel.client.get("/api/samples/list?kind=custom").json()["samples"][0]
    assert [sample[key] for key in ("diffusion_steps", "cfg_scale", "noise_scheduler")] == [12, 7.5, "EULER_A"]
    panel.client.post("/api/training/stop")
    panel.service.wait_for(lambda state: not state["process_running"], 20)
    assert panel.client.get("/api/samples/parameters").json()["width"] == 1024


def test_sampling_without_a_run_is_rejected(panel):
    assert panel.client.post("/api/samples/default").status_code == 409
    assert panel.client.post("/api/samples/custom", json={"prompt": "x"}).status_code == 409


def test_samples_of_an_unknown_run_are_404(panel):
    assert panel.client.get("/api/samples/list?run_id=nope").status_code == 404


@pytest.mark.parametrize(
    ("accept", "image"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("image/png", True),
        ("image/*,application/json;q=0.5", True),
        ("image/*;q=0.4,application/json;q=0.5", False),
        ("text/html,application/xhtml+xml,image/avif,*/*;q=0.8", False),
        ("image/png;q=nonsense", False),
    ],
)
def test_which_accept_headers_want_the_image(accept, image):
    assert prefers_image(accept) is image

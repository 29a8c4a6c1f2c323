"""The consequences of settings over REST."""

from __future__ import annotations

import time

import pytest

from onetrainer_gradio.demo import DEMO_FOLDER

pytestmark = pytest.mark.slow


def test_the_draw_of_timesteps_follows_settings_that_are_not_kept(panel):
    """Changes are applied for the answer only; a curve shows how often each bin is sampled."""
    revision = panel.service.configs.revision()
    even = panel.client.post("/api/config/timesteps", json={}).json()
    assert (even["timesteps"], even["window"], even["dynamic"]) == (1000, [0, 1000], False)
    assert len(even["curves"][0]["density"]) == 200
    moved = panel.client.post("/api/config/timesteps", json={"changes": {"timestep_shift": 3}, "bins": 10}).json()
    assert len(moved["curves"][0]["density"]) == 10
    assert moved["curves"][0]["mean"] > even["curves"][0]["mean"] + 100
    assert panel.service.configs.revision() == revision


def test_dynamic_shifting_gives_a_curve_for_each_size(panel):
    """The curve is selected by width and height."""
    changes = {"model_type": "QWEN", "dynamic_timestep_shifting": True, "resolution": "512,1024"}
    found = panel.client.post("/api/config/timesteps", json={"changes": changes}).json()
    assert [(curve["width"], curve["height"]) for curve in found["curves"]] == [(512, 512), (1024, 1024)]
    assert found["curves"][0]["shift"] < found["curves"][1]["shift"]


def test_what_cannot_be_drawn_is_422_with_the_field(panel):
    """An invalid value and an impossible combination are both rejected with the path."""
    for changes, path in (
        ({"timestep_shift": -1}, "timestep_shift"),
        ({"min_noising_strength": 0.9, "max_noising_strength": 0.1}, "max_noising_strength"),
    ):
        reply = panel.client.post("/api/config/timesteps", json={"changes": changes})
        assert reply.status_code == 422
        assert [error["path"] for error in reply.json()["errors"]] == [path]


def test_a_layer_filter_is_counted_and_listed_on_demand(panel):
    """Without a filter, all layers count; names are listed only if requested."""
    every = panel.client.post("/api/config/layers", json={"changes": {"layer_filter": ""}}).json()
    assert every["known"]
    assert every["taken"] == every["total"] > 100
    assert every["names"] is None
    some = panel.client.post("/api/config/layers", json={"changes": {"layer_filter": "attn1.to_q"}, "names": True}).json()
    assert some["taken"] == len(some["names"]) == 16
    assert all("attn1.to_q" in name for name in some["names"])
    assert some["patterns"] == [{"pattern": "attn1.to_q", "taken": 16, "late": 0}]


def test_the_filter_of_the_quantization_is_its_own(panel):
    """Its pattern comes from its own setting."""
    changes = {"quantization.layer_filter": "attn2", "layer_filter": "attn1.to_q"}
    found = panel.client.post("/api/config/layers", json={"changes": changes, "of": "quantization"}).json()
    assert [pattern["pattern"] for pattern in found["patterns"]] == ["attn2"]


def test_a_broken_pattern_is_422(panel):
    changes = {"layer_filter": "attn[", "layer_filter_regex": True}
    reply = panel.client.post("/api/config/layers", json={"changes": changes})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["path"] == "layer_filter"


@pytest.mark.exhaustive
@pytest.mark.alone
def test_a_pattern_that_never_ends_freezes_neither_the_page_nor_the_check(panel):
    """If the draft contains it, it is a finding and an error at the start, and all other requests are still answered."""
    slow = {"layer_filter": r"(\w+\.?)+!", "layer_filter_regex": True, "layer_filter_preset": "custom"}
    revision = panel.service.configs.revision()
    assert panel.client.patch("/api/config/current", json={"revision": revision, "changes": slow}).status_code == 200
    started = time.monotonic()
    counted = panel.client.post("/api/config/layers", json={})
    assert (counted.status_code, counted.json()["errors"][0]["path"]) == (422, "layer_filter")
    assert "took too long" in counted.json()["error"]
    found = panel.client.post("/api/config/validate", json={}).json()
    assert ("layer_filter", "layer-filter-slow") in {(error["path"], error["code"]) for error in found["errors"]}
    assert panel.client.get("/api/config/current").status_code == 200
    refused = panel.client.post("/api/training/start", json={})
    assert refused.status_code == 422
    assert "took too long" in refused.text
    assert time.monotonic() - started < 6


@pytest.mark.exhaustive
def test_the_memory_of_a_run_is_estimated_with_changes_that_are_not_kept(panel):
    """The peak is the one of its phase, and each step toward a limit reports its savings."""
    changes = {"model_type": "STABLE_DIFFUSION_15", "base_model_name": str(DEMO_FOLDER / "model"), "batch_size": 8}
    found = panel.client.post("/api/config/memory", json={"changes": changes}).json()
    assert found["peak_bytes"] == max(phase["total"] for phase in found["phases"])
    assert all(phase["total"] == sum(phase["bytes"].values()) for phase in found["phases"])
    assert "not yet calibrated" in found["note"]
    assert found["steps"] == []
    asked = {"changes": changes, "fit": True, "limit_bytes": found["peak_bytes"] * 2 // 3}
    steps = panel.client.post("/api/config/memory", json=asked).json()["steps"]
    assert steps[-1]["fits"]
    assert [step["fits"] for step in steps[:-1]] == [False] * (len(steps) - 1)
    refused = panel.client.post("/api/config/memory", json={"changes": {"model_type": "QWEN"}})
    assert refused.status_code >= 400
    assert "doesn't support" in refused.json()["error"]

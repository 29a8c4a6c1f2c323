"""New LoRA over REST: models, plan, and settings that a run starts from. Covers ``service/new_lora.py``."""

from __future__ import annotations

import pytest

from onetrainer_gradio.demo import IMAGES_FOLDER

ANSWERS = {"name": "Zorble", "folder": str(IMAGES_FOLDER), "preset": "Demo LoRA", "trigger_word": "zorble"}


def test_the_models_that_can_be_trained_here_come_first(panel) -> None:
    """Each with its license and size, or with the reason why not."""
    models = panel.client.get("/api/new_lora/models").json()["models"]
    assert models[0]["preset"] == "Demo LoRA"
    assert models[0]["local"] is True
    flags = [model["trainable"] for model in models]
    assert flags == sorted(flags, reverse=True)
    assert all(bool(model["reason"]) is not model["trainable"] for model in models)
    sdxl = next(model for model in models if model["model_type"] == "STABLE_DIFFUSION_XL_10_BASE")
    assert (sdxl["license"], sdxl["gigabytes"]) == ("CreativeML Open RAIL++-M", 13.9)
    assert len({model["base_model"] for model in models}) == len(models)


def test_a_plan_changes_nothing(panel) -> None:
    before = panel.client.get("/api/config/current").json()
    made = panel.client.post("/api/new_lora/plan", json=ANSWERS).json()
    assert (made["preset"], made["epochs"]) == ("Demo LoRA", 100)
    assert made["steps"] == 600
    assert made["prompts"][0] == "a photo of zorble"
    assert panel.client.get("/api/config/current").json() == before
    assert not (panel.service.settings.data_folder / "captions").exists()


def test_the_settings_become_the_current_ones_and_can_be_undone(panel) -> None:
    """With a file for the caption of all images; one change back and all is as before."""
    before = panel.client.get("/api/config/current").json()["config"]
    made = panel.client.post("/api/new_lora/settings?client=me", json=ANSWERS).json()
    now = panel.client.get("/api/config/current").json()
    assert now["revision"] == made["revision"]
    concept = now["config"]["concepts"][0]
    assert concept["path"] == str(IMAGES_FOLDER)
    assert (panel.service.settings.data_folder / concept["text"]["prompt_path"]).read_text() == "a photo of zorble\n"
    assert panel.client.post("/api/config/undo?client=me").json()["config"] == before


def test_settings_that_someone_changed_since_are_not_replaced(panel) -> None:
    revision = panel.client.get("/api/config/current").json()["revision"]
    panel.client.patch("/api/config/current", json={"revision": revision, "changes": {"epochs": 3}}).raise_for_status()
    assert panel.client.post("/api/new_lora/settings", json={**ANSWERS, "revision": revision}).status_code == 409
    assert panel.client.get("/api/config/current").json()["config"]["epochs"] == 3


@pytest.mark.parametrize(
    ("changes", "status", "path"),
    [
        ({"trigger_word": ""}, 422, "trigger_word"),
        ({"name": ""}, 422, "name"),
        ({"folder": "datasets/none"}, 404, "folder"),
        ({"preset": "none"}, 404, ""),
        ({"quality": "BEST"}, 422, "quality"),
    ],
)
def test_a_wrong_answer_is_named(panel, changes, status, path) -> None:
    reply = panel.client.post("/api/new_lora/plan", json={**ANSWERS, **changes})
    assert reply.status_code == status, reply.text
    if path:
        assert path in [error["path"] for error in reply.json()["errors"]]


@pytest.mark.parametrize(("word", "existing"), [("cat", True), ("Cat ", True), ("ohwx", False), ("zorble", False)])
def test_a_common_word_is_a_poor_trigger_word(panel, word, existing) -> None:
    assert panel.client.get("/api/new_lora/trigger_word", params={"word": word}).json()["existing"] is existing

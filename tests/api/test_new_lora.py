"""New LoRA over REST: models, plan, and settings that a run starts from. Covers ``service/new_lora.py``."""

from __future__ import annotations

import pytest
from PIL import Image
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import put_service
from onetrainer_gradio.config.files.documents import from_document
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.demo import IMAGES_FOLDER
from tests.api.conftest import ADDRESS, rehearsal_service
from tests.fakes.estimates import Computed

pytestmark = pytest.mark.slow

ANSWERS = {"name": "Zorble", "folder": str(IMAGES_FOLDER), "preset": "Demo LoRA", "trigger_word": "zorble"}


def test_the_models_that_can_be_trained_here_come_first(panel) -> None:
    """Each has its license and size, or the reason why it can't be trained."""
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
    """A file holds the caption of all images; one undo restores everything."""
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


def test_a_plan_shows_what_differs_from_the_preset(panel) -> None:
    """Each difference has the setting's label and both values; values that the preset already has aren't listed."""
    made = panel.client.post("/api/new_lora/plan", json={**ANSWERS, "quality": "QUICK"}).json()
    found = {each["path"]: each for each in made["differences"]}
    assert found["epochs"]["after"] == made["epochs"] != found["epochs"]["before"]
    assert found["epochs"]["title"] == "Epochs"
    assert "learning_rate" not in found
    assert found["output_model_destination"]["after"] == "models/zorble.safetensors"


def test_images_without_a_caption_are_counted_before_the_start(panel) -> None:
    """They count only if captions come from text files."""
    folder = panel.service.settings.data_folder / "datasets" / "few"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / f"{number}.png")
    (folder / "0.txt").write_text("a cat")

    def findings(captions: str) -> dict[str, str]:
        answers = {**ANSWERS, "folder": "datasets/few", "captions": captions}
        found = panel.client.post("/api/new_lora/plan", json=answers).json()["findings"]
        return {each["code"]: each["message"] for each in found}

    assert findings("FILES")["missing_captions"] == "Of 3 images, only 1 has a caption"
    assert "missing_captions" not in findings("TRIGGER_WORD")
    assert "few_images" in findings("TRIGGER_WORD")


def test_images_in_subfolders_are_counted_and_trained(panel) -> None:
    """An uploaded folder, or a zip file with folders, keeps its subfolders."""
    folder = panel.service.settings.data_folder / "datasets" / "nested" / "holiday" / "beach"
    folder.mkdir(parents=True)
    for place, number in ((folder, 1), (folder.parent, 2), (folder.parent, 3)):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(place / f"{number}.png")
    answers = {**ANSWERS, "folder": "datasets/nested"}
    made = panel.client.post("/api/new_lora/settings", json=answers).json()
    assert [each["message"] for each in made["findings"] if each["code"] == "few_images"] == ["There are only 3 images"]
    statistics = panel.client.post("/api/concepts/statistics", json={}).json()["concepts"]
    assert [concept["per_epoch"] for concept in statistics] == [3]


def test_a_download_is_announced_before_the_start(panel, tmp_path, monkeypatch) -> None:
    """It is announced, with its size, for a base model that isn't in the Hugging Face cache, and not for a folder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def announced(**changes: str) -> list[str]:
        found = panel.client.post("/api/new_lora/plan", json={**ANSWERS, **changes}).json()["findings"]
        return [each["message"] for each in found if each["code"] == "model_download"]

    assert announced(preset="SDXL/LoRA 12 GB") == [
        "The base model stabilityai/stable-diffusion-xl-base-1.0 isn't on this machine. The run downloads it first: about 13.9 GB"
    ]
    assert announced(base_model="maker/tiny") == ["The base model maker/tiny isn't on this machine. The run downloads it first"]
    assert announced() == announced(base_model=str(tmp_path)) == announced(base_model="models/none.safetensors") == []


def test_the_check_has_the_pre_flight_check_and_the_memory(app, tmp_path) -> None:
    """A missing base model is an error before the start; captions that Start writes aren't missing."""
    put_service(app, rehearsal_service(tmp_path / "data", estimator=Computed))
    with TestClient(app, base_url=ADDRESS) as client:
        fine = client.post("/api/new_lora/check", json=ANSWERS).json()
        missing = client.post("/api/new_lora/check", json={**ANSWERS, "base_model": "models/none.safetensors"}).json()
    assert fine["findings"] == []
    assert fine["peak_bytes"] > 0
    assert fine["peak"]
    found = missing["findings"]
    assert [each["path"] for each in found] == ["base_model_name"]


def test_the_settings_are_exported_for_onetrainer(panel) -> None:
    """The export is a OneTrainer file with concepts and samples; the current settings don't change."""
    before = panel.client.get("/api/config/current").json()
    reply = panel.client.post("/api/new_lora/export", json=ANSWERS)
    assert "zorble.json" in reply.headers["content-disposition"]
    document = reply.json()
    assert document["output_model_destination"] == "models/zorble.safetensors"
    assert document["concepts"][0]["path"] == str(IMAGES_FOLDER)
    assert len(document["samples"]) == 4
    assert panel.client.get("/api/config/current").json() == before


def test_the_time_follows_an_earlier_run_of_the_model(panel) -> None:
    """It uses that run's time per image; without such a run, or with another resolution, the time is unknown."""
    plan = panel.client.post("/api/new_lora/plan", json=ANSWERS).json()
    assert (plan["seconds"], plan["seconds_from"]) == (None, "")
    panel.client.post("/api/new_lora/settings", json=ANSWERS).raise_for_status()
    config = panel.client.get("/api/config/current").json()["config"]
    run_id = panel.service.start(from_document(config)[0], RunOptions(name="before", tags=("steps=25",)))
    panel.service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
    took = panel.client.get(f"/api/runs/{run_id}").json()["state"]["elapsed_s"]
    plan = panel.client.post("/api/new_lora/plan", json=ANSWERS).json()
    assert plan["seconds_from"] == "before"
    assert plan["seconds"] == pytest.approx(took / 25 * plan["steps"], rel=0.01)
    longer = panel.client.post("/api/new_lora/plan", json={**ANSWERS, "quality": "THOROUGH"}).json()
    assert longer["seconds"] == pytest.approx(plan["seconds"] * longer["steps"] / plan["steps"])

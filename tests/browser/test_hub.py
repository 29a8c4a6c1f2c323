"""Models from a stand-in for the Hugging Face Hub in New LoRA, and publishing a run to it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor, forget
from tests.browser.test_axe import violations
from tests.browser.test_new_lora import shot
from tests.fakes.hub import FakeHub
from tests.service.hub.test_downloads import NAME, add_model

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    """The stand-in, which panels that start later use."""
    with FakeHub() as stand_in, pytest.MonkeyPatch.context() as patch:
        stand_in.account("hf_writer", "ada")
        patch.setenv("HF_ENDPOINT", stand_in.url)
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.delenv("HF_TOKEN", raising=False)
        yield stand_in


@pytest.fixture
def hub(one_hub: FakeHub) -> FakeHub:
    """The stand-in without models, and without downloaded files of earlier tests."""
    one_hub.repositories.clear()
    one_hub.faults.clear()
    shutil.rmtree(Path(os.environ["HF_HOME"]), ignore_errors=True)
    return one_hub


@pytest.fixture(scope="module")
def one_panel(one_hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    panel = Panel(tmp_path_factory.mktemp("connected"), ("--demo",)).start()
    panel.send("PUT", "api/secrets", {"huggingface_token": "hf_writer"})
    yield panel
    panel.stop()


@pytest.fixture
def connected(one_panel: Panel, hub: FakeHub, profile: Any) -> Panel:
    """An unused panel connected to the stand-in, with the demo's settings and a token."""
    one_panel.as_new()
    for download in one_panel.get("api/hub/downloads")["downloads"]:
        one_panel.send("DELETE", f"api/hub/downloads/{download['id']}")
    forget(profile, one_panel)
    return one_panel


def narrow(page: Any, name: str) -> None:
    """View the page on a phone and in dark mode."""
    shot(page, f"{name}-1440")
    page.emulate_media(color_scheme="dark")
    shot(page, f"{name}-1440-dark")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(page, f"{name}-390-dark")
    page.emulate_media(color_scheme="light")
    shot(page, f"{name}-390")
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_model_is_searched_and_downloaded_in_new_lora(profile: Any, connected: Panel, hub: FakeHub) -> None:
    """It is found by name, downloaded with pause and resume, and then local."""
    add_model(hub, size=6_000_000, downloads=1234).tags = ["diffusers", "diffusers:StableDiffusionPipeline", "license:mit"]
    add_model(hub, "maker/tiny-video", downloads=5).tags = ["diffusers", "diffusers:HunyuanVideoPipeline"]
    hub.fault("unet/diffusion_pytorch_model.safetensors", bytes_per_s=1_500_000)
    with Visitor(profile, connected.url).watched() as visitor:
        page = visitor.open("new-lora")
        page.locator("summary", has_text="Search the Hugging Face Hub").click()
        page.get_by_label("Search models by name").fill("tiny")
        page.get_by_label("Search models by name").press("Enter")
        found = page.locator(".og-hub-search .og-new-option", has_text=NAME)
        expect(found).to_contain_text("downloads 9.0 MB")
        expect(found).to_contain_text("mit")
        expect(page.locator(".og-hub-search .og-new-option", has_text="tiny-video").get_by_role("radio")).to_be_disabled()
        found.click()
        page.get_by_role("button", name="Download now").click()
        page.get_by_role("button", name="Pause").click()
        expect(page.locator(".og-hub-line")).to_contain_text("Paused")
        assert violations(page) == []
        narrow(page, "hub-search")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".og-hub-line")).to_contain_text("On this machine", timeout=30_000)
        assert connected.get(f"api/hub/models/{NAME}")["model"]["local"] is True
        page.get_by_role("tab", name="System", exact=True).click()
        expect(page.get_by_role("region", name="Downloads")).to_contain_text(NAME)
        assert violations(page) == []


def test_a_base_model_is_searched_in_the_form(profile: Any, connected: Panel, hub: FakeHub) -> None:
    """Only models of the current type are found; the selected one becomes the base model."""
    add_model(hub, size=600_000).tags = ["diffusers", "diffusers:StableDiffusionPipeline"]
    add_model(hub, "maker/tiny-video").tags = ["diffusers", "diffusers:HunyuanVideoPipeline"]
    with Visitor(profile, connected.url).watched() as visitor:
        page = visitor.open("configuration")
        page.get_by_role("button", name="Search the Hugging Face Hub").click()
        words = page.get_by_label("Search models by name")
        expect(words).to_be_focused()
        words.fill("tiny")
        words.press("Enter")
        found = page.locator(".og-hub-search .og-new-option")
        expect(found).to_have_count(1)
        found.get_by_role("radio").check()
        connected.expect_settings(base_model_name=NAME)
        assert violations(page) == []
        narrow(page, "hub-form")


def test_a_run_is_published_from_its_page(profile: Any, connected: Panel, hub: FakeHub) -> None:
    """The card is shown first; an existing repository asks for a new revision."""
    connected.shorten()
    connected.send("POST", "api/training/start", {"options": {"name": "short", "max_steps": 2}})
    connected.wait(lambda state: not state["process_running"], 120)
    run_id = connected.get("api/runs")["runs"][0]["id"]
    with Visitor(profile, connected.url).watched() as visitor:
        page = visitor.open("runs")
        page.goto(f"{connected.url}#runs/{run_id}")
        page.reload()
        page.locator("summary", has_text="Publish").click()
        expect(page.get_by_text("Publishes as ada.")).to_be_visible()
        expect(page.get_by_label("Repository")).to_have_value("ada/short")
        page.get_by_label("Trigger word").fill("zorble")
        page.get_by_label("Description").fill("A toy.")
        page.locator("summary", has_text="Model card and files").click()
        page.get_by_role("button", name="Update preview").click()
        expect(page.get_by_label("README.md")).to_have_value(re.compile("instance_prompt: zorble"))
        assert hub.repositories == {}
        assert violations(page) == []
        page.get_by_role("button", name="Publish", exact=True).click()
        expect(page.locator(".og-hub-line").first).to_contain_text("Published", timeout=30_000)
        narrow(page, "publish")
        page.get_by_role("button", name="Publish", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Publish").click()
        expect(page.locator(".og-hub-line")).to_have_count(2, timeout=30_000)
        expect(page.locator(".og-hub-line").first).to_contain_text("Published", timeout=30_000)
    made = hub.repositories["ada/short"]
    assert made.private
    assert len(made.commits) == 2
    assert "A toy." in made.files["README.md"].decode()


def test_the_copy_of_the_data_folder_shows_its_last_push_and_why_one_failed(
    profile: Any, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The System tab shows it, and pushes on request."""
    monkeypatch.setenv("ONETRAINER_GRADIO_PUSH_TO", "ada/panel-data")
    panel = Panel(tmp_path).start()
    panel.send("PUT", "api/secrets", {"huggingface_token": "hf_writer"})
    try:
        with Visitor(profile, panel.url).watched() as visitor:
            page = visitor.open("system")
            copy = page.get_by_role("region", name="Copy of the data folder")
            expect(copy).to_contain_text("None since the panel started")
            hub.fault("/commit/", status=403, times=20)
            copy.get_by_role("button", name="Push now").click()
            expect(copy.get_by_role("status")).to_contain_text("The last push failed", timeout=60_000)
            copy.scroll_into_view_if_needed()
            narrow(page, "data-copy")
            hub.faults.clear()
            copy.get_by_role("button", name="Push now").click()
            expect(copy.get_by_role("status")).to_be_hidden(timeout=60_000)
            expect(copy).not_to_contain_text("None since the panel started", timeout=60_000)
            expect(copy).to_contain_text("of at most 20.0 GB")
            assert violations(page) == []
    finally:
        panel.stop()

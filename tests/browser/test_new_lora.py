"""The New LoRA tab: from images to a run in four questions."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor
from tests.browser.test_axe import violations

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def png(shade: int) -> bytes:
    out = BytesIO()
    image = Image.linear_gradient("L").resize((96, 96)).rotate(shade * 37)
    Image.merge("RGB", (image, image.point(lambda value: value * shade % 256), image)).save(out, "PNG")
    return out.getvalue()


def files(*shades: int) -> list[dict[str, Any]]:
    return [{"name": f"photo {number}.png", "mimeType": "image/png", "buffer": png(shade)} for number, shade in enumerate(shades)]


def shot(page: Any, name: str) -> None:
    """With SCREENSHOTS=FOLDER, look at it."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.mark.parametrize("width", [1440, 390])
def test_from_images_to_a_run(visitor: Visitor, panel: Panel, width: int) -> None:
    """Images, a trigger word, the demo model, and Start: the run trains these images with samples of the word."""
    page = visitor.open("new-lora")
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_label("Upload files", exact=True).last.set_input_files(files(3, 5, 7, 5))
    expect(page.locator(".og-new-thumbs img")).to_have_count(4, timeout=20_000)
    problem = page.locator(".og-new-problem", has_text="1 image is the same image twice")
    expect(problem).to_be_visible(timeout=20_000)
    problem.get_by_role("button", name="Move the copies to the trash").click()
    expect(page.locator(".og-new-thumbs img")).to_have_count(3)
    page.get_by_role("textbox", name="Trigger word", exact=True).fill("cat")
    expect(page.get_by_text("“cat” is a common word")).to_be_visible()
    page.get_by_role("textbox", name="Trigger word", exact=True).fill("zorble")
    page.locator(".og-new-option", has_text="Demo model").click()
    expect(page.locator(".og-new-summary")).to_contain_text("a photo of zorble")
    expect(page.locator(".og-new-summary")).to_contain_text("There are only 3 images")
    page.get_by_role("textbox", name="Name", exact=True).fill("My cat")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    shot(page, f"new-lora-{width}")
    page.get_by_role("button", name="Start", exact=True).last.click()
    panel.wait(lambda state: bool(state["is_training"]))
    config = panel.send("GET", "api/config/current")["config"]
    assert config["output_model_destination"].endswith("my-cat.safetensors")
    assert config["samples"][0]["prompt"] == "a photo of zorble"
    expect(page.get_by_role("tab", name="Training", selected=True)).to_have_count(1)


def test_what_is_missing_is_said_where_it_is_asked(visitor: Visitor, panel: Panel) -> None:
    """Start without images and trigger word: nothing starts, and nothing changes."""
    before = panel.send("GET", "api/config/current")["config"]
    page = visitor.open("new-lora")
    page.locator(".og-new-option", has_text="Demo model").click()
    page.get_by_role("button", name="Start", exact=True).last.click()
    expect(page.locator(".og-new-error:visible").first).to_contain_text("no name")
    assert panel.send("GET", "api/config/current")["config"] == before


def test_the_settings_open_in_the_form(visitor: Visitor, panel: Panel) -> None:
    """All decisions are settings there."""
    page = visitor.open("new-lora")
    page.get_by_label("Upload files", exact=True).last.set_input_files(files(3, 5))
    expect(page.locator(".og-new-thumbs img")).to_have_count(2, timeout=20_000)
    page.get_by_role("textbox", name="Trigger word", exact=True).fill("zorble")
    page.locator(".og-new-option", has_text="Demo model").click()
    expect(page.locator(".og-new-summary")).to_contain_text("zorble")
    page.get_by_role("button", name="Open in the form").click()
    expect(page.get_by_role("tab", name="Configuration", selected=True)).to_have_count(1)
    assert panel.send("GET", "api/config/current")["config"]["concepts"][0]["path"].startswith("datasets/")


def test_a_new_panel_shows_the_way_until_something_is_changed(profile: Any, tmp_path: Path) -> None:
    """The first view links to New LoRA; whoever has settings isn't asked."""
    panel = Panel(tmp_path).start()
    try:
        with Visitor(profile, panel.url).watched() as visitor:
            page = visitor.open("configuration")
            shot(page, "begin")
            page.get_by_role("link", name="Train a LoRA in four questions").click()
            expect(page.get_by_role("tab", name="New LoRA", selected=True)).to_have_count(1)
            panel.change(epochs=3)
            page.goto(f"{panel.url}#configuration")
            expect(page.locator(".og-begin")).to_be_hidden()
    finally:
        panel.stop()

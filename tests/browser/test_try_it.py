"""Try it, on the page of a run: images with its results next to the base model, by the built-in engine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Panel, Visitor
from tests.browser.test_axe import violations
from tests.browser.test_new_lora import shot

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]

PROMPT = "a zorble in the middle on a white background"


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    """A panel with a run of the demo that ended after two steps, with a save and a backup of its first step."""
    panel = Panel(tmp_path_factory.mktemp("try_it"), ("--demo",)).start()
    panel.shorten(save_every=1, save_every_unit="STEP", backup_after=1, backup_after_unit="STEP")
    panel.send("POST", "api/training/start", {"options": {"name": "short", "max_steps": 2}})
    panel.wait(lambda state: not state["process_running"], 120)
    yield panel
    panel.stop()


@pytest.fixture
def trained(one_run: Panel) -> Iterator[Panel]:
    """The panel with the run. Afterwards, the result is the final model again."""
    yield one_run
    result = f"api/runs/{one_run.get('api/runs')['runs'][0]['id']}/result"
    while one_run.get(result)["changes"]:
        one_run.send("DELETE", result)


def opened(visitor: Visitor, panel: Panel, section: str) -> Page:
    """Open the page of the run with a section unfolded."""
    run_id = panel.get("api/runs")["runs"][0]["id"]
    page = visitor.open("runs")
    page.goto(f"{panel.url}#runs/{run_id}")
    page.reload()
    page.locator("summary", has_text=section).click()
    return page


def narrow(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def seen(page: Page, name: str) -> None:
    """With SCREENSHOTS=FOLDER, take a screenshot of the current view."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def dark(page: Page) -> None:
    page.evaluate("document.documentElement.classList.add('og-dark'); document.body.classList.add('dark')")


def test_a_result_is_tried_next_to_the_base_model(profile: Any, trained: Panel) -> None:
    """Two results at two strengths and the base model: the images can be viewed, compared by keyboard and
    pointer, kept as a sample, and still exist after a reload and a restart of the panel.
    """
    with Visitor(profile, trained.url).watched() as visitor:
        page = opened(visitor, trained, "Try it")
        page.get_by_label("Prompts, one per line").fill(PROMPT)
        page.get_by_label("Strengths").fill("0.5, 1")
        results = page.get_by_label("Results")
        values = results.locator("option").evaluate_all("options => options.map(option => option.value)")
        results.select_option([values[0], values[-1]])
        expect(page.get_by_text("5 images")).to_be_visible()
        page.get_by_role("button", name="Generate", exact=True).click()
        expect(page.locator(".og-try-cells img")).to_have_count(5, timeout=180_000)
        expect(page.locator(".og-try-head")).to_contain_text("5 of 5 images")
        captions = page.locator(".og-try-cells figcaption").all_text_contents()
        assert captions[0] == "Base model"
        assert captions[1] == "Save, step 0, strength 0.5"
        page.wait_for_function("[...document.querySelectorAll('.og-try-cells img')].every(image => image.naturalWidth > 0)")
        assert violations(page) == []
        page.locator(".og-try-grid").scroll_into_view_if_needed()
        shot(page, "try-it-1440")
        _look_closer(page)
        page.keyboard.press("Escape")
        narrow(page)
        page.locator(".og-try-grid").scroll_into_view_if_needed()
        shot(page, "try-it-390")
        page.reload()
        page.locator("summary", has_text="Try it").click()
        expect(page.locator(".og-try-cells img")).to_have_count(5)
        trained.stop()
        trained.start()
        page.reload()
        page.locator("summary", has_text="Try it").click()
        expect(page.locator(".og-try-cells img")).to_have_count(5)
        page.locator(".og-try-grid").get_by_role("button", name="Delete", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
        expect(page.locator(".og-try-grid")).to_have_count(0)
        assert trained.get("api/generations")["generations"] == []
        kept = trained.get("api/samples/list?limit=1")["samples"][0]
        assert (kept["kept"], kept["strength"]) == (True, 0.5)


def _look_closer(page: Page) -> None:
    """Use the large view of the second image, first by keyboard alone, then with the pointer."""
    page.locator(".og-try-open").nth(1).focus()
    page.keyboard.press("Enter")
    view = page.get_by_role("dialog", name="Generated image")
    divider = view.get_by_role("slider")
    divider.focus()
    split = "getComputedStyle(document.querySelector('.og-split')).getPropertyValue('--og-split')"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(split) == "49%"
    assert divider.get_attribute("aria-valuetext") == "49% Base model"
    page.keyboard.press("Home")
    assert page.evaluate(split) == "0%"
    box = divider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert 73 <= int(page.evaluate(split).rstrip("%")) <= 77
    expect(view.get_by_label("Parameters")).to_contain_text(re.compile(f"^{PROMPT} <lora:.+:0.5>"))
    view.get_by_role("button", name="Keep as sample").click()
    expect(page.locator("#og-toasts")).to_contain_text("Image kept as a sample of the run.")
    expect(view.get_by_role("button", name="Make it the result…")).to_be_visible()
    assert violations(page) == []
    seen(page, "try-view-1440")
    dark(page)
    narrow(page)
    seen(page, "try-view-390-dark")
    page.set_viewport_size({"width": 1440, "height": 900})
    view.get_by_role("button", name="Next image").click()
    expect(view.locator(".og-view-prompt")).to_contain_text("strength 1")


def test_a_result_is_taken_to_other_programs(profile: Any, trained: Panel) -> None:
    """Each program has its folder and line; a save becomes the result and back; another format is one click away."""
    with Visitor(profile, trained.url).watched() as visitor:
        page = opened(visitor, trained, "Use in other programs")
        programs = page.locator(".og-use-programs li")
        expect(programs).to_have_count(4)
        expect(programs.first).to_contain_text("ComfyUI/models/loras")
        expect(programs.nth(1)).to_contain_text("<lora:")
        expect(page.locator(".og-result")).to_contain_text("The result is the final model")
        path = Path(page.locator(".og-result code").first.text_content() or "")
        first = path.read_bytes()
        assert violations(page) == []
        shot(page, "use-1440")
        save = page.get_by_label("File", exact=True).locator("option", has_text="Save:").first.get_attribute("value")
        page.get_by_label("File", exact=True).select_option(save)
        page.get_by_role("button", name="Make this save the result…").click()
        page.get_by_role("button", name="Make it the result", exact=True).click()
        expect(page.locator(".og-result")).to_contain_text("The result is the save")
        assert path.read_bytes() != first
        dark(page)
        narrow(page)
        shot(page, "use-390-dark")
        page.get_by_role("button", name="Undo", exact=True).click()
        expect(page.locator(".og-result")).to_contain_text("The result is the final model")
        assert path.read_bytes() == first


def test_a_backup_becomes_the_result(trained: Panel) -> None:
    """It is converted to the format of the run: the file has the tensors of the save of the same step."""
    from safetensors.numpy import load_file

    run_id = trained.get("api/runs")["runs"][0]["id"]
    files = trained.get(f"api/runs/{run_id}/files")["files"]
    backup = next(file for file in files if file["kind"] == "backup")
    save = next(file for file in files if file["kind"] == "save" and file["global_step"] == backup["global_step"])
    answer = trained.send("POST", f"api/runs/{run_id}/result", {"file": backup["id"]}, timeout_s=120)
    ours, saved = load_file(answer["path"]), load_file(save["written_to"])
    assert ours.keys() == saved.keys()
    assert all((ours[name] == saved[name]).all() and ours[name].dtype == saved[name].dtype for name in saved)

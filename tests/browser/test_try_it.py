"""Try it, on the page of a run: images with its result next to the base model, by the built-in engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor
from tests.browser.test_axe import violations
from tests.browser.test_new_lora import shot

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def trained(tmp_path: Path) -> Iterator[Panel]:
    """A panel with a run of the demo that ended after two steps."""
    panel = Panel(tmp_path, ("--demo",)).start()
    panel.send("POST", "api/training/start", {"options": {"name": "short", "max_steps": 2}})
    panel.wait(lambda state: not state["process_running"], 120)
    yield panel
    panel.stop()


def test_a_result_is_tried_next_to_the_base_model(profile: Any, trained: Panel) -> None:
    """At two strengths and with the base model; the images can be looked at, and are there after a reload."""
    run_id = trained.get("api/runs")["runs"][0]["id"]
    with Visitor(profile, trained.url).watched() as visitor:
        page = visitor.open("runs")
        page.goto(f"{trained.url}#runs/{run_id}")
        page.reload()
        page.locator("summary", has_text="Try it").click()
        page.get_by_label("Prompts, one per line").fill("a zorble in the middle on a white background")
        page.get_by_label("Strengths").fill("0.5, 1")
        page.get_by_role("button", name="Generate", exact=True).click()
        expect(page.locator(".og-try-cells img")).to_have_count(3, timeout=120_000)
        expect(page.locator(".og-try-head")).to_contain_text("3 of 3 images")
        captions = page.locator(".og-try-cells figcaption").all_text_contents()
        assert captions[0] == "Base model"
        assert captions[1].endswith("strength 0.5")
        page.wait_for_function("[...document.querySelectorAll('.og-try-cells img')].every(image => image.naturalWidth === 128)")
        assert violations(page) == []
        page.locator(".og-try-grid").scroll_into_view_if_needed()
        shot(page, "try-it-1440")
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        shot(page, "try-it-390")
        page.get_by_role("button", name="Delete", exact=True).last.click()
        expect(page.locator(".og-try-grid")).to_have_count(0)
        assert trained.get("api/generations")["generations"] == []

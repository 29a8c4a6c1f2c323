"""One complete use of the page, from opening it to the output file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from onetrainer_gradio.config.files.presets import DEMO_PRESET, PLACEHOLDERS
from tests.browser.conftest import BRISK, Panel, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# The demo's model is trained by the project and committed; before that, this test uses a rehearsal.
DEMO_MODEL = PLACEHOLDERS["{demo}"] / "model" / "model_index.json"


@pytest.fixture
def demo(profile: Any, tmp_path: Path) -> Iterator[Panel]:
    """A panel as `--demo` starts it, with its runs in separate processes."""
    arguments = ("--demo",) if DEMO_MODEL.exists() else ("--backend", BRISK)
    panel = Panel(tmp_path, arguments)
    panel.start()
    if not DEMO_MODEL.exists():
        panel.idle()
    yield panel
    try:
        panel.idle()
    finally:
        panel.stop()


def test_from_the_first_look_to_the_finished_file(visitor: Visitor, demo: Panel, tmp_path: Path) -> None:
    """Open, start, watch, reload, a second viewer, a sample, pause, stop, download the file, resume from the backup."""
    page = visitor.open("configuration", demo)
    if DEMO_MODEL.exists():
        expect(page.locator("#og-config")).to_contain_text(DEMO_PRESET)
        demo.shorten(epochs=1000)  # it is ended by Stop
    page.get_by_role("tab", name="Training").click()
    expect(page.locator(".og-ready")).to_contain_text("Ready to train")

    page.get_by_role("button", name="Start").click()
    expect(page.locator(".og-outcome")).to_contain_text("First step done", timeout=45_000)
    page.wait_for_function("og.store.state.update_step >= 5", timeout=30_000)
    expect(page.locator("#og-chart-summary")).to_contain_text("Smooth loss up to step")
    expect(page.locator("#og-start")).to_be_disabled()

    page.reload()
    expect(page.get_by_role("tab", name="Training")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".og-status .og-badge")).to_have_text("Training")
    expect(page.locator("#og-chart-summary")).to_contain_text("Smooth loss up to step")
    expect(page.locator("#og-stop")).to_be_enabled()

    second = visitor.open("samples", demo)
    seen = second.locator(".og-tile").count()
    page.bring_to_front()  # Chromium draws a page in the background once a second, and a click waits for two frames
    page.get_by_role("button", name="Sample now").click()
    expect(page.locator(".og-outcome")).to_contain_text("Samples generated", timeout=45_000)
    expect(second.locator(".og-tile").nth(seen)).to_be_visible()
    second.bring_to_front()
    second.get_by_text("Generate a sample").click()
    second.get_by_label("Prompt", exact=True).fill("a blue circle")
    second.get_by_label("Width").fill("64")
    second.get_by_label("Height").fill("64")
    second.get_by_role("button", name="Generate", exact=True).click()
    expect(second.get_by_text("a blue circle").first).to_be_visible(timeout=30_000)

    page.bring_to_front()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".og-outcome")).to_have_text("Paused", timeout=30_000)
    expect(second.locator(".og-topbar .og-badge")).to_have_text("Paused")
    page.get_by_role("button", name="Back up now").click()
    expect(page.locator(".og-outcome")).to_have_text("Backup written", timeout=30_000)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".og-outcome")).to_contain_text("Stopped after", timeout=45_000)
    expect(page.locator("#og-start")).to_be_enabled()

    with page.expect_download() as download:
        page.locator(".og-status .og-file").first.click()
    file = tmp_path / "taken.safetensors"
    download.value.save_as(file)
    assert file.stat().st_size > 0

    stopped_at = demo.get("api/training/status")["progress"]["global_step"]
    page.locator(".og-run summary").first.click()
    page.get_by_role("button", name="Resume from last backup").click()
    page.wait_for_function(f"og.store.state.is_training && og.store.state.progress.global_step >= {stopped_at}", timeout=45_000)

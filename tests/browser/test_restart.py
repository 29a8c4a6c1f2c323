"""The page with a panel that ends and restarts."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BRISK, Panel, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]


def change_while_gone(page: Any, panel: Panel, how: signal.Signals, epochs: str) -> None:
    """End the panel, edit a setting, start the panel again: the edit is kept, shown as unsaved, and then saved."""
    field, errors = page.locator("#og-f-epochs"), page.locator("#og-f-epochs-error")
    panel.stop(how)
    expect(page.locator(".og-banner")).to_contain_text("Disconnected from the panel")
    page.get_by_role("tab", name="Configuration").click()
    field.fill(epochs)
    field.press("Tab")
    expect(errors).to_contain_text("Not saved yet")
    panel.start(page=False)
    expect(page.locator(".og-banner")).to_contain_text("Reconnected", timeout=15_000)
    expect(errors).to_be_empty()
    panel.expect_settings(epochs=int(epochs))


def test_a_restarted_panel_takes_up_edits_and_the_run(visitor: Visitor, tmp_path: Path) -> None:
    """Ended or killed, even while a button streams: no reload, no lost edit, the run continues and the buttons work."""
    panel = Panel(tmp_path, ("--backend", BRISK)).start()
    try:
        panel.idle()
        page = visitor.open(panel=panel)
        navigated: list[str] = []
        page.on("framenavigated", lambda frame: navigated.append(frame.url) if "#" not in frame.url else None)
        page.locator(".og-nav button[data-group=optimization]").click()
        page.get_by_role("tab", name="Training").click()
        page.locator("#og-start").click()
        expect(page.locator(".og-outcome")).to_contain_text("Starting")
        change_while_gone(page, panel, signal.SIGTERM, "34")
        page.get_by_role("tab", name="Training").click()
        page.wait_for_function("og.store.state.update_step > 0")
        page.locator("#og-pause").click()
        expect(page.locator(".og-outcome")).to_have_text("Paused")

        change_while_gone(page, panel, signal.SIGKILL, "35")
        page.get_by_role("tab", name="Training").click()
        page.locator("#og-stop").click()
        expect(page.locator("#og-start")).to_be_enabled()
        assert navigated == []
    finally:
        try:
            if panel.process is None:
                panel.start(page=False)
            panel.idle()
        finally:
            panel.stop()

"""Keyboard shortcuts and notices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]


def epochs(panel: Panel) -> Any:
    return panel.get("api/config/current")["config"]["epochs"]


def until(page: Any, test: Any) -> None:
    for _ in range(100):
        if test():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it didn't happen")


def test_undo_and_redo_by_key(visitor: Visitor, panel: Panel) -> None:
    """Ctrl+Z and Ctrl+Y apply to the settings, except in a field that is being edited."""
    page = visitor.open("configuration")
    page.locator("#og-search").fill("epochs")
    field = page.locator("#og-f-epochs")
    before = epochs(panel)
    field.fill("77")
    page.keyboard.press("Tab")
    until(page, lambda: epochs(panel) == 77)
    page.locator("[data-tool=undo]:enabled").wait_for()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Control+z")
    until(page, lambda: epochs(panel) == before)
    page.locator("[data-tool=redo]:enabled").wait_for()
    page.keyboard.press("Control+y")
    until(page, lambda: epochs(panel) == 77)
    field.focus()
    page.keyboard.press("End")
    page.keyboard.type("8")
    page.keyboard.press("Control+z")
    expect(field).to_have_value("77")
    page.wait_for_timeout(300)
    assert epochs(panel) == 77


def test_save_search_sheet_and_start_by_key(visitor: Visitor, panel: Panel) -> None:
    """Ctrl+S saves from any tab, / searches, ? shows the list, Ctrl+Enter starts with what was just typed."""
    page = visitor.open("training")
    page.keyboard.press("Control+s")
    expect(page.get_by_role("tab", name="Configuration", selected=True)).to_have_count(1)
    expect(page.get_by_role("dialog")).to_contain_text("Name")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Start training")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#og-search")).to_be_focused()
    page.keyboard.type("epochs?/")
    expect(page.locator("#og-search")).to_have_value("epochs?/")
    page.locator("#og-search").fill("epochs")
    assert not panel.get("api/training/status")["is_training"]
    page.locator("#og-f-epochs").fill("55")
    page.keyboard.press("Control+Enter")
    panel.wait(lambda state: bool(state["is_training"]))
    run = panel.get(f"api/runs/{panel.get('api/training/status')['run_id']}")
    assert run["config"]["epochs"] == 55
    expect(page.get_by_role("tab", name="Training", selected=True)).to_have_count(1)


def test_a_value_that_cannot_be_used_is_not_started_by_key(visitor: Visitor, panel: Panel) -> None:
    """Ctrl+Enter reports it instead of starting with the previous value."""
    page = visitor.open("configuration")
    page.locator("#og-search").fill("learning rate")
    page.locator("#og-f-learning_rate").fill("abc")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".og-toast")).to_contain_text("A setting isn’t saved")
    assert not panel.get("api/training/status")["is_training"]


def test_single_keys_can_be_turned_off(visitor: Visitor) -> None:
    """Speech input may press single keys."""
    page = visitor.open("configuration")
    page.locator(".og-keys").click()
    page.get_by_label("Enable single keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#og-search")).not_to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_an_error_names_each_place_once_and_notices_do_not_pile_up(visitor: Visitor, panel: Panel) -> None:
    """A file with a wrong value is rejected with one notice, whose message has the path once; repeated ones share it."""
    page = visitor.open("configuration")
    for _ in range(4):
        page.locator("input[type=file][accept*=json]").first.set_input_files(
            {"name": "mine.json", "mimeType": "application/json", "buffer": b'{"learning_rate": "abc"}'}
        )
        expect(page.locator(".og-toast.bad")).to_contain_text("abc")
    expect(page.locator(".og-toast")).to_have_count(1)
    text = page.locator(".og-toast-lines").inner_text()
    assert text.count("abc") == 1, text


def test_a_rejected_start_and_the_json_editor_name_a_setting_once(visitor: Visitor, panel: Panel) -> None:
    """If the message begins with the name shown before it, the name isn't repeated."""
    page = visitor.open("training")
    entry = {"path": "learning_rate", "message": "learning_rate is 'abc'.", "suggestion": ""}
    page.evaluate(
        """entry => document.dispatchEvent(new CustomEvent('og-outcome', {
          detail: { ok: false, done: true, text: 'No', errors: [entry] },
        }))""",
        entry,
    )
    expect(page.locator(".og-outcome-errors li")).to_have_text("learning_rate is 'abc'. ")
    page.get_by_role("tab", name="Configuration").click()
    page.get_by_role("button", name="JSON").click()
    dialog = page.get_by_role("dialog")
    text = dialog.get_by_role("textbox")
    text.fill(json.dumps({**json.loads(text.input_value()), "learning_rate": "abc"}))
    dialog.locator("button.primary").click()
    expect(dialog.locator(".og-errors")).to_contain_text("abc")
    assert dialog.locator(".og-errors").inner_text().count("learning_rate") <= 1


def test_ctrl_enter_in_another_form_does_not_start(visitor: Visitor, panel: Panel) -> None:
    """In the form for a custom sample it would be expected to press that form's button."""
    page = visitor.open("samples")
    page.locator(".og-fold > summary").click()
    page.get_by_label("Prompt", exact=True).fill("a cat")
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(500)
    assert not panel.get("api/training/status")["is_training"]
    expect(page.get_by_role("tab", name="Samples", selected=True)).to_have_count(1)

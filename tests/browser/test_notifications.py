"""Notifications in a browser: the dialog, a local channel, the browser's own, and the page's title and icon."""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Any

import pytest

from tests.browser.conftest import becomes
from tests.fakes.sinks import http_sink

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.exhaustive]

# What the browser is requested to show; a headless one can't show it.
RECORDED = """
window.shown = [];
window.Notification = class {
  static permission = localStorage.getItem('granted') || 'default';
  static async requestPermission() {
    localStorage.setItem('granted', 'granted');
    return (window.Notification.permission = 'granted');
  }
  constructor(title, options) { window.shown.push([title, options.body, options.tag]); }
  close() {}
};
"""


def begin(panel: Any, name: str, **behavior: object) -> str:
    options = {"name": name, "tags": [f"{key}={value}" for key, value in behavior.items()]}
    return panel.send("POST", "api/training/start", {"config": panel.document, "options": options})["run_id"]


def icon(page: Any) -> str:
    return urllib.parse.unquote(page.locator("link[rel=icon]").first.get_attribute("href"))


def test_a_channel_is_added_tested_and_gets_the_end_of_a_run(visitor, panel):
    """The address is hidden while it is typed and never shown again; the list shows the outcome."""
    from playwright.sync_api import expect

    with http_sink() as sink:
        page = visitor.open("training")
        page.get_by_role("button", name="Notifications").click()
        dialog = page.get_by_role("dialog", name="Notifications")
        dialog.get_by_text("Channels").click()
        address = dialog.get_by_label("Address (Apprise)")
        assert address.get_attribute("type") == "password"
        address.fill("carrierpigeon://hunter2secret")
        dialog.get_by_role("button", name="Add channel").click()
        expect(dialog.get_by_role("alert")).to_contain_text("Apprise doesn't support “carrierpigeon”")
        address.fill(sink.address)
        dialog.get_by_label("Name", exact=True).fill("Desk")
        dialog.get_by_role("button", name="Add channel").click()
        dialog.get_by_role("button", name="Send a test").click()
        expect(dialog.get_by_text("Sent.")).to_be_visible()
        assert sink.titles == ["Test from the OneTrainer panel"]
        begin(panel, "notified", steps=3)
        expect(dialog.locator(".og-notification").first).to_contain_text("Run “notified” finished")
        expect(dialog.locator(".og-notification").first).to_contain_text("Desk: sent")
        assert sink.titles[-1] == "Run “notified” finished"
        assert "hunter2secret" not in page.content()
        dialog.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog", name="Remove “Desk”?").get_by_role("button", name="Remove").click()
        expect(dialog.get_by_text("Desk", exact=True)).to_have_count(0)


def test_a_tab_in_the_background_shows_a_browser_notification_once(visitor, panel):
    """A button requests it; a second tab shows only what happened, and no other notification, also after a reload."""
    from playwright.sync_api import expect

    visitor.script = RECORDED
    page = visitor.open("training")
    page.get_by_role("button", name="Notifications").click()
    dialog = page.get_by_role("dialog", name="Notifications")
    dialog.get_by_text("This browser").click()
    dialog.get_by_role("button", name="Turn on browser notifications").click()
    expect(dialog.get_by_role("button", name="Turn off")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    other = visitor.open("samples")
    other.bring_to_front()  # the first tab is in the background from now on
    begin(panel, "background", steps=3)
    expect(other.locator(".og-bell[data-unread]")).to_be_attached()
    assert other.evaluate("getComputedStyle(document.querySelector('.og-bell'), '::after').width") == "8px"
    expect(other.locator("#og-toasts")).to_contain_text("Run “background” finished")
    panel.wait(lambda state: not state["is_training"])
    page.wait_for_function("localStorage.getItem('og-notified') > 0")
    page.wait_for_timeout(500)
    shown = page.evaluate("window.shown") + other.evaluate("window.shown")
    assert [title for title, _, _ in shown] == ["Run “background” finished"]
    assert "Step 3 of 3" in shown[0][1]
    other.reload()
    expect(other.locator(".og-bell[data-unread]")).to_be_attached()


def test_title_and_icon_show_state_and_percent(visitor, panel):
    """They show it while a run trains, and how it ended."""
    from playwright.sync_api import expect

    page = visitor.open("training")
    assert "<text" not in icon(page)
    begin(panel, "percent", steps=40, hold=20)
    expect(page).to_have_title(re.compile(r"^50% Training – "))
    assert ">50</text>" in icon(page)
    panel.send("POST", "api/training/stop")
    expect(page).to_have_title(re.compile(r"^Stopped – "))
    assert "<text" not in icon(page)


def test_a_planned_resume_is_shown_and_can_be_cancelled(visitor, panel):
    """The page shows when it resumes and which attempt it is."""
    from playwright.sync_api import expect

    page = visitor.open("training")
    options = {"name": "again", "tags": ["fail_at=2", "steps=9"], "auto_resume": {"attempts": 3, "first_wait_s": 3600}}
    panel.send("POST", "api/training/start", {"config": panel.document, "options": options})
    plan = page.locator(".og-auto-resume")
    expect(plan).to_contain_text(re.compile(r"Resumes at \d\d:\d\d, attempt 1 of 3\."))
    page.get_by_role("button", name="Cancel resume").click()
    expect(plan).to_contain_text("The automatic resume was cancelled.")
    assert panel.get("api/queue")["items"] == []


def test_the_limits_are_changed(visitor, panel):
    """They have the page's units; an invalid value is not sent."""
    from playwright.sync_api import expect

    page = visitor.open("training")
    page.get_by_role("button", name="Notifications").click()
    dialog = page.get_by_role("dialog", name="Notifications")
    dialog.get_by_text("Limits", exact=True).click()
    factor, paused = dialog.get_by_label("times the usual time"), dialog.get_by_label("Minutes until a paused run")
    before = panel.get("api/notifications/settings")
    expect(factor).to_have_value(f"{before['stalled_factor']:g}")
    for field, value, name, stored in ((factor, "4.5", "stalled_factor", 4.5), (paused, "90", "paused_s", 5400)):
        field.fill(value)
        field.press("Tab")
        becomes(lambda name=name: panel.get("api/notifications/settings")[name], stored)
    factor.fill("1")
    factor.press("Tab")
    assert factor.evaluate("node => node.validity.rangeUnderflow")
    assert panel.get("api/notifications/settings")["stalled_factor"] == 4.5
    panel.send("PATCH", "api/notifications/settings", {name: before[name] for name in ("stalled_factor", "paused_s")})


def test_the_dialog_fits_a_phone(visitor, panel):
    """Nothing scrolls sideways at 390 pixels, with everything unfolded."""
    page = visitor.open("training")
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Notifications").click()
    dialog = page.get_by_role("dialog", name="Notifications")
    for title in ("This browser", "Kinds to show", "Limits", "Channels", "Automatic resume"):
        dialog.get_by_text(title, exact=True).click()
    dialog.get_by_label("Minutes before the first attempt").wait_for()
    wide = json.loads(page.evaluate("JSON.stringify([document.documentElement.scrollWidth, innerWidth])"))
    assert wide[0] <= wide[1]
    page.set_viewport_size({"width": 1440, "height": 900})

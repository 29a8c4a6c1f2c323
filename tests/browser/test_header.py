"""What stays in view on every tab, however far the page is scrolled: the state, the tabs, Stop, and a lost connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BRISK, READY, TITLES, Panel, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# a desktop, a phone, a phone with its keyboard open, a desktop and a phone zoomed to 200%
SIZES = {"wide": (1440, 900), "narrow": (390, 844), "keyboard": (390, 400), "wide-200": (720, 450), "narrow-200": (195, 422)}

# Whether the element is fully visible and clickable: inside the window, with nothing over it.
IN_VIEW = """node => {
  const { left, top, right, bottom } = node.getBoundingClientRect();
  const inside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight && right > left && bottom > top;
  const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  return inside && (hit === node || node.contains(hit)) ? '' : `${top} to ${bottom}, there is ${hit?.outerHTML.slice(0, 80)}`;
}"""
STOP = "#og-stop:visible, .og-topstop:visible"
LONG = """() => {
  const tail = document.createElement('div');
  tail.style.cssText = 'flex: none; height: 3000px';
  document.querySelector('#og-tabs .tabitem:not([style*=none]) > .column').append(tail);
}"""

UNMOVED = """() => new Promise((resolve) => {
  const before = document.documentElement.scrollHeight;
  setTimeout(() => resolve(document.documentElement.scrollHeight === before), 400);
})"""


def seen(page: Any, what: str) -> str:
    """Return an empty string if the selected element is in view, otherwise where it is."""
    return str(page.locator(what).evaluate(IN_VIEW))


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", SIZES)
def test_state_and_stop_stay_in_view(visitor: Visitor, panel: Panel, size: str) -> None:
    """At the bottom of every tab the state, the tabs and exactly one Stop are in view, and Stop works."""
    width, height = SIZES[size]
    page = visitor.open("configuration")
    page.set_viewport_size({"width": width, "height": height})
    panel.send("POST", "api/training/start")
    panel.wait(lambda state: bool(state["can"]["stop"]))
    for tab in READY:
        page.evaluate("scrollTo(0, 0)")
        page.evaluate(f"location.hash = '{tab}'")
        page.locator(READY[tab]).first.wait_for(state="attached")
        expect(page.get_by_role("tab", name=TITLES[tab], selected=True)).to_have_count(1)
        page.evaluate(LONG)
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        expect(page.locator(STOP)).to_have_count(1)
        expect(page.locator(STOP)).to_be_enabled()
        assert page.evaluate("scrollY") > 500, tab
        for what in (".og-topbar .og-badge", STOP, "#og-tabs > .tab-wrapper"):
            assert seen(page, what) == "", (tab, what)
    page.locator(STOP).click()
    expect(page.locator(".og-topbar .og-badge")).to_have_text("Stopped")
    expect(page.locator(".og-topstop")).to_be_hidden()


@pytest.mark.exhaustive
def test_a_lost_connection_is_in_view_wherever_one_is(visitor: Visitor, tmp_path: Path) -> None:
    """The banner appears at the top of the window at the bottom of a page, the tabs move below it, and Stop is disabled."""
    panel = Panel(tmp_path, arguments=("--backend", BRISK)).start()
    try:
        panel.send("PUT", "api/config/current", {"config": panel.document, "name": "small"})
        pages = []
        for width in (390, 1440):
            page = visitor.open("system", panel)
            page.set_viewport_size({"width": width, "height": 844})
            pages.append(page)
        panel.send("POST", "api/training/start")
        for page in pages:
            page.bring_to_front()
            expect(page.locator(".og-topstop")).to_be_enabled()
            page.evaluate(LONG)
            page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        panel.stop()
        for page in pages:
            page.bring_to_front()
            expect(page.locator(".og-banner")).to_be_visible()
            for what in (".og-banner", ".og-topbar .og-badge", "#og-tabs > .tab-wrapper", ".og-topstop"):
                assert seen(page, what) == "", what
            expect(page.locator(".og-topstop")).to_be_disabled()
        panel.start(page=False)
        for page in pages:
            page.bring_to_front()
            expect(page.locator(".og-topstop")).to_be_enabled()
    finally:
        panel.stop()


@pytest.mark.exhaustive
def test_what_has_the_focus_is_not_below_the_header(visitor: Visitor) -> None:
    """With Shift+Tab, each focused control is in view, not behind the sticky header."""
    page = visitor.open("configuration")
    page.set_viewport_size({"width": 720, "height": 450})
    page.locator("[data-level=expert]").click()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.locator(".og-rows input, .og-rows select").last.focus()
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        top = page.evaluate("document.activeElement.getBoundingClientRect().top")
        below = page.evaluate("document.querySelector('#og-tabs > .tab-wrapper').getBoundingClientRect().bottom")
        assert top >= below, page.evaluate("document.activeElement.outerHTML")


@pytest.mark.exhaustive
def test_back_and_forward_move_between_tabs(visitor: Visitor) -> None:
    """Each tab is a step in the history, opened by click or link; a reload opens the tab in the address."""
    # the link is on an empty tab, and other tests that share the panel leave samples
    visitor.context.route("**/api/samples/list*", lambda route: route.fulfill(json={"samples": [], "total": 0}))
    page = visitor.open("configuration")
    tab = lambda name: page.get_by_role("tab", name=name, selected=True)  # noqa: E731
    page.get_by_role("tab", name="Training").click()
    page.get_by_role("tab", name="Samples").click()
    page.get_by_role("tab", name="Samples").click()
    page.locator(".og-empty a[data-og-tab=configuration]:visible").click()
    expect(tab("Configuration")).to_have_count(1)
    for name in ("Samples", "Training", "Configuration"):
        page.go_back()
        expect(tab(name)).to_have_count(1)
        assert page.evaluate("location.hash") == f"#{name.lower()}"
    for name in ("Training", "Samples"):
        page.go_forward()
        expect(tab(name)).to_have_count(1)
    page.reload()
    expect(tab("Samples")).to_have_count(1)
    page.go_back()
    expect(tab("Training")).to_have_count(1)


@pytest.mark.exhaustive
def test_a_tab_that_has_no_room_is_in_a_menu_and_opens_all_the_same(visitor: Visitor) -> None:
    """In a very narrow window the address, Back and links reach the tabs that Gradio puts into its menu."""
    page = visitor.open("configuration")
    page.set_viewport_size({"width": 195, "height": 422})
    expect(page.get_by_label("More tabs")).to_be_visible()
    page.evaluate("location.hash = 'system'")
    expect(page.get_by_role("tab", name="System", selected=True)).to_have_count(1)
    page.go_back()
    expect(page.get_by_role("tab", name="Configuration", selected=True)).to_have_count(1)


@pytest.mark.exhaustive
def test_each_tab_keeps_where_it_was_scrolled(visitor: Visitor) -> None:
    """Another tab starts at its top, and the first one returns to its position."""
    page = visitor.open("system")
    page.wait_for_load_state("networkidle")
    page.wait_for_function(UNMOVED)  # a card that is filled in later moves what is below it
    page.evaluate(LONG)
    page.evaluate("scrollTo(0, 700)")
    page.wait_for_function("scrollY === 700")
    page.get_by_role("tab", name="Training").click()
    page.locator(READY["training"]).first.wait_for(state="attached")
    page.wait_for_function("scrollY === 0")
    page.go_back()
    page.wait_for_function("scrollY === 700")

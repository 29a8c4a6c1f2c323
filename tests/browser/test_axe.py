"""axe-core finds no problems, and each tab has one main heading."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import READY, TITLES, Panel, Visitor, tab_button

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]

LATE = READY | {
    "configuration": "#og-f-base_model_name",
    "training": ".og-run > summary",
    "data": ".og-data-tile",
    "runs": ".og-run-table tbody tr",
    "samples": ".og-tile",
    "system": "#og-checkout-folder",
}
OPEN_ALL = "for (const each of document.querySelectorAll('#og-tabs details')) each.open = true"


# The default rules of axe that check colors, which a theme changes.
COLORS = {"runOnly": ["color-contrast", "link-in-text-block"]}


def violations(page: Any, **options: Any) -> list[str]:
    """What axe finds on the page as it is. Options limit the rules."""
    axe = pytest.importorskip("axe_playwright_python.base")
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(axe.AXE_SCRIPT)
    asked = {"resultTypes": ["violations"], **options}
    found = page.evaluate("async (options) => (await axe.run(options)).violations", asked)
    return [f"{each['id']}: {node['target']} {node['html'][:120]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing(visitor: Visitor, panel: Panel, width: int) -> None:
    """Every tab, with and without an active run and everything unfolded, has one h1 and no violation of any rule.

    In the dark theme, the same elements have other colors, so the rules about colors apply again.
    """
    tags = ["steps=30", "step_s=0.001", "print=1", "sample_every=5", "backup_every=5", "fail_at=25"]
    panel.send("POST", "api/training/start", {"options": {"tags": tags, "name": "failed"}})
    panel.wait(lambda state: not state["process_running"])
    page = visitor.open("configuration")
    page.set_viewport_size({"width": width, "height": 844})
    for started in (False, True):
        if started:
            panel.send("POST", "api/training/start")
            page.locator(".og-topbar .og-badge[data-tone=busy]").wait_for()
        for tab in READY:
            tab_button(page, tab).click()
            page.locator(LATE[tab]).first.wait_for()
            page.evaluate(OPEN_ALL)
            expect(page.get_by_role("heading", level=1)).to_have_text(TITLES[tab])
            for theme, options in (("light", {}), ("dark", COLORS)):
                page.emulate_media(color_scheme=theme)
                assert violations(page, **options) == [], (tab, width, theme, started)


def test_the_table_of_processes_scrolls_by_keyboard(visitor: Visitor) -> None:
    """In a narrow window it can be focused, and arrow keys scroll it."""
    page = visitor.open("system")
    page.set_viewport_size({"width": 320, "height": 600})
    table = page.get_by_role("region", name="Table of processes")
    table.focus()
    expect(table).to_be_focused()
    assert table.evaluate("node => node.scrollWidth > node.clientWidth")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")

"""A new panel with accounts is set up in the browser, and a link opens on a phone."""

from __future__ import annotations

import re

import pytest

from tests.panel_process import REHEARSAL, Running

pytestmark = [pytest.mark.slow, pytest.mark.browser]

PASSWORD = "correct horse battery"


def test_an_owner_is_set_up_adds_a_person_and_hands_out_a_link(tmp_path, chromium):
    """From the code in the terminal to the gallery on a phone, which shows nothing else."""
    panel = Running(tmp_path, "--accounts", "--backend", REHEARSAL)
    try:
        code = re.search(r"Set-up code[^:]*: (\S+)", panel.said)[1]
        page = chromium.new_context().new_page()
        page.goto(panel.address)
        page.fill("#code", code)
        page.fill("#name", "Ada")
        page.fill("#password", PASSWORD)
        page.click("button[type=submit]")
        page.get_by_role("button", name="Account", exact=True).click()
        dialog = page.locator(".og-people")
        dialog.locator("summary", has_text="People").click()
        people = dialog.locator("form", has=page.get_by_role("button", name="Add person"))
        people.locator("[name=name]").fill("Bob")
        people.locator("[name=password]").fill(PASSWORD)
        people.get_by_role("button").click()
        dialog.get_by_role("button", name="Remove Bob").wait_for()
        dialog.locator("summary", has_text="Links").click()
        links = dialog.locator("form", has=page.get_by_role("button", name="Create link"))
        links.locator("[name=name]").fill("class")
        links.locator("[name=shows]").select_option("gallery")
        links.get_by_role("button").click()
        address = dialog.locator(".og-people-once code").inner_text()
        assert dialog.locator(".og-people-qr").evaluate("image => image.naturalWidth") > 0
        phone = chromium.new_context(viewport={"width": 390, "height": 800}).new_page()
        phone.goto(address)
        phone.get_by_role("heading", name="class").wait_for()
        assert phone.url.endswith("/shared")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        dialog.get_by_role("button", name="Revoke class").click()
        phone.get_by_text("expired, was revoked").wait_for(timeout=15_000)
    finally:
        panel.end()

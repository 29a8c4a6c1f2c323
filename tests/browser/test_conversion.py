"""Files that can't be trained on unchanged can be converted from the list of issues."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import Panel, Visitor
from tests.browser.test_settings import group

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.exhaustive]


def test_captions_and_images_are_converted_from_the_issues(visitor: Visitor, panel: Panel) -> None:
    """It takes one click each; the finding disappears, and the originals stay."""
    folder = panel.folder / "converted"
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (64, 64)).save(folder / "a.png")
    Image.new("RGB", (64, 64)).save(folder / "b.jfif", "JPEG")
    for name in "ab":
        (folder / f"{name}.txt").write_bytes("ein Kätzchen".encode("cp1252"))
    panel.change(concepts=[{"__version": 2, "name": "cats", "path": str(folder), "seed": 1, "image": {}, "text": {}}])
    page = visitor.open()
    group(page, "problems")
    for code, words in (("formats-skipped", "Convert copies"), ("captions-encoding", "Convert to UTF-8")):
        finding = page.locator(f'.og-findings li[data-finding="{code}"]')
        expect(finding).to_be_visible()
        if shots := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=str(Path(shots) / f"{code}.png"))
        finding.get_by_role("button", name=words).click()
        expect(finding).to_have_count(0)
    assert (folder / "b.jpg").read_bytes() == (folder / "b.jfif").read_bytes()
    assert (folder / "a.txt").read_text(encoding="utf-8") == "ein Kätzchen"
    assert (folder / "a.txt.bak").read_bytes() == "ein Kätzchen".encode("cp1252")

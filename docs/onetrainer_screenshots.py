"""Generate the screenshots of a OneTrainer installation in docs/images, with the stand-in that the tests use.

``python -m docs.onetrainer_screenshots`` needs Chromium and playwright. The stand-in has OneTrainer's settings and model types,
and a few newer ones, but no trainer.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.backends.onetrainer.standin import set_up
from tests.browser.conftest import Panel

IMAGES = Path(__file__).resolve().parent / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
NAMES = ("chromium", "chromium-browser", "google-chrome")


def neutral(page: Page, folder: Path) -> None:
    """Replace the temporary folder in texts and fields."""
    page.evaluate(
        """folder => {
          const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(folder, '/home/you');
          for (const field of document.querySelectorAll('input[type=text], textarea')) {
            field.value = field.value.replaceAll(folder, '/home/you');
          }
        }""",
        str(folder),
    )


def save(page: Page, folder: Path, name: str, place: str = "", height: int = 0) -> None:
    """Save a screenshot of the page, or of an element, with at most ``height`` pixels."""
    neutral(page, folder)
    page.wait_for_timeout(400)
    neutral(page, folder)
    content = page.locator(place).first.screenshot() if place else page.screenshot()
    image = Image.open(io.BytesIO(content)).convert("RGB")
    if height:
        image = image.crop((0, 0, image.width, min(image.height, height)))
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def ready(panel: Panel) -> bool:
    """Return whether the settings of every installation are read."""
    known: list[dict[str, Any]] = panel.get("api/onetrainer/checkouts")["checkouts"]
    return all(checkout["settings"]["state"] == "ready" for checkout in known)


def main() -> None:
    """Generate the screenshots."""
    path = os.environ.get("ONETRAINER_GRADIO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch).resolve()
        newer = set_up(folder / "OneTrainer", newer=True)
        other = set_up(folder / "OneTrainer-other")
        data = folder / "onetrainer_gradio"
        data.mkdir()
        panel = Panel(data, ("--onetrainer", str(newer), "--onetrainer", str(other))).start()
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            while not ready(panel):
                time.sleep(0.2)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(panel.url + "#system")
            page.locator(".og-checkout").nth(1).wait_for()
            page.wait_for_timeout(800)
            save(page, folder, "onetrainer-checkout.png", ".og-card[aria-label=OneTrainer]")
            panel.change(model_type="SANA")
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(panel.url)
            page.locator("#og-f-model_type").wait_for()
            page.wait_for_timeout(800)
            save(page, folder, "onetrainer-engine.png", height=560)
            page.locator("#og-engine").select_option("builtin")
            page.wait_for_timeout(1200)
            save(page, folder, "onetrainer-refusal.png", height=420)
            page.locator("#og-engine").select_option("auto")
            page.wait_for_timeout(800)
            page.get_by_role("searchbox").first.fill("newer")
            page.wait_for_timeout(1000)
            save(page, folder, "onetrainer-newer.png", height=700)
        finally:
            browser.close()
            panel.stop()


if __name__ == "__main__":
    main()

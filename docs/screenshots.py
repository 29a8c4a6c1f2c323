"""Makes the pictures of the page in docs/images: a real run of the demo, each tab wide and narrow.

``python docs/screenshots.py`` needs Chromium and playwright; it starts a panel of its own in a temporary folder.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from settings_pictures import settings_pictures

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
NAMES = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
TABS = ("configuration", "training", "samples", "system")
# how far the run has to be for the pictures: enough curve and a few samples of each prompt
FROM_STEP = 100


@contextmanager
def panel() -> Iterator[str]:
    """A panel with the demo; its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        command = [sys.executable, str(ROOT / "app.py"), "--demo", "--no-open", "--port", str(port), "--data", folder]
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}/"
        try:
            for _ in range(400):
                try:
                    state(url)
                    break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    time.sleep(0.1)
            yield url
        finally:
            if state(url)["is_training"]:
                post(url, "api/training/stop?now=true")
                while state(url)["process_running"]:
                    time.sleep(0.2)
            process.terminate()
            process.wait(20)


def state(url: str) -> dict[str, Any]:
    """Where the run is."""
    with urllib.request.urlopen(f"{url}api/training/status", timeout=20) as reply:
        return json.loads(reply.read())


def post(url: str, path: str) -> None:
    """Ask the panel for something."""
    request = urllib.request.Request(url + path, data=b"{}", headers={"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=30).close()


def show(page: Page, url: str, tab: str) -> None:
    """Open a tab and wait until its pictures are there."""
    page.goto(f"{url}#{tab}")
    page.reload()
    page.locator(".og-link[data-state=live]").wait_for()
    page.get_by_role("tab", name=tab.capitalize(), selected=True).wait_for()
    page.wait_for_timeout(1500)


# What of this machine stands in texts and fields, and what the pictures show in its place.
NEUTRAL = """pairs => {
  const neutral = text => pairs.reduce((now, [from, to]) => now.replaceAll(from, to), text)
    .replace(/^Linux-\\S+$/, 'Linux')
    .replace(/\\S*\\/screenshots-\\w+/, '/home/you/onetrainer_gradio');
  for (const field of document.querySelectorAll('input[type=text], textarea')) field.value = neutral(field.value);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = neutral(texts.currentNode.data);
}"""


PLACES = [[str(ROOT), "/home/you/onetrainer-gradio"]]


def save(page: Page, name: str) -> None:
    """Keep what the page shows; where no sample is in view in 256 colours, so that the repository stays small."""
    page.evaluate(NEUTRAL, PLACES)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if not name.startswith("sample"):
        picture = picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(IMAGES / name, optimize=True)


def shoot(browser: Browser, url: str, tabs: tuple[str, ...], scheme: str = "light", suffix: str = "") -> None:
    """Take the pictures of some tabs; those with a suffix wide only."""
    for size, (width, height) in SIZES.items():
        if suffix and size != "wide":
            continue
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        for tab in tabs:
            show(page, url, tab)
            save(page, f"{tab}-{size}{suffix}.png")
        context.close()


# changes that show what the editors show, made for the pictures and taken back
EDITED = {
    "concepts.0.image.enable_random_flip": True,
    "concepts.0.image_variations": 4,
    "timestep_distribution": "LOGIT_NORMAL",
    "timestep_shift": 2,
}


def editors(browser: Browser, url: str) -> None:
    """A card of a concept with its preview, and the plot of the timesteps."""
    with urllib.request.urlopen(f"{url}api/config/current", timeout=20) as reply:
        before = json.loads(reply.read())
    change(url, before["revision"], EDITED)
    for size, (width, height) in SIZES.items():
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        for group, place in (("concepts", "[data-row=concepts]"), ("noise", "[data-row=timestep_distribution]")):
            page.goto(url)
            page.evaluate(
                "group => { sessionStorage.setItem('og-group', group); localStorage.setItem('og-level', 'advanced') }", group
            )
            show(page, url, "configuration")
            if group == "concepts":
                page.locator(".og-item > summary").first.click()
                page.locator("[data-part=draw] > summary").first.click()
                page.locator(".og-drawn").nth(3).wait_for()
            page.locator(place).evaluate("node => node.scrollIntoView()")
            page.wait_for_timeout(600)
            save(page, f"{group}-{size}.png")
        context.close()
    change(url, before["revision"] + 1, {path: at(before["config"], path) for path in EDITED})


def at(document: Any, path: str) -> Any:
    """The value at a dotted path."""
    for key in path.split("."):
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


def change(url: str, revision: int, changes: dict[str, Any]) -> None:
    """Change settings of the panel."""
    body = json.dumps({"revision": revision, "changes": changes}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}api/config/current", data=body, headers=headers, method="PATCH")
    urllib.request.urlopen(request, timeout=30).close()


# what is changed after the run, so that there is something to compare
LATER = {"epochs": 60, "learning_rate": 0.0002, "optimizer.optimizer": "PRODIGY"}


def dialogs(browser: Browser, url: str) -> None:
    """Settings side by side, the list of presets, the choice of a folder; there has to be a run."""
    with urllib.request.urlopen(f"{url}api/config/current", timeout=20) as reply:
        before = json.loads(reply.read())
    change(url, before["revision"], LATER)
    for size, (width, height) in SIZES.items():
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        show(page, url, "configuration")
        page.get_by_role("button", name="Compare").click()
        page.locator(".og-diff").wait_for()
        page.mouse.move(0, 0)
        page.wait_for_timeout(500)
        save(page, f"compare-{size}.png")
        page.keyboard.press("Escape")
        page.locator("#og-config").click()
        page.locator(".og-preset", has_text="LoRA 12 GB").first.click()
        page.locator(".og-diff").wait_for()
        page.wait_for_timeout(500)
        save(page, f"presets-{size}.png")
        page.get_by_role("button", name="Add a folder").click()
        page.locator(".og-entry").first.wait_for()
        page.wait_for_timeout(500)
        save(page, f"picker-{size}.png")
        context.close()
    change(url, before["revision"] + 1, {path: at(before["config"], path) for path in LATER})


def large_view(browser: Browser, url: str) -> None:
    """One sample with all that is known about it."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    show(page, url, "samples")
    page.locator(".og-tile").first.click()
    page.wait_for_timeout(600)
    save(page, "sample-large.png")
    context.close()


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from-step", type=int, default=FROM_STEP, help="how far the run has to be (default: %(default)s)")
    from_step = parser.parse_args().from_step
    IMAGES.mkdir(exist_ok=True)
    path = os.environ.get("ONETRAINER_GRADIO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    with panel() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        shoot(browser, url, ("configuration",))
        editors(browser, url)
        settings_pictures(browser, url, NEUTRAL, PLACES)
        post(url, "api/training/start")
        while state(url)["progress"]["global_step"] < from_step and state(url)["is_training"]:
            time.sleep(0.5)
        shoot(browser, url, TABS[1:])
        shoot(browser, url, ("training",), "dark", "-dark")
        large_view(browser, url)
        dialogs(browser, url)
        browser.close()


if __name__ == "__main__":
    main()

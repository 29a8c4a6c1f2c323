"""Generate the screenshots in docs/images: a real run of the demo, each tab wide and narrow.

``python docs/screenshots.py`` needs Chromium and playwright. It starts a separate panel in a temporary folder.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
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
from settings_screenshots import settings_screenshots

from onetrainer_gradio.demo import IMAGES_FOLDER
from onetrainer_gradio.ui.tabs import TABS

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
NAMES = ("chromium", "chromium-browser", "google-chrome")
TITLES = {tab.key: tab.title for tab in TABS}
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
# the step that the run must reach first: the chart then has a curve, and each prompt a few samples
FROM_STEP = 250


@contextmanager
def panel(*words: str) -> Iterator[str]:
    """Start a panel with these arguments, yield its address, and stop it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        command = [sys.executable, str(ROOT / "app.py"), *words, "--no-open", "--port", str(port), "--data", folder]
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
    """Return the status of the run."""
    with urllib.request.urlopen(f"{url}api/training/status", timeout=20) as reply:
        return json.loads(reply.read())


def post(url: str, path: str) -> None:
    """Send a POST request to the panel."""
    request = urllib.request.Request(url + path, data=b"{}", headers={"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=30).close()


# whether every image that is in view is loaded
IN_VIEW = """() => [...document.images].every(image => {
  const place = image.getBoundingClientRect();
  return !place.width || place.top > innerHeight || place.bottom < 0 || (image.complete && image.naturalWidth > 0);
})"""


def show(page: Page, url: str, tab: str) -> None:
    """Open a tab and wait until it is loaded."""
    page.goto(f"{url}#{tab}")
    page.reload()
    page.locator(".og-link[data-state=live]").wait_for()
    page.get_by_role("tab", name=TITLES[tab], selected=True).wait_for()
    page.wait_for_timeout(1500)
    page.wait_for_function(IN_VIEW)


# Replaces details of this machine in texts and fields.
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
    """Save a screenshot; one without large samples has 256 colors, so that the repository stays small."""
    page.evaluate(NEUTRAL, PLACES)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if not name.startswith("sample"):
        image = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    image.save(IMAGES / name, optimize=True)


def shoot(browser: Browser, url: str, tabs: tuple[str, ...], scheme: str = "light", suffix: str = "") -> None:
    """Save screenshots of some tabs; with a suffix, only wide ones."""
    for size, (width, height) in SIZES.items():
        if suffix and size != "wide":
            continue
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        for tab in tabs:
            show(page, url, tab)
            save(page, f"{tab}-{size}{suffix}.png")
        context.close()


# changes for the screenshots of the editors, reverted afterwards
EDITED = {
    "concepts.0.image.enable_random_flip": True,
    "concepts.0.image_variations": 4,
    "timestep_distribution": "LOGIT_NORMAL",
    "timestep_shift": 2,
}


def editors(browser: Browser, url: str) -> None:
    """Save screenshots of a concept with its preview, and of the timestep plot."""
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
    """Return the value at a dotted path."""
    for key in path.split("."):
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


def change(url: str, revision: int, changes: dict[str, Any]) -> None:
    """Change settings of the panel."""
    body = json.dumps({"revision": revision, "changes": changes}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}api/config/current", data=body, headers=headers, method="PATCH")
    urllib.request.urlopen(request, timeout=30).close()


# changes after the run, so that the comparison has differences
LATER = {"epochs": 60, "learning_rate": 0.0002, "optimizer.optimizer": "PRODIGY"}


def dialogs(browser: Browser, url: str) -> None:
    """Save screenshots of the comparison, the list of presets and the file picker; requires a run."""
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
        page.get_by_role("button", name=re.compile("Add (a )?folder")).click()
        page.locator(".og-entry").first.wait_for()
        page.wait_for_timeout(500)
        save(page, f"picker-{size}.png")
        context.close()
    change(url, before["revision"] + 1, {path: at(before["config"], path) for path in LATER})


def large_view(browser: Browser, url: str) -> None:
    """Save a screenshot of the large view of a sample."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    show(page, url, "samples")
    page.locator(".og-tile").first.click()
    page.wait_for_timeout(600)
    save(page, "sample-large.png")
    context.close()


def first_lora(browser: Browser, url: str) -> None:
    """Save screenshots of a new panel, of New LoRA with the images of the demo, and of them on the Data tab."""
    images = [str(path) for path in sorted(IMAGES_FOLDER.glob("*.png"))][:20]
    for size, (width, height) in SIZES.items():
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        show(page, url, "configuration")
        page.locator(".og-begin-way").first.wait_for()
        save(page, f"begin-{size}.png")
        show(page, url, "new-lora")
        page.locator(".og-new input[type=file]").first.set_input_files(images)
        page.get_by_text(f"{len(images)} images in").wait_for()
        page.get_by_role("textbox", name="Trigger word", exact=True).fill("zorble")
        page.get_by_role("radio", name="Object").check()
        page.locator(".og-new-option", has_text="Demo model").click()
        page.get_by_text("of memory").wait_for(timeout=240_000)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_function(IN_VIEW)
        save(page, f"new-lora-{size}.png")
        page.locator(".og-new section").last.evaluate("node => scrollTo(0, node.offsetTop - 120)")
        page.wait_for_timeout(300)
        save(page, f"new-lora-result-{size}.png")
        page.evaluate("localStorage.setItem('og-dataset', 'datasets/New LoRA')")
        show(page, url, "data")
        page.locator(".og-data-tile img").first.wait_for()
        page.locator(".og-data-tile").nth(1).click()
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_function(IN_VIEW)
        save(page, f"data-{size}.png")
        context.close()


def main() -> None:
    """Generate all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--from-step", type=int, default=FROM_STEP, help="step that the run must reach first (default: %(default)s)"
    )
    parser.add_argument("--first-lora-only", action="store_true", help="only the screenshots of New LoRA and Data")
    parser.add_argument("--tabs-only", action="store_true", help="skip the screenshots of the groups of settings")
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    path = os.environ.get("ONETRAINER_GRADIO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright, panel() as url:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        first_lora(browser, url)
        browser.close()
    if arguments.first_lora_only:
        return
    with panel("--demo") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        shoot(browser, url, ("configuration",))
        editors(browser, url)
        if not arguments.tabs_only:
            settings_screenshots(browser, url, NEUTRAL, PLACES)
        post(url, "api/training/start")
        while state(url)["progress"]["global_step"] < arguments.from_step and state(url)["is_training"]:
            time.sleep(0.5)
        shoot(browser, url, tuple(tab for tab in TITLES if tab not in ("configuration", "data", "new-lora", "runs")))
        shoot(browser, url, ("training",), "dark", "-dark")
        large_view(browser, url)
        dialogs(browser, url)
        browser.close()


if __name__ == "__main__":
    main()

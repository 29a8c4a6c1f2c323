"""Measure the first page view: bytes, requests, first usable control, elements, heap, ten tabs at once.

Start a separate panel in a temporary folder and drive a real Chromium: ``python benchmarks/page_load.py [--rounds 5]``.
The numbers of other tools are from reference measurements with the same probe.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
NAMES = ("chromium", "chromium-browser", "google-chrome")
TABS_AT_ONCE = 10

# what, unit, the budget
OPENED = "SDXL/LoRA 12 GB"
ROWS = (
    ("requests", "", 60),
    ("transferred", "kB", 350),
    ("first usable control", "s", 0.76),
    ("first usable control, warm cache", "s", None),
    ("elements", "", 1500),
    ("JS heap", "MB", None),
    ("requests off this machine", "", 0),
    ("an edit: typed to saved and shown", "ms", 100),
    ("a whole configuration: Open to shown", "ms", 300),
    ("a tab opened for the first time", "ms", None),
    (f"{TABS_AT_ONCE} tabs at once: the last one live", "s", None),
)


# What is compared with another checkout: the same on both sides, whatever the pages look like.
BESIDE = (
    ("start to the first REST answer", "s"),
    ("start to the page", "s"),
    ("first paint", "s"),
    ("first usable control", "s"),
    ("requests", ""),
    ("transferred", "kB"),
)


@cache
def environment() -> dict[str, str]:
    """Return an environment in which Python keeps its bytecode, as in an installation, but outside the checkouts."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    folder = tempfile.mkdtemp(prefix="bytecode-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": folder}


@contextmanager
def panel(root: Path = ROOT, started: dict[str, float] | None = None) -> Iterator[str]:
    """Start a panel with the demo's settings and yield its address. ``started`` receives how long that took."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(root / "app.py"), "--demo", "--no-open", "--port", str(port), "--data", folder]
        begun = time.perf_counter()
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, cwd=root)
        url = f"http://127.0.0.1:{port}/"
        try:
            for _ in range(2000):
                try:
                    urllib.request.urlopen(f"{url}api/training/status", timeout=5).close()
                    break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    time.sleep(0.02)
            answered = time.perf_counter() - begun
            urllib.request.urlopen(url, timeout=20).close()  # the first page is dearer for the server than all others
            if started is not None:
                started |= {"start to the first REST answer": answered, "start to the page": time.perf_counter() - begun}
            yield url
        finally:
            process.terminate()
            process.wait(20)


def usable(page: Page) -> None:
    """Wait for a control that takes input: the search of the settings and the first row."""
    page.wait_for_function("document.querySelector('.og-rows select, .og-rows input')?.checkVisibility()", polling=10)


def one_round(browser: Browser, url: str) -> dict[str, float]:
    """Return all numbers of one visit with an empty cache."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    loaded: list[float] = []
    requests: list[str] = []
    session.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    page.on("request", lambda request: requests.append(request.url))
    found: dict[str, float] = {}
    begun = time.perf_counter()
    page.goto(url, wait_until="commit")
    usable(page)
    found["first usable control"] = time.perf_counter() - begun
    page.wait_for_timeout(1500)
    found["requests"] = len(requests)
    found["transferred"] = sum(loaded) / 1000
    found["requests off this machine"] = sum("://127.0.0.1:" not in each for each in requests if not each.startswith("data:"))
    found["elements"] = page.evaluate("document.querySelectorAll('*').length")
    session.send("HeapProfiler.collectGarbage")
    found["JS heap"] = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    found["an edit: typed to saved and shown"] = edit(page)
    found["a whole configuration: Open to shown"] = open_configuration(page)
    found["a tab opened for the first time"] = open_tab(page)
    begun = time.perf_counter()
    page.goto(f"{url}?again", wait_until="commit")
    usable(page)
    found["first usable control, warm cache"] = time.perf_counter() - begun
    context.close()
    return found


def edit(page: Page) -> float:
    """Return the milliseconds from leaving a changed field to its mark as changed."""
    page.locator(".og-nav button[data-group=optimization]").click()
    field = page.locator("#og-f-epochs")
    field.fill(str(1000 + int(time.time()) % 1000))
    return float(
        page.evaluate(
            """() => new Promise(done => {
              const row = document.querySelector('[data-row=epochs]');
              row.classList.remove('changed');
              const begun = performance.now();
              new MutationObserver((_, self) => {
                if (row.classList.contains('changed')) { self.disconnect(); done(performance.now() - begun); }
              }).observe(row, {attributes: true});
              row.querySelector('input').dispatchEvent(new Event('change', {bubbles: true}));
            })"""
        )
    )


def open_configuration(page: Page) -> float:
    """Return the milliseconds from the click on Open in the preset browser to its values in the form."""
    page.locator("#og-config").click()
    chooser = page.get_by_role("dialog")
    chooser.get_by_label("Search presets").fill("sdxl lora 12")
    chooser.locator(f'[data-preset="{OPENED}"]').click()
    chooser.locator(".og-differs").wait_for()
    return float(
        page.evaluate(
            """name => new Promise(done => {
              const begun = performance.now();
              const named = () => document.querySelector('#og-config').textContent.includes(name);
              const epochs = () => Number(document.querySelector('#og-f-epochs')?.value || 1000);
              const there = () => named() && epochs() < 1000; // the edit before wrote more
              const look = () => there() ? done(performance.now() - begun) : requestAnimationFrame(look);
              [...document.querySelectorAll('dialog[open] button')].find(node => node.textContent.trim() === 'Open').click();
              look();
            })""",
            OPENED,
        )
    )


def open_tab(page: Page) -> float:
    """Return the milliseconds from the click on Training to the run status."""
    return float(
        page.evaluate(
            """() => new Promise(done => {
              const begun = performance.now();
              const there = () => document.querySelector('.og-status');
              const look = () => there() ? done(performance.now() - begun) : requestAnimationFrame(look);
              document.querySelectorAll('#og-tabs [role=tab]')[1].click();
              look();
            })"""
        )
    )


def many_tabs(browser: Browser, url: str) -> float:
    """Return the seconds from opening the first of ten tabs until the last one is live."""
    context = browser.new_context()
    pages = [context.new_page() for _ in range(TABS_AT_ONCE)]
    begun = time.perf_counter()
    for page in pages:
        page.goto(f"{url}#training", wait_until="commit")
    for page in pages:
        page.locator(".og-link[data-state=live]").wait_for(timeout=60_000)
        page.locator("#og-start").wait_for(timeout=60_000)
    seconds = time.perf_counter() - begun
    context.close()
    return seconds


def first_view(browser: Browser, url: str) -> dict[str, float]:
    """Return what one visit with an empty cache costs until its first control, and what it loads."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    loaded: list[float] = []
    requests: list[str] = []
    session.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    page.on("request", lambda request: requests.append(request.url))
    begun = time.perf_counter()
    page.goto(url, wait_until="commit")
    usable(page)
    control = time.perf_counter() - begun
    page.locator("#og-tabs").wait_for()
    page.wait_for_timeout(1500)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    context.close()
    return {
        "first usable control": control,
        "first paint": paint,
        "requests": len(requests),
        "transferred": sum(loaded) / 1000,
    }


def compare(other: Path, rounds: int, path: str | None) -> None:
    """Print a table of both checkouts: a new panel for each round, one checkout after the other."""
    found: dict[Path, list[dict[str, float]]] = {other: [], ROOT: []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for root in found:  # compiles the bytecode
            with panel(root):
                pass
        for _ in range(rounds):
            for root, values in found.items():
                started: dict[str, float] = {}
                with panel(root, started) as url:
                    values.append(started | first_view(browser, url))
        browser.close()
    print(f"{rounds} rounds, medians\n\n| what | {other.name} | here | ratio |\n| --- | --- | --- | --- |")
    for name, unit in BESIDE:
        before, here = (statistics.median(each[name] for each in values) for values in found.values())
        digits = 2 if unit == "s" else 0
        print(f"| {name} | {before:.{digits}f} {unit} | {here:.{digits}f} {unit} | {here / before:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--beside", type=Path, help="another checkout: compare start and first view with it, in alternating rounds"
    )
    options = parser.parse_args()
    rounds = options.rounds
    path = os.environ.get("ONETRAINER_GRADIO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if options.beside:
        compare(options.beside.resolve(), rounds, path)
        return
    with panel() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        found = [one_round(browser, url) for _ in range(rounds)]
        last_live = many_tabs(browser, url)
        browser.close()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{rounds} rounds, load of the machine {load:.1f} on {os.cpu_count()} cores\n")
    print("| what | least | median | budget |\n| --- | --- | --- | --- |")
    for name, unit, budget in ROWS:
        values: list[Any] = [each[name] for each in found] if name in found[0] else [last_live]
        digits = 2 if unit == "s" else 0
        least, median = (f"{value:.{digits}f} {unit}".strip() for value in (min(values), statistics.median(values)))
        print(f"| {name} | {least} | {median} | {'' if budget is None else f'{budget} {unit}'.strip()} |")


if __name__ == "__main__":
    main()

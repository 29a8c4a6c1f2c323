"""Measure the grid of the Data tab with many images: first thumbnails, jumps, elements, memory of page and panel.

Start a separate panel in a temporary folder and drive a real Chromium: ``python benchmarks/data_grid.py [--images 10000]``.
Each round is a cold visit: a new panel without thumbnails, and a browser with an empty cache. The same with 100 images shows what
does not depend on their number.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from page_load import FLAGS, NAMES, ROOT, environment
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FEW = 100
JUMPS = (0.3, 0.9, 1.0, 0.1)
SHOWN = "[...document.querySelectorAll('.og-data-tile img')].filter((each) => each.complete && each.naturalWidth).length >= 4"
NO_HOLES = """() => {
  const grid = document.querySelector('.og-data-grid').getBoundingClientRect();
  const inside = [...document.querySelectorAll('.og-data-tile')].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.bottom > grid.top + 8 && box.top < grid.bottom - 8;
  });
  return inside.length >= 4 && inside.every((each) => [...each.querySelectorAll('img')].some((image) => image.naturalWidth));
}"""
ROWS = (
    ("first thumbnails after the click on the tab", "s"),
    ("a jump until no image is missing, mean", "s"),
    ("images in the document, at most", ""),
    ("JS heap", "MB"),
    ("memory of the panel", "MB"),
)


def write_images(folder: Path, count: int) -> None:
    """Write images of 768 pixels with captions; copies of twelve different ones."""
    folder.mkdir(parents=True)
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        if number < 12:
            out = io.BytesIO()
            noise = Image.frombytes("RGB", (12, 8), random.Random(number).randbytes(12 * 8 * 3))
            noise.resize((768, 512), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
            path.write_bytes(out.getvalue())
        else:
            shutil.copyfile(folder / f"{number % 12:05}.jpg", path)
        path.with_suffix(".txt").write_text(f"an image, number {number}")


def one_visit(browser: Browser, images: int) -> dict[str, float]:
    """Return all numbers of a cold visit."""
    with tempfile.TemporaryDirectory() as data:
        write_images(Path(data) / "datasets" / "many", images)
        command = [sys.executable, str(ROOT / "app.py"), "--no-open", "--port", "0", "--data", data]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        url = next(word for word in said.split() if word.startswith("http"))
        try:
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.add_init_script("localStorage.setItem('og-dataset', 'datasets/many')")
            page.goto(url)
            page.locator(".og-rows > *").first.wait_for()
            tab = page.get_by_role("tab", name="Data")
            tab.wait_for()
            begun = time.perf_counter()
            tab.click()
            page.wait_for_function(SHOWN)
            found = {"first thumbnails after the click on the tab": time.perf_counter() - begun}
            grid, jumps, most = page.get_by_role("listbox", name="Images"), [], 0
            for share in JUMPS:
                begun = time.perf_counter()
                grid.evaluate("(node, share) => { node.scrollTop = node.scrollHeight * share }", share)
                page.wait_for_function(NO_HOLES)
                jumps.append(time.perf_counter() - begun)
                most = max(most, page.locator(".og-data-tile").count())
            session = context.new_cdp_session(page)
            session.send("HeapProfiler.collectGarbage")
            heap = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
            status = Path(f"/proc/{process.pid}/statm").read_text().split()
            context.close()
            return found | {
                "a jump until no image is missing, mean": statistics.mean(jumps),
                "images in the document, at most": most,
                "JS heap": heap,
                "memory of the panel": int(status[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
            }
        finally:
            process.terminate()
            process.wait(20)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="images of the large dataset (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating visits; medians count (default: %(default)s)")
    arguments = parser.parse_args()
    path = os.environ.get("ONETRAINER_GRADIO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        found: dict[int, list[dict[str, float]]] = {arguments.images: [], FEW: []}
        for _ in range(arguments.rounds):
            for images, visits in found.items():
                visits.append(one_visit(browser, images))
        browser.close()
    print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"| | {arguments.images:,} images | {FEW} images | ratio |\n| --- | --- | --- | --- |")
    for row, unit in ROWS:
        large, small = (statistics.median(visit[row] for visit in found[images]) for images in (arguments.images, FEW))
        print(f"| {row} | {large:.2f} {unit} | {small:.2f} {unit} | {large / small:.2f} |")


if __name__ == "__main__":
    main()
